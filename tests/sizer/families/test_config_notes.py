"""No silent guess: defaults taken and keys not understood are listed; hints offer families that fit."""

from __future__ import annotations

from typing import Any

import pytest

from sizer.errors import InvalidArchitecture, UnknownName
from sizer.families.hf_config import architecture_from_config, read_config
from sizer.request import EstimateRequest
from tests.sizer.families.test_hf_config import LLAMA

COMPLETE: dict[str, Any] = {
    **LLAMA,
    "head_dim": 64,
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": True,
    "max_position_embeddings": 2048,
}
# What published files of Llama's kind hold besides shapes.
USUAL: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 128000,
    "eos_token_id": [128001, 128008],
    "initializer_range": 0.02,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-5,
    "rope_scaling": {"factor": 32.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"},
    "rope_theta": 500000.0,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.45.0",
    "use_cache": True,
}


def test_a_complete_config_has_nothing_to_say() -> None:
    assert read_config({**COMPLETE, **USUAL}).notes == ()


def test_every_key_left_out_is_listed_with_its_default() -> None:
    config = {"model_type": "mistral", "hidden_size": 4096, "num_hidden_layers": 2, "vocab_size": 100}
    (note,) = read_config(config).notes
    assert note == (
        "left out of the config, so the default of model_type mistral: num_attention_heads 32, "
        "intermediate_size 14336, num_key_value_heads 8, head_dim 128, hidden_act silu, "
        "tie_word_embeddings false, max_position_embeddings 131072, sliding_window 4096"
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_nextn_predict_layers", 1),
        ("q_lora_rank", 512),
        ("qk_rope_head_dim", 64),
        ("use_qk_norm", True),
        ("n_shared_experts", 2),
        ("moe_intermediate_size", 1408),
        ("attention_type", "mla"),
        ("cross_attention_layers", [3, 8]),
        ("hidden_size_per_layer_input", 256),
        ("mamba_n_heads", 24),
        ("adapter_config", {"r": 8}),
    ],
)
def test_a_key_that_could_add_tensors_is_listed(key: str, value: object) -> None:
    (note,) = read_config({**COMPLETE, **USUAL, key: value}).notes
    assert note.startswith("keys not understood, which could add tensors that are not counted: ")
    assert key in note


@pytest.mark.parametrize("value", [None, False, 0, [], {}])
def test_a_key_that_is_off_adds_nothing(value: object) -> None:
    assert read_config({**COMPLETE, "num_nextn_predict_layers": value}).notes == ()


def test_a_config_full_of_strange_keys_stays_on_one_short_line() -> None:
    strange = {f"{n}_strange\n_key" * 30: "x" * 10_000 if n % 2 else n for n in range(1, 500)}
    (note,) = read_config({**COMPLETE, **strange}).notes
    assert len(note) < 2500
    assert note.isprintable()


def test_the_estimate_lists_what_was_assumed() -> None:
    config = {**COMPLETE, "num_nextn_predict_layers": 1, "tie_word_embeddings": None}
    assumptions = EstimateRequest(config=config).run().estimate.assumptions
    assert (
        "left out of the config, so the default of model_type llama: tie_word_embeddings false" in assumptions
    )
    assert any("num_nextn_predict_layers 1" in note for note in assumptions)


def test_experts_in_a_family_without_them_are_refused() -> None:
    with pytest.raises(InvalidArchitecture, match="num_experts: not supported for model_type 'llama'"):
        architecture_from_config({**COMPLETE, "num_experts": 8})
    assert (
        architecture_from_config({**COMPLETE, "num_experts": None, "num_local_experts": 0}).num_experts == 0
    )


def test_a_hint_offers_a_family_that_the_config_describes() -> None:
    with pytest.raises(UnknownName, match=r"unknown model_type 'lama2'; did you mean llama"):
        architecture_from_config({**COMPLETE, "model_type": "lama2"})


@pytest.mark.parametrize(
    "config",
    [
        # a text_config's keys are elsewhere
        {"model_type": "gemma3_vl", "vision_config": {"hidden_size": 8}},
        # GPT-2's names of sizes
        {"model_type": "gpt3", "n_ctx": 1, "hidden_size": 8},
        # layers of another kind
        {**COMPLETE, "model_type": "llama5", "linear_num_key_heads": 16},
        {**COMPLETE, "model_type": "qwen9_moe", "num_experts": 32},
    ],
    ids=str,
)
def test_no_hint_where_following_it_would_give_another_model(config: dict[str, Any]) -> None:
    with pytest.raises(UnknownName) as raised:
        architecture_from_config(config)
    assert "did you mean" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("LlamaForCausalLM", "llama"),
        ("GPT2LMHeadModel", "gpt2"),
        ("GPTNeoXForCausalLM", "gpt_neox"),
        ("Qwen3MoeForCausalLM", "qwen3_moe"),
        ("Gemma3ForCausalLM", "gemma3_text"),
        ("OPTForCausalLM", "opt"),
        ("HunYuanDenseV1ForCausalLM", "hunyuan_v1_dense"),
        ("Ernie4_5ForCausalLM", "ernie4_5"),
        ("DistilBertForMaskedLM", "distilbert"),
    ],
)
def test_a_missing_model_type_is_that_of_the_class(name: str, family: str) -> None:
    keys = {key: value for key, value in COMPLETE.items() if key != "model_type" and "act" not in key}
    reading = read_config({**keys, "architectures": [name]})
    assert reading.architecture.model_type == family
    assert f"model_type: missing, read as {family} by architectures" in reading.notes


def test_without_model_type_and_class_the_error_names_the_key() -> None:
    for classes in (None, [], "LlamaForCausalLM", [3], ["SomeForCausalLM"]):
        with pytest.raises(InvalidArchitecture, match="model_type: missing or not text"):
            architecture_from_config({**COMPLETE, "model_type": None, "architectures": classes})


def test_whole_numbers_may_be_written_with_a_point() -> None:
    written = {**COMPLETE, "max_position_embeddings": 131072.0, "hidden_size": 2048.0}
    a = architecture_from_config(written)
    assert (a.max_position_embeddings, a.hidden_size) == (131072, 2048)
    assert type(a.hidden_size) is int
    with pytest.raises(InvalidArchitecture, match="hidden_size: expected a whole number, got 2048.5"):
        architecture_from_config({**COMPLETE, "hidden_size": 2048.5})
