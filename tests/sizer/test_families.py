"""Families beyond Llama's: every tensor against transformers' own models on the meta device, and refusals."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sizer.architecture import Architecture, BlockNorms, LayerSharing, MlpKind, PositionKind, SharingStrategy
from sizer.errors import InvalidArchitecture, SizerError
from sizer.families.hf_config import FAMILIES, architecture_from_config, config_from_architecture
from sizer.formats.gguf_layout import unknown_layout
from sizer.formats.llamacpp import mix
from sizer.model_estimate import estimate
from sizer.registry import models
from sizer.shape_words import in_words
from sizer.tensors import Role, count_parameters, tensor_specs
from tests.meta_models import REMOTE_CODE, our_shapes, their_shapes
from tests.published_facts import csv_rows, json_lines
from tests.sizer.test_architecture import SMALL
from tests.strategies import any_architectures

# Compared by name and shape in test_tensors.py; transformers does not know all of them.
_LLAMA_SHAPED = ("llama", "mistral", "mobilellm", "minicpm", "qwen2", "qwen3")
CATALOGUE = {
    name: dict(row.config)
    for name, row in models().items()
    if row.config["model_type"] not in (*_LLAMA_SHAPED, *REMOTE_CODE)
}

# What no catalogue row does, two layers each: keys that add, drop or widen tensors.
SMALL_SIZES: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "bitnet with attention bias": {
        "model_type": "bitnet",
        "num_key_value_heads": 2,
        "attention_bias": True,
    },
    "bloom by common names": {"model_type": "bloom"},
    "falcon 40b's architecture": {
        "model_type": "falcon",
        "new_decoder_architecture": True,
        "num_kv_heads": 2,
    },
    "falcon 11b's one norm": {
        "model_type": "falcon",
        "new_decoder_architecture": True,
        "num_kv_heads": 2,
        "num_ln_in_parallel_attn": 1,
    },
    "falcon rw: alibi, bias, in series": {
        "model_type": "falcon",
        "alibi": True,
        "bias": True,
        "multi_query": False,
        "parallel_attn": False,
        "ffn_hidden_size": 100,
    },
    "gemma with attention bias": {"model_type": "gemma", "num_key_value_heads": 2, "attention_bias": True},
    "gemma2 with a head of its own": {
        "model_type": "gemma2",
        "head_dim": 32,
        "tie_word_embeddings": False,
    },
    "gpt2 with n_inner": {"model_type": "gpt2", "n_inner": 100},
    "gpt2 with a head of its own": {"model_type": "gpt2", "tie_word_embeddings": False},
    "gpt_neo with its own width": {
        "model_type": "gpt_neo",
        "intermediate_size": 100,
        "attention_types": [[["global"], 2]],
    },
    "gpt_neox without attention bias": {"model_type": "gpt_neox", "attention_bias": False},
    "lfm2 by layer types, with biases, untied": {
        "model_type": "lfm2",
        "intermediate_size": 300,
        "num_key_value_heads": 2,
        "layer_types": ["conv", "full_attention"],
        "conv_bias": True,
        "tie_word_embeddings": False,
    },
    "lfm2 as wide as it says": {
        "model_type": "lfm2",
        "intermediate_size": 300,
        "num_key_value_heads": 2,
        "block_auto_adjust_ff_dim": False,
        "full_attn_idxs": [0],
        "conv_L_cache": 4,
    },
    "olmo with grouped heads": {"model_type": "olmo", "num_key_value_heads": 2, "attention_bias": True},
    "olmo2 with grouped heads": {"model_type": "olmo2", "num_key_value_heads": 2},
    "opt without biases": {"model_type": "opt", "enable_bias": False},
    "opt without affine norms": {"model_type": "opt", "layer_norm_elementwise_affine": False},
    "opt without last norm": {"model_type": "opt", "_remove_final_layer_norm": True},
    "opt projected, untied": {
        "model_type": "opt",
        "word_embed_proj_dim": 32,
        "tie_word_embeddings": False,
    },
    "phi with norms on query and key": {"model_type": "phi", "qk_layernorm": True},
    "phi tied, grouped": {"model_type": "phi", "tie_word_embeddings": True, "num_key_value_heads": 2},
    "phi3 grouped": {"model_type": "phi3", "num_key_value_heads": 2, "pad_token_id": 0},
    "stablelm in parallel": {
        "model_type": "stablelm",
        "num_key_value_heads": 2,
        "use_parallel_residual": True,
    },
}


@pytest.mark.parametrize("config", CATALOGUE.values(), ids=CATALOGUE)
def test_catalogue_rows_have_the_shapes_that_transformers_makes(config: dict[str, Any]) -> None:
    assert our_shapes(config) == their_shapes(config)


@pytest.mark.parametrize("change", VARIANTS.values(), ids=VARIANTS)
def test_every_key_does_what_it_does_in_transformers(change: dict[str, Any]) -> None:
    config = {**SMALL_SIZES, **change}
    assert our_shapes(config) == their_shapes(config)


# transformers itself cannot build these with a key left out (head_dim, layer_types)
_NOT_DEFAULTED = {"hunyuan_v1_dense", "lfm2_moe", "nemotron"}
DEFAULTED = sorted(({row["model_type"] for row in CATALOGUE.values()} | {"olmo2"}) - _NOT_DEFAULTED)


@pytest.mark.parametrize("model_type", DEFAULTED)
def test_keys_left_out_take_transformers_defaults(model_type: str) -> None:
    assert our_shapes({"model_type": model_type}) == their_shapes({"model_type": model_type})


def test_opt_350m_worked_by_hand() -> None:
    # embedding 512 wide, projected to 1024 and back; no last norm; two position rows more
    block = 4 * (1024 * 1024 + 1024) + 2 * 4096 * 1024 + 4096 + 1024 + 2 * 2 * 1024
    outside = 50272 * 512 + 2 * 512 * 1024 + 2050 * 1024
    total = count_parameters(tensor_specs(models()["opt-350m"].architecture)).total
    assert total == 24 * block + outside == 331_196_416


def test_an_openelm_layer_worked_by_hand() -> None:
    # 0.5 x 1536 = 768 wide: 12 heads and 3 + 3 of keys and values; MLP 0.5 x 1536 = 768
    specs = tensor_specs(models()["OpenELM-450M"].architecture)
    first = sum(spec.num_elements for spec in specs if spec.layer == 0)
    assert first == (768 + 2 * 192) * 1536 + 768 * 1536 + 2 * 64 + 3 * 768 * 1536 + 2 * 1536


def test_openelm_450m_has_the_heads_and_widths_of_its_source() -> None:
    (row,) = (r for r in json_lines("configs.jsonl") if r["model_type"] == "openelm")
    a = models()["OpenELM-450M"].architecture
    assert list(a.layer_num_heads) == row["extras"]["num_query_heads"]
    assert list(a.layer_intermediate_sizes) == row["extras"]["ffn_intermediate"]
    assert count_parameters(tensor_specs(a)).total == row["params_computed"] == 457_179_136


def test_lfm2_350m_uses_4608_of_its_6656() -> None:
    a = models()["LFM2-350M"].architecture
    assert a.intermediate_size == 18 * 256 == 4608
    assert a.conv_layers == (0, 1, 3, 4, 6, 7, 9, 11, 13, 15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv_layers": (3,)}, r"conv_layers must be layers from 0 to 2, got \[3\]"),
        (
            {"conv_layers": (0,), "sharing": LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=2)},
            "sharing: not supported where layers differ",
        ),
        ({"layer_num_heads": (9, 3)}, "layer_num_heads must be 3 multiples of 3 up to 9"),
        ({"layer_num_heads": (9, 4, 3)}, "layer_num_heads must be 3 multiples of 3 up to 9"),
        (
            {"layer_intermediate_sizes": (1, 2, 3)},
            "layer_intermediate_sizes must be 3 multiples of 1 up to 1536",
        ),
        ({"position_offset": -1}, "position_offset must be a whole number from 0"),
    ],
)
def test_refused_shapes(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        replace(SMALL, **change)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "phi", "hidden_act": "silu"}, "hidden_act: unknown value 'silu'; accepted: gelu"),
        ({"model_type": "phi3", "hidden_act": "relu"}, "hidden_act: unknown value 'relu'; accepted: gelu"),
        ({"model_type": "gpt2", "n_embd": 100, "n_head": 7}, "head_dim: missing, and hidden_size 100"),
        ({"model_type": "lfm2", "layer_types": ["conv"]}, "layer_types: expected .conv. or .full_attention."),
        ({"model_type": "lfm2", "full_attn_idxs": "all"}, "full_attn_idxs: expected a list of layers"),
        ({"model_type": "lfm2", "block_ffn_dim_multiplier": "2"}, "block_ffn_dim_multiplier: expected a num"),
        ({"model_type": "lfm2", "block_multiple_of": 0}, "block_multiple_of: expected 1 to .*, got 0"),
        (
            {"model_type": "openelm", "ffn_multipliers": [1, 2, 3]},
            "ffn_multipliers: expected one number, two",
        ),
        ({"model_type": "openelm", "qkv_multipliers": "1"}, "qkv_multipliers: expected numbers from 0"),
        ({"model_type": "openelm", "num_gqa_groups": 0}, "num_gqa_groups: expected 1 to .*, got 0"),
        (
            {"model_type": "openelm", "num_transformer_layers": 10**12},
            "num_transformer_layers: expected 1 to",
        ),
        (
            {"model_type": "lfm2", "num_hidden_layers": 10**12, "full_attn_idxs": [0]},
            "num_hidden_layers: exp",
        ),
        ({"model_type": "openelm", "model_dim": 10**400}, "model_dim: expected 1 to"),
        ({"model_type": "lfm2", "block_ff_dim": 10**400}, "block_ff_dim: expected 1 to"),
        ({"model_type": "gpt2", "activation_function": ["gelu"]}, "activation_function: unknown value"),
        ({"model_type": "openelm", "ffn_with_glu": False}, "ffn_with_glu: False is not supported"),
        ({"model_type": "opt", "ffn_dim": "wide"}, "ffn_dim: expected a whole number, got 'wide'"),
        ({"model_type": "opt", "word_embed_proj_dim": 0}, "embedding_size must be a whole number from 1"),
    ],
)
def test_refused_configs_name_the_key(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        architecture_from_config(config)


@pytest.mark.parametrize(
    "change",
    [
        {"block_norms": BlockNorms.BOTH},
        {"final_norm": False},
        {"embedding_norm": True},
        {"embedding_size": 64},
        {"position": PositionKind.LEARNED},
        {"head_bias": True},
        {"fused_qkv": True},
        {"qk_norm_all_heads": True},
        {"conv_layers": (1,)},
        {"layer_num_heads": (3, 6, 9)},
        {"qk_norm_each_head": True},
    ],
    ids=str,
)
def test_no_bytes_are_printed_for_a_layout_no_model_has(change: dict[str, Any]) -> None:
    (field,) = change
    found = estimate(architecture=replace(SMALL, **change), format="Q4_K_M")
    assert found.weights is None
    assert found.held is None
    assert re.match(
        f"llama.cpp runs no model of this kind.*{in_words([field])}", found.unsupported["weights"]
    )


def test_a_published_pythia_file_has_nearly_the_bytes_of_the_fused_layout() -> None:
    # an older build, which gave the fused matrix Q5_K in all layers: 12 x 2304 x 768 x (5.53 - 5.5) / 8 bytes
    (row,) = (r for r in csv_rows("gguf_sizes.csv") if r["model"].startswith("pythia-160m"))
    result = estimate(architecture=models()["pythia-160m"].architecture, format=row["quant"])
    assert result.file.total - int(row["file_bytes"]) == pytest.approx(12 * 2304 * 768 / 32 / 8, abs=1000)


def test_a_published_stablelm_file_lies_in_the_range_of_its_tokenizer() -> None:
    (row,) = (r for r in csv_rows("gguf_sizes.csv") if r["model"].startswith("stablelm"))
    weights = estimate(architecture=models()["stablelm-2-1_6b"].architecture, format=row["quant"]).to_dict()
    low, high = (weights["weights"][key] for key in ("file_bytes_low", "file_bytes_high"))
    assert low < int(row["file_bytes"]) < high


def test_fused_query_key_value_follows_the_rule_of_values() -> None:
    pythia = models()["pythia-160m"].architecture
    stored = mix("Q4_K_M").assign(pythia, tensor_specs(pythia))
    fused = [t for t in stored if t.spec.role is Role.QKV and not t.spec.is_bias]
    assert [t.spec.layer for t in fused if t.type.name == "Q6_K"] == [0, 3, 6, 9, 10, 11]
    assert {t.type.name for t in fused} == {"Q4_K", "Q6_K"}


def test_falcons_grouped_fusion_is_not_taken_for_gpt_neox() -> None:
    falcon = {"model_type": "falcon", "new_decoder_architecture": True, "num_kv_heads": 1}
    assert unknown_layout(architecture_from_config(falcon)) == ("fused_qkv",)


def test_the_refusal_still_says_how_many_parameters() -> None:
    found = estimate(architecture=models()["opt-1.3b"].architecture, format="Q4_K_M")
    assert found.to_dict()["parameters"]["total"] == 1_315_758_080
    with pytest.raises(InvalidArchitecture, match="runs no model .*'opt-1.3b' has 1,315,758,080 parameters"):
        assert found.memory


def test_a_shape_beyond_llama_has_no_config_of_ours() -> None:
    with pytest.raises(InvalidArchitecture, match="config: no known model_type can express fused_qkv"):
        config_from_architecture(replace(SMALL, fused_qkv=True))


@given(
    st.sampled_from(sorted(FAMILIES)),
    st.dictionaries(
        st.sampled_from(sorted({key for config in CATALOGUE.values() for key in config} - {"model_type"})),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())),
    ),
)
def test_any_config_is_read_or_refused_in_one_line(model_type: str, keys: dict[str, Any]) -> None:
    try:
        architecture_from_config({**keys, "model_type": model_type})
    except SizerError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message


@given(any_architectures())
def test_fusing_and_splitting_keep_the_count(architecture: Architecture) -> None:
    assume(not architecture.num_experts)
    totals = {
        count_parameters(tensor_specs(replace(architecture, fused_qkv=qkv, fused_gate_up=gate))).total
        for qkv in (True, False)
        for gate in (True, False)
    }
    assert len(totals) == 1


@given(any_architectures())
def test_every_shape_is_either_stored_or_refused(architecture: Architecture) -> None:
    unrolled = architecture.unrolled()
    specs = tensor_specs(unrolled)
    assert len({spec.name for spec in specs}) == len(specs)
    if unknown_layout(architecture):
        with pytest.raises(InvalidArchitecture):
            mix("Q4_K_M").assign(unrolled, specs)
    else:
        assert len(mix("Q4_K_M").assign(unrolled, specs)) == len(specs)


def test_kinds_are_read_from_activations() -> None:
    def kind(model_type: str, **change: Any) -> MlpKind:
        return architecture_from_config({"model_type": model_type, **change}).mlp

    assert (kind("gemma"), kind("bitnet"), kind("phi3")) == (
        MlpKind.GEGLU,
        MlpKind.RELU2_GATED,
        MlpKind.SWIGLU,
    )
    assert (kind("gpt2"), kind("opt"), kind("opt", activation_function="gelu")) == (
        MlpKind.GELU,
        MlpKind.RELU,
        MlpKind.GELU,
    )
