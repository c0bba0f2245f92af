"""Families whose code comes with the model: published counts of models whose config.json is public."""

from __future__ import annotations

from typing import Any

import pytest

from sizer.errors import InvalidArchitecture
from sizer.families.hf_config import architecture_from_config, read_config
from sizer.tensors import count_parameters, tensor_specs


def _sizes(hidden: int, intermediate: int, layers: int, heads: int, vocab: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "vocab_size": vocab,
    }


def _total(config: dict[str, Any]) -> int:
    return count_parameters(tensor_specs(architecture_from_config(config))).total


EXAONE: dict[str, Any] = {
    "model_type": "exaone",
    "activation_function": "silu",
    "head_dim": 80,
    "hidden_size": 2560,
    "intermediate_size": 7168,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_layers": 30,
    "tie_word_embeddings": True,
    "vocab_size": 102400,
}
CHATGLM: dict[str, Any] = {
    "model_type": "chatglm",
    "add_bias_linear": False,
    "add_qkv_bias": True,
    "ffn_hidden_size": 13696,
    "hidden_size": 4096,
    "kv_channels": 128,
    "multi_query_attention": True,
    "multi_query_group_num": 2,
    "num_attention_heads": 32,
    "num_layers": 28,
    "padded_vocab_size": 65024,
    "seq_length": 8192,
}


DEEPSEEK_MOE: dict[str, Any] = {
    "model_type": "deepseek",
    **_sizes(2048, 10944, 28, 16, 102400),
    "num_key_value_heads": 16,
    "moe_intermediate_size": 1408,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "first_k_dense_replace": 1,
}


@pytest.mark.parametrize(
    ("config", "published"),
    [
        # the README of each model, or the safetensors total on its page
        pytest.param(
            {"model_type": "baichuan", **_sizes(4096, 11008, 32, 32, 64000)}, 7_000_559_616, id="7B"
        ),
        pytest.param(
            {"model_type": "baichuan", **_sizes(5120, 13696, 40, 40, 64000)}, 13_264_901_120, id="13B"
        ),
        pytest.param(EXAONE, 2_405_327_360, id="EXAONE-3.5-2.4B"),
        pytest.param(DEEPSEEK_MOE, 16_375_728_128, id="DeepSeekMoE-16B"),
        pytest.param(CHATGLM, 6_243_584_000, id="chatglm3-6b"),
        pytest.param(
            {"model_type": "internlm2", **_sizes(2048, 8192, 24, 16, 92544), "num_key_value_heads": 8},
            1_889_110_016,
            id="internlm2-1_8b",
        ),
        pytest.param(
            {"model_type": "qwen", **_sizes(2048, 11008, 24, 16, 151936)}, 1_836_828_672, id="Qwen-1_8B"
        ),
        pytest.param(
            {
                "model_type": "phi3small",
                **_sizes(4096, 0, 32, 32, 100352),
                "ff_intermediate_size": 14336,
                "num_key_value_heads": 8,
            },
            7_392_272_384,
            id="Phi-3-small",
        ),
        pytest.param(
            {"model_type": "Yi", **_sizes(4096, 11008, 32, 32, 64000), "num_key_value_heads": 4},
            6_061_035_520,
            id="Yi-6B",
        ),
    ],
)
def test_published_counts(config: dict[str, Any], published: int) -> None:
    assert _total(config) == published


def test_a_mimo_without_its_prediction_layers_worked_by_hand() -> None:
    config = {
        "model_type": "mimo",
        **_sizes(4096, 11008, 36, 32, 151680),
        "num_key_value_heads": 8,
        "head_dim": 128,
        "attention_bias": True,
        "num_nextn_predict_layers": 1,
    }
    attention = 4096 * (4096 + 1024 + 1024) + 4096 + 2 * 1024 + 4096 * 4096
    layer = attention + 3 * 4096 * 11008 + 2 * 4096
    assert _total(config) == 2 * 151680 * 4096 + 36 * layer + 4096
    assert any("num_nextn_predict_layers 1" in note for note in read_config(config).notes)


def test_sizes_have_no_default_where_no_class_states_one() -> None:
    with pytest.raises(InvalidArchitecture, match="hidden_size: missing"):
        architecture_from_config({"model_type": "xverse"})
    with pytest.raises(InvalidArchitecture, match="intermediate_size: expected an even number, got 7"):
        architecture_from_config({"model_type": "qwen", **_sizes(64, 7, 2, 2, 100)})


def test_deepseek_without_latent_attention_has_llamas() -> None:
    latent = {"kv_lora_rank": None, "q_lora_rank": None, "qk_nope_head_dim": 0, "v_head_dim": 0}
    config = {**DEEPSEEK_MOE, "model_type": "deepseek_v2", "use_mla": False, **latent}
    a = architecture_from_config(config)
    assert a.latent_attention is None
    assert a.head_dim == 128
    assert _total(config) == _total(DEEPSEEK_MOE)
    reading = read_config({"model_type": "deepseek_vl_v2", "language_config": config})
    assert reading.architecture == a
    assert not any("use_mla" in note or "lora" in note for note in reading.notes)
