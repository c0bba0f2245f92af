"""GGUF files of layers of other kinds: names of gguf-py's own table, shapes and types worked by hand."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture
from sizer.families.hf_config import architecture_from_config
from sizer.formats.gguf import gguf_name, gguf_shape
from sizer.formats.gguf_layout import gguf_layout, unknown_layout, windowed_layers
from sizer.memory import kv_cache_bytes, state_bytes
from sizer.runtimes import runtime
from sizer.runtimes.llamacpp import LlamaCpp
from sizer.tensors import tensor_specs
from sizer.workload import Workload
from tests.other_layers import BASES

DATA = Path(__file__).parent / "data"

# Keys as llama.cpp's models need them, where they are otherwise in the small configs.
_PLAIN: dict[str, Any] = {
    **dict.fromkeys(("use_bias", "mamba_proj_bias", "projectors_bias", "attention_bias"), False),
    **dict.fromkeys(("mlp_bias", "conv_bias"), False),
    **dict.fromkeys(("use_conv_bias", "mamba_conv_bias", "use_expert_bias", "tie_word_embeddings"), True),
    "linear_value_head_dim": 12,
    "mlp_only_layers": [],
    "decoder_sparse_step": 1,
    "moe_layer_interval": 1,
    "moe_layer_start_index": 1,
}
# gguf-py's name of each family's model, and its tensors that files of 2026 do not have, or not all of them.
_HEAD = {"output"}
_DENSE = {"blk.ffn_gate", "blk.ffn_up", "blk.ffn_down"}
_EXPERTS = {f"blk.ffn_{name}" for name in ("gate_inp", "gate_exps", "up_exps", "down_exps")} | {
    f"blk.ffn_{name}_shexp" for name in ("gate", "up", "down")
}
_NEXTN = {
    f"blk.nextn.{name}"
    for name in ("eh_proj", "embed_tokens", "enorm", "hnorm", "shared_head_head", "shared_head_norm")
}
_ROTATIONS = {"rope_freqs", "blk.attn_rot_embd"}
_WHOLE_LATENT = {"blk.attn_k", "blk.attn_v", "blk.attn_kv_b", "blk.attn_q"}
MODELS: dict[str, tuple[str, set[str]]] = {
    "mamba": ("MAMBA", _HEAD),
    "falcon_mamba": ("MAMBA", _HEAD),
    "mamba2": ("MAMBA2", _HEAD),
    "bamba": ("GRANITE_HYBRID", _HEAD | _EXPERTS),
    "granitemoehybrid": ("GRANITE_HYBRID", _HEAD | _DENSE),
    "falcon_h1": ("FALCON_H1", _HEAD),
    "jamba": ("JAMBA", _HEAD),
    "nemotron_h": ("NEMOTRON_H_MOE", set()),
    "qwen3_next": ("QWEN3NEXT", _HEAD | {"blk.ffn_gate_up_exps", "blk.ssm_in"}),
    "qwen3_5_text": ("QWEN35", _HEAD),
    "qwen3_5_moe_text": ("QWEN35MOE", _HEAD | {"blk.ffn_gate_up_exps"}),
    "deepseek_v2": ("DEEPSEEK2", _HEAD | _ROTATIONS | _WHOLE_LATENT | {"blk.exp_probs_b"}),
    "deepseek_v3": ("DEEPSEEK2", _HEAD | _ROTATIONS | _WHOLE_LATENT),
    # long and short factors are of scaled rotations
    "minicpm3": ("MINICPM3", _HEAD | {"rope_factors_long", "rope_factors_short"}),
    "lfm2_moe": ("LFM2MOE", set()),
    "ernie4_5_moe": ("ERNIE4_5_MOE", _HEAD),
    "dots1": ("DOTS1", _HEAD),
    "hunyuan_v1_moe": ("HUNYUAN_MOE", _HEAD | _ROTATIONS),
    "llama4_text": ("LLAMA4", _HEAD | _ROTATIONS),
    "gpt_oss": ("GPT_OSS", _HEAD),
    "gemma3n_text": ("GEMMA3N", _HEAD),
    # gate and up of experts apart, which llama.cpp reads as well
    "gemma4_text": ("GEMMA4", _HEAD | {"blk.ffn_gate_up_exps"}),
}


def _config(family: str) -> dict[str, Any]:
    base = BASES[family]
    config = {**base, **{key: value for key, value in _PLAIN.items() if key in base}}
    return {**config, "attention_bias": True} if family == "gpt_oss" else config


def _shape(family: str) -> Architecture:
    return architecture_from_config(_config(family))


def _roles(shape: Architecture) -> set[str]:
    """Names of all tensors without number of the block and suffix."""
    stored = LlamaCpp().as_stored(shape)
    return {
        re.sub(r"\.(weight|bias|scale)$", "", re.sub(r"^blk\.\d+", "blk", gguf_name(spec)))
        for spec in tensor_specs(stored)
    }


@pytest.mark.parametrize("family", MODELS)
def test_the_names_are_those_of_gguf_py(family: str) -> None:
    from gguf.constants import MODEL_ARCH, MODEL_TENSORS, TENSOR_NAMES

    name, left_out = MODELS[family]
    table = MODEL_TENSORS[getattr(MODEL_ARCH, name)]
    theirs = {TENSOR_NAMES[tensor].replace("blk.{bid}.", "blk.") for tensor in table}
    if family == "gemma4_text":
        theirs |= {"blk.ffn_gate_exps", "blk.ffn_up_exps"}
    assert _roles(_shape(family)) == theirs - left_out


def test_glm_4_files_call_one_norm_by_another_name() -> None:
    from gguf.constants import MODEL_ARCH, MODEL_TENSORS, TENSOR_NAMES

    table = MODEL_TENSORS[MODEL_ARCH.GLM4_MOE]
    theirs = {TENSOR_NAMES[tensor].replace("blk.{bid}.", "blk.") for tensor in table}
    ours = _roles(_shape("glm4_moe"))
    assert ours - theirs == {"blk.ffn_norm"}
    assert theirs - ours == _HEAD | _NEXTN | {"blk.post_attention_norm"}


@pytest.mark.parametrize("family", sorted(set(BASES) - set(MODELS) - {"glm4_moe"}))
def test_what_llama_cpp_has_no_model_for_says_which_layers(family: str) -> None:
    assert family == "zamba2"
    assert "shared_transformer" in unknown_layout(_shape(family))
    with pytest.raises(InvalidArchitecture, match="transformer blocks that several layers share"):
        LlamaCpp().store(_shape(family), "Q4_K_M")


@pytest.mark.parametrize(
    ("family", "change"),
    [
        ("mamba", {"use_bias": True}),
        ("mamba2", {"use_conv_bias": False}),
        ("falcon_h1", {"projectors_bias": True}),
        ("jamba", {"mamba_proj_bias": True}),
        ("qwen3_next", {"linear_value_head_dim": 20}),
        ("deepseek_v3", {"attention_bias": True}),
        ("minicpm3", {"q_lora_rank": None}),
        ("gpt_oss", {"attention_bias": False}),
        ("ernie4_5_moe", {"use_bias": True}),
        ("dots1", {"first_k_dense_replace": 0, "attention_bias": False, "n_shared_experts": 1}),
    ],
    ids=str,
)
def test_biases_and_widths_that_no_model_of_llama_cpp_has(family: str, change: dict[str, Any]) -> None:
    shape = architecture_from_config({**_config(family), **change})
    assert (gguf_layout(shape) is None) == (family != "dots1")


def _stored(shape: Architecture, mix: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of each tensor by its name."""
    stored = LlamaCpp().store(shape, mix)
    return {gguf_name(t.spec): (gguf_shape(t.spec), t.type.name) for t in stored}


GRANITE: dict[str, Any] = {
    "model_type": "granitemoehybrid",
    "vocab_size": 100352,
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


def test_granite_4_0_h_350m_worked_by_hand() -> None:
    # rows as in llama.cpp's granite-hybrid.cpp: d_inner 1,536, one group of 128 states, 48 heads
    tensors = _stored(architecture_from_config(GRANITE), "Q4_K_M")
    assert tensors["blk.0.ssm_in.weight"] == ((2 * 1536 + 2 * 128 + 48, 768), "Q4_K")
    assert tensors["blk.0.ssm_conv1d.weight"] == ((1536 + 2 * 128, 4), "F32")
    assert tensors["blk.0.ssm_conv1d.bias"] == ((1792,), "F32")
    assert tensors["blk.0.ssm_a"] == ((48, 1), "F32")
    assert tensors["blk.0.ssm_norm.weight"] == ((1, 1536), "F32")
    assert tensors["blk.0.ssm_out.weight"] == ((768, 1536), "Q4_K")
    # 4 value matrices: the first half of one is none, from 7/8 on is the last
    kinds = [tensors[f"blk.{layer}.attn_v.weight"][1] for layer in (10, 13, 17, 27)]
    assert kinds == ["Q4_K", "Q4_K", "Q6_K", "Q6_K"]
    # of 32 layers: the first 4, each third, the last 4
    six = [layer for layer in range(32) if tensors[f"blk.{layer}.ffn_down.weight"][1] == "Q6_K"]
    assert six == [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]


def test_a_time_step_matrix_with_rows_of_48_stays_at_16_bits() -> None:
    mamba = architecture_from_config({"model_type": "mamba", "num_hidden_layers": 24})
    tensors = _stored(mamba, "Q4_K_M")
    assert tensors["blk.0.ssm_dt.weight"] == ((1536, 48), "F16")
    assert tensors["blk.0.ssm_a"] == ((1536, 16), "F32")
    assert tensors["blk.0.ssm_x.weight"] == ((80, 1536), "Q4_K")


def test_deepseek_v2_lite_splits_its_latent_matrix() -> None:
    lite = {
        "model_type": "deepseek_v2",
        "hidden_size": 2048,
        "intermediate_size": 10944,
        "moe_intermediate_size": 1408,
        "num_attention_heads": 16,
        "num_hidden_layers": 27,
        "q_lora_rank": None,
        "num_experts_per_tok": 6,
        "first_k_dense_replace": 1,
    }
    shape = architecture_from_config(lite)
    tensors = _stored(shape, "Q4_K_M")
    # 128 elements a row are no multiple of 256: Q5_0 stands for Q4_K
    assert tensors["blk.0.attn_k_b.weight"] == ((16, 512, 128), "Q5_0")
    assert tensors["blk.0.attn_v_b.weight"] == ((16, 128, 512), "Q4_K")
    assert tensors["blk.0.attn_kv_a_mqa.weight"] == ((576, 2048), "Q4_K")
    assert sum(s.num_elements for s in tensor_specs(LlamaCpp().as_stored(shape))) == 15_706_484_224
    # one row of 512 + 64 halves a token and layer, and no values (llama_kv_cache of an MLA model)
    assert kv_cache_bytes(shape, Workload(context_tokens=4096)) == 27 * 4096 * 576 * 2


def test_minicpm3_caches_every_head() -> None:
    small = architecture_from_config({"model_type": "minicpm3", "num_hidden_layers": 2, "q_lora_rank": 768})
    memory = LlamaCpp().memory(small, (), Workload(context_tokens=4096))
    # 40 heads with keys of 64 + 32 and values of 64
    assert memory.kv_cache_bytes == 2 * 4096 * 40 * (96 + 64) * 2


def test_gpt_oss_keeps_short_caches_for_its_windows() -> None:
    shape = architecture_from_config({"model_type": "gpt_oss", "num_hidden_layers": 24})
    assert windowed_layers(shape) == tuple(range(0, 24, 2))
    memory = LlamaCpp().memory(shape, (), Workload(context_tokens=8192))
    # 8 KV heads of 64; 128 + 512 positions are 768 cells
    assert memory.kv_cache_bytes == 12 * (8192 + 768) * 2 * 8 * 64 * 2


def test_gemma_3n_stores_keys_and_values_of_every_layer() -> None:
    shape = architecture_from_config({"model_type": "gemma3n_text"})
    tensors = _stored(shape, "Q4_K_M")
    assert tensors["blk.34.attn_k.weight"] == ((512, 2048), "Q4_K")
    assert tensors["per_layer_token_embd.weight"] == ((262400, 35 * 256), "Q6_K")
    assert tensors["altup_proj.weight"] == ((3, 2048, 2048), "F16")
    assert tensors["blk.0.altup_correct_coef.weight"] == ((4, 4), "F32")
    assert tensors["blk.0.laurel_l.weight"] == ((64, 2048), "F16")
    # 20 layers cache, the fifth of each five the whole context
    assert windowed_layers(shape) == tuple(layer for layer in range(20) if (layer + 1) % 5)


def test_nemotron_h_counts_its_rules_over_all_layers() -> None:
    # 8 blocks of MLP among 24 layers: numbers count the blocks, but eighths are of all layers
    pattern = "M-*" * 8
    config = {
        "model_type": "nemotron_h",
        "hybrid_override_pattern": pattern,
        "hidden_size": 512,
        "intermediate_size": 1024,
    }
    tensors = _stored(architecture_from_config(config), "Q4_K_M")
    kinds = [tensors[f"blk.{layer}.ffn_down.weight"][1] for layer in range(1, 24, 3)]
    assert kinds == ["Q6_K", "Q6_K", "Q6_K", "Q4_K", "Q4_K", "Q6_K", "Q4_K", "Q4_K"]


def test_a_buffer_of_the_router_is_in_the_file_but_not_counted() -> None:
    shape = _shape("lfm2_moe")
    (name,) = {n for n in _stored(shape, "F16") if n.startswith("blk.1.exp_probs_b")}
    assert name == "blk.1.exp_probs_b.bias"
    bare = replace(shape, routing_bias=False, routing_bias_is_buffer=False)
    assert "blk.1.exp_probs_b.bias" not in _stored(bare, "F16")


def test_gemma_4_stores_wide_heads_in_layers_without_a_window() -> None:
    config = {"model_type": "gemma4_text", "num_hidden_layers": 12, "num_kv_shared_layers": 0}
    shape = architecture_from_config(config)
    tensors = _stored(shape, "Q4_K_M")
    assert tensors["blk.4.attn_k.weight"][0] == (4 * 256, 2304)
    assert tensors["blk.5.attn_k.weight"][0] == (4 * 512, 2304)
    assert tensors["rope_freqs.weight"] == ((256,), "F32")
    assert tensors["blk.11.layer_output_scale.weight"] == ((1,), "F32")
    memory = LlamaCpp().memory(shape, (), Workload(context_tokens=8192))
    # two layers with the whole context of heads of 512, ten with 512 + 512 cells of heads of 256
    assert memory.kv_cache_bytes == (2 * 8192 * 512 + 10 * 1024 * 256) * 4 * 2 * 2


def test_bitnet_cpp_is_older_than_these_layers() -> None:
    shape = architecture_from_config(GRANITE)
    with pytest.raises(InvalidArchitecture, match=r"runs no model of this kind \(it has Mamba-2 layers\)"):
        runtime("bitnet.cpp").store(shape, "I2_S")


_PUBLISHED = {
    row["model"]: architecture_from_config(row["config"])
    for row in map(json.loads, (DATA / "other_layers.jsonl").read_text("utf-8").splitlines())
}


@pytest.mark.parametrize(
    ("model", "mix", "tensors", "gib"),
    [
        ("granite-4.0-h-micro", "Q4_K_M", 506, None),  # github ollama/ollama#12692: the loader's log
        ("Jamba-v0.1", "F16", 531, None),  # github ggml-org/llama.cpp#7531: llama-quantize's log
        ("LFM2-8B-A1B", "Q4_0", None, 4.41),  # github ggml-org/llama.cpp#19848: llama-bench's table
        ("gpt-oss-20b", "MXFP4_MOE", 459, 11.27),  # llama-bench's table: gpt-oss 20B MXFP4 MoE, 20.91 B
        ("gpt-oss-120b", "MXFP4_MOE", 687, 59.02),  # llama-bench's table: gpt-oss 120B MXFP4 MoE, 116.83 B
    ],
)
def test_files_have_the_tensors_and_bytes_of_llama_cpps_logs(
    model: str, mix: str, tensors: int | None, gib: float | None
) -> None:
    stored = LlamaCpp().store(_PUBLISHED[model], mix)
    assert tensors in (None, len(stored))
    if gib is not None:
        assert sum(t.num_bytes for t in stored) / 2**30 == pytest.approx(gib, abs=0.005)


@pytest.mark.parametrize(
    ("model", "sequences", "mib"),
    [
        ("mamba-1.4b", 1, 14.25),  # github GeniePod/genie-claw#410: RS buffer
        ("Qwen3.5-27B", 3, 448.88),  # github ggml-org/llama.cpp#23792: R 16.88, S 432.00 MiB of 3 sequences
    ],
)
def test_states_are_as_large_as_llama_cpp_logs_them(model: str, sequences: int, mib: float) -> None:
    found = state_bytes(_PUBLISHED[model], Workload(batch_size=sequences))
    assert found / 2**20 == pytest.approx(mib, abs=0.006)


def test_falcon_h1_1_5b_caches_and_keeps_states_as_llama_cpp_logs_them() -> None:
    # github GeniePod/genie-claw#410: 768 MiB of KV in 32,768 cells, states R 0.98 + S 72.00 MiB
    config = {
        "model_type": "falcon_h1",
        "hidden_size": 2048,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 128,
        "mamba_d_ssm": 3072,
        "mamba_n_heads": 48,
        "mamba_d_state": 256,
    }
    shape = architecture_from_config(config)
    assert kv_cache_bytes(shape, Workload(context_tokens=32_768)) == 768 * 2**20
    assert state_bytes(shape, Workload()) / 2**20 == pytest.approx(72.98, abs=0.006)
