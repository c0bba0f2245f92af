"""State and cache of layers of other kinds: worked by hand, and as transformers allocates them."""

from __future__ import annotations

from typing import Any

import pytest

from sizer.errors import InvalidArchitecture, InvalidQuantity
from sizer.families.hf_config import architecture_from_config
from sizer.memory import kv_bytes_per_token, kv_cache_bytes, kv_row_bytes, state_bytes
from sizer.runtimes import runtime
from sizer.runtimes.recipes import cache_bytes
from sizer.workload import Workload
from tests.other_layers import BASES

TOKENS = 16


def _their_cache_bytes(config: dict[str, Any]) -> int:
    """Bytes of all tensors in the cache that transformers has after a prompt, in float32."""
    import torch
    import transformers

    kind = transformers.CONFIG_MAPPING[config["model_type"]]
    read = kind(**{"pad_token_id": 0, **{k: v for k, v in config.items() if k != "model_type"}})
    model = transformers.AutoModelForCausalLM.from_config(read).eval()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        out = model(torch.ones(1, TOKENS, dtype=torch.long), use_cache=True)
    cache = getattr(out, "past_key_values", None) or out.cache_params
    total = 0
    for layer in cache.layers:
        for name in ("keys", "values", "conv_states", "recurrent_states"):
            found = getattr(layer, name, None)
            for tensor in found.values() if isinstance(found, dict) else [found]:
                if tensor is not None:
                    total += tensor.nbytes
    return total


# Heads and groups that torch's kernels take: widths that are multiples of 8, as many heads as KV heads.
EVEN = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "moe_intermediate_size": 32}
CONFIGS: dict[str, dict[str, Any]] = {
    "mamba": {},
    "falcon_mamba": {},
    "mamba2": {"tie_word_embeddings": False},
    "bamba": {"mamba_conv_bias": True},
    "granitemoehybrid": {"mamba_conv_bias": True},
    "falcon_h1": {"mamba_n_groups": 1},
    "jamba": {},
    "nemotron_h": {"mamba_head_dim": 24, "moe_latent_size": None, "num_experts_per_tok": 2},
    "qwen3_next": {},
    "qwen3_5_text": {},
    "deepseek_v2": {"num_key_value_heads": 4},
    "deepseek_v3": {"num_key_value_heads": 4, "n_group": 1, "topk_group": 1},
    "minicpm3": {"num_key_value_heads": 4},
    "lfm2_moe": {},
    "gpt_oss": {"num_experts_per_tok": 2, "sliding_window": 64},
    "gemma3n_text": {"sliding_window": 64},
    "gemma4_text": {"sliding_window": 64, "global_head_dim": 32},
}


@pytest.mark.parametrize("family", CONFIGS)
def test_the_cache_is_as_large_as_the_one_transformers_allocates(family: str) -> None:
    base = BASES[family]
    even = {key: value for key, value in EVEN.items() if key in base}
    config = {**base, **even, **CONFIGS[family]}
    workload = Workload(context_tokens=TOKENS, prompt_tokens=TOKENS - 1, generated_tokens=1, cache_type="F32")
    ours = cache_bytes(architecture_from_config(config), workload, whole_kernel=True)
    assert ours == _their_cache_bytes(config)


def test_the_states_of_granite_4_0_h_350m_worked_by_hand() -> None:
    # 28 Mamba-2 layers: 48 heads of 32 with 128 states each, and 3 past inputs of 1,536 + 2 x 128 channels
    granite = {
        "model_type": "granitemoehybrid",
        "hidden_size": 768,
        "shared_intermediate_size": 2048,
        "num_hidden_layers": 32,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
        "num_local_experts": 0,
        "layer_types": ["attention" if layer in (10, 13, 17, 27) else "mamba" for layer in range(32)],
        "mamba_n_heads": 48,
        "mamba_d_state": 128,
        "tie_word_embeddings": True,
    }
    a = architecture_from_config(granite)
    state = 28 * (48 * 32 * 128 + 3 * (1536 + 2 * 128))
    assert state_bytes(a, Workload()) == 4 * state
    assert state_bytes(a, Workload(batch_size=3)) == 3 * 4 * state
    assert kv_bytes_per_token(a, "F16") == 4 * 2 * 4 * 64 * 2


def test_the_latent_row_of_deepseek_v2_lite_worked_by_hand() -> None:
    lite = {"model_type": "minicpm3", "kv_lora_rank": 512, "qk_rope_head_dim": 64, "num_hidden_layers": 27}
    a = architecture_from_config(lite)
    assert kv_row_bytes(a, "F16") == (512 + 64) * 2 == 1152
    assert kv_bytes_per_token(a, "F16") == 27 * 1152 == 31_104
    assert kv_cache_bytes(a, Workload(context_tokens=4096)) == 4096 * 31_104
    odd = architecture_from_config({**lite, "kv_lora_rank": 500})
    with pytest.raises(InvalidQuantity, match=r"cache_type: Q8_0 needs the latent row .*, got 564"):
        kv_row_bytes(odd, "Q8_0")


def test_layers_that_share_keys_and_values_cache_none() -> None:
    # Gemma 3n E4B: 35 layers, the last 15 of which use those of layers 18 and 19; 2 KV heads of 256
    a = architecture_from_config({"model_type": "gemma3n_text"})
    assert kv_bytes_per_token(a, "F16") == 20 * 2 * 2 * 256 * 2


def test_gemma_4_caches_wide_heads_in_layers_without_a_window() -> None:
    # 30 layers, each sixth with heads of 512, the others with heads of 256; 4 KV heads
    a = architecture_from_config({"model_type": "gemma4_text"})
    assert kv_bytes_per_token(a, "F16") == (25 * 256 + 5 * 512) * 2 * 4 * 2


@pytest.mark.parametrize(
    ("family", "engine", "kind"),
    [
        ("zamba2", "mlx", "transformer blocks that several layers share"),
        ("mamba", "web-llm", "Mamba layers"),
        ("gpt_oss", "web-llm", "attention sinks"),
        ("jamba", "transformers.js", "Mamba layers"),
    ],
)
def test_an_engine_without_such_layers_says_which(family: str, engine: str, kind: str) -> None:
    a = architecture_from_config(BASES[family])
    with pytest.raises(InvalidArchitecture, match=f"{engine} runs no model of this kind .*{kind}"):
        runtime(engine).store(a, runtime(engine).formats[-1])
    transformers = runtime("transformers")
    assert transformers.store(a, "bf16")


def test_mlx_caches_every_head_of_deepseek_v2_but_the_latent_row_of_v3() -> None:
    # deepseek_v2.py of mlx-lm 0.32.2 caches keys of 14 + 6 and values of 18 for 4 heads; V3's keeps 20 + 6
    workload = Workload(context_tokens=256, cache_type="BF16")
    for family, row in (("deepseek_v2", 4 * (20 + 18)), ("deepseek_v3", 20 + 6)):
        shape = architecture_from_config(BASES[family])
        assert runtime("mlx").memory(shape, (), workload).kv_cache_bytes == 3 * 256 * row * 2
