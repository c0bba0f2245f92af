"""Tensors and parameter counts against published counts, transformers' own models, hand-worked sums."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.architecture import Architecture
from sizer.families.hf_config import FAMILIES, architecture_from_config
from sizer.registry import CatalogueModel, models
from sizer.tensors import (
    Access,
    Role,
    TensorSpec,
    count_parameters,
    parameters_of,
    tensor_groups,
    tensor_specs,
)
from tests.other_layer_strategies import configs
from tests.other_layers import BASES
from tests.published_facts import json_lines
from tests.sizer.test_architecture import SMALL
from tests.strategies import any_architectures, architectures

# Facts that the truth file keeps under "extras", in our config keys.
_EXTRA_KEYS = {"shared_ffn": "shared_mlp", "extra_norm_per_layer": "sub_norms"}
_PLAIN_EXTRAS = (
    *("share_embedding", "layer_sharing", "word_embed_proj_dim", "do_layer_norm_before"),
    *("multi_query", "parallel_attn", "bias", "use_parallel_residual"),
)
# Keys of one family for what the truth file names alike in all.
_FAMILY_KEYS = {
    "opt": {"ffn_dim": "intermediate_size"},
    "distilbert": {"hidden_dim": "intermediate_size"},
    "openelm": {"model_dim": "hidden_size", "num_transformer_layers": "num_hidden_layers"},
}
# OpenELM's multipliers are in the note of its row, not in a field.
_OPENELM = {"qkv_multipliers": [0.5, 1.0], "ffn_multipliers": [0.5, 4.0], "num_gqa_groups": 4}


def _truth_config(row: dict[str, Any]) -> dict[str, Any]:
    extras = row["extras"]
    ours = {ours: bool(extras.get(theirs)) for theirs, ours in _EXTRA_KEYS.items()}
    renamed = {key: row[common] for key, common in _FAMILY_KEYS.get(row["model_type"], {}).items()}
    if row["model_type"] == "openelm":
        renamed |= {**_OPENELM, "normalize_qk_projections": True, "share_input_output_layers": True}
    if row["model_type"] == "stablelm":
        renamed["use_qkv_bias"] = extras.get("qkv_bias")
    return {**row, **{key: extras[key] for key in _PLAIN_EXTRAS if key in extras}, **ours, **renamed}


KNOWN = [
    row
    for row in json_lines("configs.jsonl")
    if row["model_type"] in FAMILIES and (row["params_published"] or row["params_computed"])
]


def _total(architecture: Architecture) -> int:
    return count_parameters(tensor_specs(architecture)).total


def test_a_block_worked_by_hand() -> None:
    counts = count_parameters(tensor_specs(replace(SMALL, num_layers=1)))
    assert counts.embedding == 32000 * 576 == 18_432_000
    assert counts.attention == 576 * 576 + 2 * 576 * 192 + 576 * 576 == 884_736
    assert counts.mlp == 3 * 576 * 1536 == 2_654_208
    assert counts.norm == 3 * 576 == 1_728
    assert counts.head == 0
    assert counts.total == 18_432_000 + 884_736 + 2_654_208 + 1_728 == 21_972_672


def test_mobilellm_125m_has_the_count_of_its_paper() -> None:
    # 30 x (884,736 + 2,654,208 + 2 x 576) + 18,432,000 + 576; the paper's table prints 124.6M
    assert _total(replace(SMALL, num_layers=30)) == 124_635_456


@pytest.mark.parametrize("row", KNOWN, ids=[row["model"] for row in KNOWN])
def test_every_published_count_to_the_last_weight(row: dict[str, Any]) -> None:
    # gemma-3-4b was published with 64 vocabulary rows fewer than its config has; its note says so
    expected = row["params_published"] or row["params_computed"]
    if row.get("computed_minus_published"):
        assert row["note"]
        expected += row["computed_minus_published"]
    assert _total(architecture_from_config(_truth_config(row), row["model"])) == expected


def test_the_truth_file_has_rows_of_every_family() -> None:
    assert len(KNOWN) >= 52
    assert {row["model_type"] for row in KNOWN} >= {
        *("bitnet", "bloom", "distilbert", "falcon", "gemma", "gemma2", "gemma3_text", "gpt2", "gpt_neo"),
        *("gpt_neox", "llama", "minicpm", "mistral", "mobilellm", "olmo", "openelm", "opt", "phi", "phi3"),
        *("qwen2", "qwen3", "stablelm"),
    }


@pytest.mark.parametrize("row", models().values(), ids=models())
def test_every_catalogue_row_has_a_source_and_its_published_count(row: CatalogueModel) -> None:
    assert row.source
    if row.params_published is not None:
        assert row.params_source
        assert _total(row.architecture) == row.params_published


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("SmolLM2-135M", "Llama"),
        ("MobileLLM-125M", "Llama"),
        ("TinyLlama-1.1B", "Llama"),
        ("Mistral-7B-v0.1", "Mistral"),
        ("Qwen2.5-0.5B", "Qwen2"),
        ("Qwen3-0.6B", "Qwen3"),
    ],
)
def test_transformers_counts_the_same_on_the_meta_device(name: str, family: str) -> None:
    import torch
    import transformers

    a = models()[name].architecture
    config = getattr(transformers, f"{family}Config")(
        vocab_size=a.vocab_size,
        hidden_size=a.hidden_size,
        intermediate_size=a.intermediate_size,
        num_hidden_layers=a.num_layers,
        num_attention_heads=a.num_heads,
        num_key_value_heads=a.num_kv_heads,
        head_dim=a.head_dim,
        tie_word_embeddings=a.tie_embeddings,
        pad_token_id=0,
    )
    with torch.device("meta"):
        model = getattr(transformers, f"{family}ForCausalLM")(config)
    model.tie_weights()
    theirs = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert {s.name: s.shape for s in tensor_specs(a)} == theirs
    assert _total(a) == sum(p.numel() for p in model.parameters())


@given(architectures())
def test_parts_sum_to_the_total_and_names_are_unique(architecture: Architecture) -> None:
    specs = tensor_specs(architecture)
    assert count_parameters(specs).total == sum(spec.num_elements for spec in specs)
    assert len({spec.name for spec in specs}) == len(specs)


@given(architectures())
def test_tying_removes_exactly_one_table_and_makes_the_other_read(architecture: Architecture) -> None:
    tied, untied = (replace(architecture, tie_embeddings=value) for value in (True, False))
    assert _total(untied) - _total(tied) == architecture.vocab_size * architecture.hidden_size
    (table,) = (s for s in tensor_specs(tied) if s.role is Role.TOKEN_EMBEDDING)
    (lookup,) = (s for s in tensor_specs(untied) if s.role is Role.TOKEN_EMBEDDING)
    assert (table.access, lookup.access) == (Access.MATMUL, Access.LOOKUP)


@given(architectures())
def test_sharing_stores_fewer_and_never_more(architecture: Architecture) -> None:
    shared, unrolled = _total(architecture), _total(architecture.unrolled())
    if architecture.sharing.repeat == 1:
        assert shared == unrolled
    elif not architecture.shared_mlp:
        assert shared < unrolled


@given(architectures())
def test_one_more_layer_never_removes_weights(architecture: Architecture) -> None:
    assert _total(replace(architecture, num_layers=architecture.num_layers + 1)) > _total(architecture)


def _each(a: Architecture) -> list[TensorSpec]:
    """Every tensor, from the groups: that of the first layer of a kind with the number of each other."""
    found = []
    for spec, layers in tensor_groups(a):
        first = f"model.layers.{spec.layer}."
        for layer in layers:
            name = spec.name if layer is None else spec.name.replace(first, f"model.layers.{layer}.")
            found.append(spec._replace(name=name, layer=layer))
    return sorted(found, key=lambda spec: spec.name)


def test_a_layer_stands_for_all_where_all_are_alike() -> None:
    # embedding, norm after the last layer; two norms and seven matrices of a Llama layer
    assert len(tensor_groups(SMALL)) == 2 + 9
    assert {len(layers) for _, layers in tensor_groups(SMALL)} == {1, SMALL.num_layers}
    windows = replace(SMALL, sliding_window=64, sliding_layers=(0,))
    assert tensor_groups(windows) == tensor_groups(SMALL)


@pytest.mark.parametrize("row", models().values(), ids=models())
def test_the_groups_of_a_model_hold_each_of_its_tensors_once(row: CatalogueModel) -> None:
    a = row.architecture
    assert _each(a) == sorted(tensor_specs(a), key=lambda spec: spec.name)
    assert parameters_of(a) == count_parameters(tensor_specs(a))


@given(any_architectures(max_layers=12))
def test_groups_hold_each_tensor_once(a: Architecture) -> None:
    assert _each(a) == sorted(tensor_specs(a), key=lambda spec: spec.name)


@pytest.mark.parametrize("family", BASES)
@given(st.data())
@settings(max_examples=10, deadline=None)
def test_layers_of_a_kind_are_alike(family: str, data: st.DataObject) -> None:
    a = architecture_from_config(data.draw(configs(family)))
    assert _each(a) == sorted(tensor_specs(a), key=lambda spec: spec.name)
