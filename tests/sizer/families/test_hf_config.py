"""config.json keys: defaults per family, refused values, the way back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from sizer.architecture import Architecture, LayerSharing, MlpKind, NormKind, SharingStrategy
from sizer.errors import InvalidArchitecture, SizerError, UnknownName
from sizer.families.hf_config import (
    architecture_from_config,
    config_from_architecture,
    read_config,
    sharing_from_config,
)
from tests.strategies import architectures

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 32000,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
}


def test_a_llama_config_takes_the_familys_defaults() -> None:
    a = architecture_from_config(LLAMA)
    assert (a.head_dim, a.tie_embeddings, a.qkv_bias, a.mlp) == (64, False, False, MlpKind.SWIGLU)


def test_no_key_value_heads_means_as_many_as_heads() -> None:
    config = {key: value for key, value in LLAMA.items() if key != "num_key_value_heads"}
    assert architecture_from_config(config).num_kv_heads == 32


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"peft_type": "LORA", "r": 16}, r"the config of an adapter \(adapter_config.json"),
        ({"tokenizer_class": "LlamaTokenizer"}, "the config of a tokenizer"),
        ({"dim": 4096, "n_layers": 32, "n_heads": 32}, "a params.json"),
        ({"eos_token_id": 2, "do_sample": True}, "a generation_config.json"),
        ({"_class_name": "UNet2DConditionModel"}, "a config of diffusers"),
        ({"weight_map": {}}, "the index of a sharded model"),
    ],
)
def test_an_object_that_is_no_models_config_is_named(config: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidArchitecture, match=f"^model_type: missing: this is {what}.*; accepted: "):
        architecture_from_config(config)


def test_mlcs_config_is_read_from_its_model_config() -> None:
    inner = {key: value for key, value in LLAMA.items() if key != "model_type"}
    outer = {"model_type": "llama", "vocab_size": 32000, "quantization": "q4f16_1", "model_config": inner}
    reading = read_config(outer)
    assert reading.architecture == architecture_from_config(LLAMA)
    assert "read from model_config (the mlc-chat-config.json of MLC)" in reading.notes


def test_exaone_4_states_its_windows_by_letters() -> None:
    config = {**LLAMA, "model_type": "exaone4", "sliding_window": 512, "num_hidden_layers": 6}
    a = architecture_from_config({**config, "sliding_window_pattern": "LLG"})
    assert (a.sliding_window, a.sliding_layers) == (512, (0, 1, 3, 4))
    with pytest.raises(InvalidArchitecture, match="sliding_window_pattern"):
        architecture_from_config({**config, "sliding_window_pattern": "LLX"})


@pytest.mark.parametrize(
    ("model_type", "left_out"), [("llama", 32), ("mistral", 8), ("qwen2", 32), ("qwen3", 32), ("smollm3", 4)]
)
def test_key_value_heads_left_out_are_the_familys_and_null_as_many_as_heads(
    model_type: str, left_out: int
) -> None:
    config = {key: value for key, value in LLAMA.items() if key != "num_key_value_heads"}
    config["model_type"] = model_type
    assert architecture_from_config(config).num_kv_heads == left_out
    assert architecture_from_config({**config, "num_key_value_heads": None}).num_kv_heads == 32


def test_qwen3_has_its_own_head_dim_and_norms() -> None:
    a = architecture_from_config({**LLAMA, "model_type": "qwen3"})
    assert (a.head_dim, a.qk_norm, a.qkv_bias) == (128, True, False)


def test_mobilellm_shares_its_table_whatever_tie_word_embeddings_says() -> None:
    a = architecture_from_config({**LLAMA, "model_type": "mobilellm", "tie_word_embeddings": False})
    assert a.tie_embeddings


def test_mobilellm_layer_sharing_runs_each_block_twice_in_a_row() -> None:
    a = architecture_from_config({**LLAMA, "model_type": "mobilellm", "layer_sharing": True})
    assert a.sharing == LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=2)
    assert (a.num_layers, a.executed_layers) == (22, 44)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": None}, "hidden_size: missing from the config"),
        ({"hidden_size": "2048"}, "hidden_size: expected a whole number, got '2048'"),
        ({"num_attention_heads": 7}, "head_dim: missing, and hidden_size 2048 is not a multiple"),
        ({"num_attention_heads": 0}, "head_dim: missing"),
        ({"hidden_act": "tanh"}, "hidden_act: unknown value 'tanh'; accepted: gelu, gelu_fast"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings: expected true or false, got 'yes'"),
        ({"num_local_experts": 8}, "num_local_experts: not supported"),
        (
            {"model_type": "qwen2", "num_attention_heads": 4, "num_key_value_heads": ...},
            "num_key_value_heads: missing, and the default of model_type 'qwen2', 32, does not divide",
        ),
        ({"num_key_value_heads": 5}, "num_heads must be a multiple of num_kv_heads"),
        ({"sharing": "immediate"}, "sharing: expected"),
        ({"sharing": {"strategy": "immediate", "repeat": "2"}}, "sharing.repeat: expected a whole number"),
        ({"model_type": 3}, "model_type: missing or not text"),
    ],
)
def test_refused_configs_name_the_key(change: dict[str, Any], message: str) -> None:
    config = {key: value for key, value in {**LLAMA, **change}.items() if value is not ...}  # ...: left out
    with pytest.raises(InvalidArchitecture, match=message):
        architecture_from_config(config)


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


# Found by reading broken files (tests/sizer/readers/test_fuzz.py): values were quoted whole.
@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": [0] * 100_000},
        {"vocab_size": {str(n): n for n in range(10_000)}},
        {"num_hidden_layers": _nested(5_000)},
        {"num_attention_heads": 10**4299},
        {"model_type": "gpt2", "n_embd": 10**4299, "n_inner": None},
        {"model_type": "x" * 99_000},
        {"hidden_act": "x" * 99_000},
        {"sharing": "x" * 99_000},
        {"sharing": {"strategy": "x" * 99_000}},
        {"sharing": {"strategy": "immediate", "repeat": 10**4299}},
        {"tie_word_embeddings": [["x"] * 999] * 999},
        {"model_type": "lfm2", "full_attn_idxs": {"x" * 99_000: 1}},
        {"model_type": "openelm", "ffn_multipliers": [0] * 10_000},
    ],
    ids=lambda change: ", ".join(change),
)
def test_a_value_of_any_size_is_quoted_short(change: dict[str, Any]) -> None:
    with pytest.raises(SizerError) as raised:
        architecture_from_config({**LLAMA, **change})
    assert len(str(raised.value)) < 1500  # with every family listed
    assert str(raised.value).isprintable()


def test_an_unknown_family_lists_the_known_ones() -> None:
    with pytest.raises(
        UnknownName, match=r"unknown model_type 'lama'; did you mean llama, .*\? known: aquila, arcee"
    ):
        architecture_from_config({**LLAMA, "model_type": "lama"})


def test_sharing_without_repeat_is_twice() -> None:
    assert sharing_from_config({"strategy": "repeat-all"}).repeat == 2


@given(architectures())
def test_llama_shapes_survive_the_way_there_and_back(architecture: Architecture) -> None:
    plain = replace(
        architecture,
        mlp=MlpKind.SWIGLU,
        norm=NormKind.RMSNORM,
        qk_norm=False,
        mlp_bias=False,
        attention_output_bias=architecture.qkv_bias,
    )
    assert architecture_from_config(config_from_architecture(plain)) == plain


def test_a_huge_head_dim_is_shown_by_its_digits() -> None:
    config = {"model_type": "helium", "hidden_size": 2560, "num_attention_heads": 20, "head_dim": 10**5000}
    with pytest.raises(InvalidArchitecture, match="head_dim: a number of about .* digits x 20 heads"):
        architecture_from_config(config)
