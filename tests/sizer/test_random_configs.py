"""Random configs of every family that transformers builds: all tensors as in its model on the meta device."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.families.hf_config import FAMILIES
from tests.meta_models import REMOTE_CODE, our_shapes, their_shapes
from tests.other_layers import BASES as OTHER_LAYERS

Keys = dict[str, st.SearchStrategy[Any]]

_FLAG = st.booleans()
_WIDTH = st.integers(4, 96)  # from 4: two thirds of less (LFM2) are no width
_ATTENTION_BIAS: Keys = {"attention_bias": _FLAG}
_HEAD_DIM: Keys = {"head_dim": st.sampled_from([2, 6, 16])}
_POSITIONS: Keys = {"max_position_embeddings": st.integers(1, 64)}

# Keys of their own that change tensors; each may be left out. Sizes that all have are drawn together below.
_OPTIONS: dict[str, Keys] = {
    "arcee": _ATTENTION_BIAS | _HEAD_DIM | {"mlp_bias": _FLAG},
    "biogpt": _POSITIONS,
    "bitnet": _ATTENTION_BIAS,
    "bloom": {},
    "codegen": {"n_inner": _WIDTH},
    "cohere": _ATTENTION_BIAS | {"use_qk_norm": _FLAG},
    "cohere2": _ATTENTION_BIAS,
    "ctrl": {},
    "cwm": _HEAD_DIM | {"mlp_bias": _FLAG},
    "distilbert": _POSITIONS,
    "ernie4_5": _HEAD_DIM | {"use_bias": _FLAG},
    "exaone4": _HEAD_DIM,
    "falcon": {
        "new_decoder_architecture": _FLAG,
        "multi_query": _FLAG,
        "parallel_attn": _FLAG,
        "bias": _FLAG,
        "alibi": _FLAG,
        "num_ln_in_parallel_attn": st.sampled_from([1, 2]),
        "ffn_hidden_size": _WIDTH,
    },
    "flex_olmo": _ATTENTION_BIAS,
    "gemma": _ATTENTION_BIAS | _HEAD_DIM,
    "gemma2": _ATTENTION_BIAS | _HEAD_DIM,
    "gemma3_text": _ATTENTION_BIAS | _HEAD_DIM,
    "glm": _ATTENTION_BIAS | _HEAD_DIM,
    "glm4": _ATTENTION_BIAS | _HEAD_DIM,
    "gpt2": {"n_inner": _WIDTH, "n_positions": st.integers(1, 64)},
    "gpt-sw3": {"n_inner": _WIDTH, "n_positions": st.integers(1, 64)},
    "gpt_bigcode": {"n_inner": _WIDTH, "n_positions": st.integers(1, 64), "multi_query": _FLAG},
    "gptj": {"n_inner": _WIDTH},
    "gpt_neo": _POSITIONS,
    "gpt_neox": _ATTENTION_BIAS,
    "granite": _ATTENTION_BIAS | {"mlp_bias": _FLAG},
    "granite_swa": _ATTENTION_BIAS | _HEAD_DIM | {"mlp_bias": _FLAG},
    "granitemoe": _ATTENTION_BIAS,
    "granitemoeshared": _ATTENTION_BIAS | {"shared_intermediate_size": st.integers(0, 96)},
    "helium": _ATTENTION_BIAS | {"mlp_bias": _FLAG},
    "hunyuan_v1_dense": _ATTENTION_BIAS,
    "hyperclovax": _ATTENTION_BIAS | _HEAD_DIM | {"mlp_bias": _FLAG, "use_post_norm": _FLAG},
    "internlm3": _HEAD_DIM,
    "iquestcoder": _ATTENTION_BIAS | _HEAD_DIM | {"mlp_bias": _FLAG},
    "jais2": _ATTENTION_BIAS | _HEAD_DIM | {"mlp_bias": _FLAG},
    "lfm2": {
        "conv_bias": _FLAG,
        "conv_L_cache": st.integers(1, 5),
        "block_auto_adjust_ff_dim": _FLAG,
        "block_multiple_of": st.sampled_from([1, 16, 256]),
        "block_ffn_dim_multiplier": st.sampled_from([0.5, 1.0, 1.3]),
    },
    "llama": _ATTENTION_BIAS | _HEAD_DIM | {"mlp_bias": _FLAG},
    "ministral": {},
    "ministral3": _HEAD_DIM,
    "mistral": _HEAD_DIM,
    "mixtral": _HEAD_DIM,
    "mpt": {},
    "nanochat": _ATTENTION_BIAS | _HEAD_DIM,
    "nemotron": _ATTENTION_BIAS | {"mlp_bias": _FLAG},
    "olmo": _ATTENTION_BIAS,
    "olmo2": _ATTENTION_BIAS,
    "olmo3": _ATTENTION_BIAS,
    "olmoe": _ATTENTION_BIAS,
    "openai-gpt": {"n_positions": st.integers(1, 64)},
    "opt": {
        "enable_bias": _FLAG,
        "do_layer_norm_before": _FLAG,
        "layer_norm_elementwise_affine": _FLAG,
        "_remove_final_layer_norm": _FLAG,
        "word_embed_proj_dim": _WIDTH,
        "max_position_embeddings": st.integers(1, 64),
    },
    "persimmon": {"qk_layernorm": _FLAG},
    "phi": {"qk_layernorm": _FLAG},
    "phi3": {},
    "phimoe": _ATTENTION_BIAS | {"lm_head_bias": _FLAG},
    "qwen2": {},
    "qwen2_moe": {"shared_expert_intermediate_size": _WIDTH, "qkv_bias": _FLAG},
    "qwen3": _ATTENTION_BIAS | _HEAD_DIM,
    "qwen3_moe": _ATTENTION_BIAS | _HEAD_DIM,
    "seed_oss": _ATTENTION_BIAS | _HEAD_DIM | {"attention_out_bias": _FLAG, "mlp_bias": _FLAG},
    "smollm3": _ATTENTION_BIAS | {"mlp_bias": _FLAG},
    "stablelm": {"qk_layernorm": _FLAG, "use_qkv_bias": _FLAG, "use_parallel_residual": _FLAG},
    "starcoder2": {"use_bias": _FLAG},
    "xglm": _POSITIONS,
    "vaultgemma": _ATTENTION_BIAS | _HEAD_DIM,
}
# What the sizes are called where that differs.
_RENAMED = {
    "distilbert": {
        "hidden_size": "dim",
        "intermediate_size": "hidden_dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
    },
    "gpt2": {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"},
    "bloom": {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head"},
    "gpt_neo": {"num_hidden_layers": "num_layers", "num_attention_heads": "num_heads"},
    "opt": {"intermediate_size": "ffn_dim"},
    **dict.fromkeys(
        ("codegen", "gpt-sw3", "gpt_bigcode", "gptj", "openai-gpt"),
        {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"},
    ),
    "ctrl": {
        "hidden_size": "n_embd",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "intermediate_size": "dff",
    },
    "mpt": {"hidden_size": "d_model", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads"},
    "xglm": {
        "hidden_size": "d_model",
        "num_hidden_layers": "num_layers",
        "num_attention_heads": "attention_heads",
        "intermediate_size": "ffn_dim",
    },
    "falcon": {"num_key_value_heads": "num_kv_heads"},
}
# Helium's heads fill the residual stream; the others' rotary positions fail without the key.
_HEAD_DIM_IS_NEEDED = ("helium", "hunyuan_v1_dense", "ministral", "nemotron")
# Text decoders that transformers builds only inside a vision model: tests/sizer/families/test_nested.py.
_INSIDE_OTHERS = (
    *("glm4v_text", "glm_ocr_text", "hunyuan_vl_text", "paddleocr_vl_text", "qwen2_5_omni_text"),
    *("qwen2_5_vl_text", "qwen2_vl_text", "qwen3_vl_text"),
)
_ONE_EXPERT_KEY = {"granitemoe", "granitemoeshared", "mixtral", "phimoe"}


@st.composite
def configs(draw: st.DrawFn, model_type: str) -> dict[str, Any]:
    """A config of that family that transformers accepts, with small sizes."""
    kv_heads = draw(st.integers(1, 3))
    heads = kv_heads * draw(st.integers(1, 3))
    layers = draw(st.integers(1, 3))
    head_dim = draw(st.sampled_from([8, 16] if model_type == "xglm" else [2, 8, 16]))
    keys: dict[str, Any] = {
        "vocab_size": draw(st.integers(4, 200)),
        "hidden_size": heads * head_dim,
        "intermediate_size": draw(_WIDTH),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
    }
    if draw(_FLAG):
        keys["tie_word_embeddings"] = draw(_FLAG)
    keys |= draw(_special(model_type, layers, head_dim))
    keys |= draw(st.fixed_dictionaries({}, optional=_OPTIONS[model_type]))
    renamed = _RENAMED.get(model_type, {})
    return {"model_type": model_type, **{renamed.get(key, key): value for key, value in keys.items()}}


@st.composite
def _special(draw: st.DrawFn, model_type: str, layers: int, head_dim: int) -> dict[str, Any]:
    """Keys that hang together, or on the number of layers."""
    if model_type in _HEAD_DIM_IS_NEEDED:
        return {"head_dim": head_dim}
    if model_type == "gpt_neo":
        return {"attention_types": [[[draw(st.sampled_from(["global", "local"]))], layers]]}
    if model_type == "lfm2":
        kinds = st.lists(st.sampled_from(["conv", "full_attention"]), min_size=layers, max_size=layers)
        indices = st.lists(st.integers(0, layers - 1), unique=True)
        return draw(
            st.one_of(
                st.fixed_dictionaries({"layer_types": kinds}),
                st.fixed_dictionaries({"full_attn_idxs": indices}),
            )
        )
    if model_type not in ("flex_olmo", "olmoe", "qwen2_moe", "qwen3_moe", *_ONE_EXPERT_KEY):
        return {}
    experts = draw(st.integers(1, 6))
    keys: dict[str, Any] = {
        "num_local_experts" if model_type in _ONE_EXPERT_KEY else "num_experts": experts,
        "num_experts_per_tok": draw(st.integers(1, experts)),
    }
    if model_type.startswith("qwen"):
        keys["moe_intermediate_size"] = draw(_WIDTH)
        keys["decoder_sparse_step"] = draw(st.integers(1, 2))
        keys["mlp_only_layers"] = draw(st.lists(st.integers(0, layers), unique=True))
    return keys


def test_every_family_is_drawn_or_comes_with_its_own_code() -> None:
    from transformers import CONFIG_MAPPING

    apart = {*REMOTE_CODE, *OTHER_LAYERS, *_INSIDE_OTHERS}
    assert set(_OPTIONS) == set(FAMILIES) - apart
    assert [family for family in REMOTE_CODE if family in CONFIG_MAPPING] == []


@pytest.mark.parametrize("model_type", sorted(_OPTIONS))
def test_random_configs_have_the_shapes_that_transformers_makes(model_type: str) -> None:
    @settings(max_examples=12, deadline=None)
    @given(configs(model_type))
    def compare(config: dict[str, Any]) -> None:
        assert our_shapes(config) == their_shapes(config)

    compare()
