"""llama.cpp's mixes against what llama.cpp itself chose, tensor by tensor; block sizes against its table."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizer.architecture import Architecture
from sizer.devices.speed_model import stored_costs
from sizer.errors import UnknownName
from sizer.formats.ggml import TYPES
from sizer.formats.gguf import gguf_name
from sizer.formats.gguf_layout import gguf_layout
from sizer.formats.llamacpp import BASE_TYPES, mix
from sizer.formats.stored import StoredTensor, Weights, stored_groups
from sizer.registry import model, models
from sizer.runtimes import runtime
from sizer.runtimes.llamacpp_weights import repacked_bytes, weights_bytes
from sizer.tensors import tensor_groups, tensor_specs
from tests.published_facts import csv_rows, json_lines
from tests.strategies import architectures

ORACLE = json_lines("oracle_llama_quantize.jsonl")


def oracle_architecture(shape: dict[str, Any]) -> Architecture:
    """Architecture of an oracle row's "shape" object."""
    return Architecture(
        vocab_size=shape["V"],
        num_layers=shape["L"],
        hidden_size=shape["d"],
        intermediate_size=shape["ff"],
        num_heads=shape["H"],
        num_kv_heads=shape["KV"],
        head_dim=shape["hd"],
        tie_embeddings=shape["tied"],
        qkv_bias=shape["arch"] == "qwen2",
        qk_norm=shape["arch"] == "qwen3",
    )


def _stored(architecture: Architecture, name: str) -> tuple[StoredTensor, ...]:
    return mix(name).assign(architecture, tensor_specs(architecture))


def oracle_types(row: dict[str, Any]) -> dict[str, str]:
    """Type of each tensor by its name in the file, of an oracle row."""
    types: dict[str, str] = {}
    for name, chosen in row["types"].items():
        if isinstance(chosen, str):
            types[name] = chosen
        else:
            types |= {f"blk.{layer}.{name}": kind for kind, layers in chosen.items() for layer in layers}
    return types


@pytest.mark.parametrize("row", ORACLE, ids=[f"{row['name']}-{row['ftype']}" for row in ORACLE])
def test_every_tensor_gets_the_type_llama_cpp_gave_it(row: dict[str, Any]) -> None:
    stored = _stored(oracle_architecture(row["shape"]), row["ftype"])
    assert {gguf_name(t.spec): t.type.name for t in stored} == oracle_types(row)
    assert sum(t.num_bytes for t in stored) == row["tensor_bytes"]


def test_an_iq3_mix_has_the_bytes_of_a_published_file() -> None:
    # no IQ1, IQ2 or IQ3 mix is in the quantizer's oracle; this total is printed by llama.cpp for such a file
    (row,) = [r for r in csv_rows("gguf_sizes.csv") if (r["model"], r["quant"]) == ("SmolLM2-135M", "IQ3_XS")]
    stored = _stored(model("SmolLM2-135M").architecture, "IQ3_XS")
    assert sum(t.num_bytes for t in stored) == int(row["tensor_bytes"])


def test_block_sizes_are_ggmls() -> None:
    rows = csv_rows("ggml_types.csv")
    assert len(rows) > 20
    for row in rows:
        ours = TYPES[row["type"]]
        assert (ours.block_elements, ours.block_bytes) == (
            int(row["block_elements"]),
            int(row["block_bytes"]),
        )
        assert ours.bits_per_weight == float(row["bits_per_weight"])


def test_q4_k_m_at_width_576_falls_back_as_worked_by_hand() -> None:
    stored = {gguf_name(t.spec): t for t in _stored(model("MobileLLM-125M").architecture, "Q4_K_M")}
    # 576 is no multiple of 256: Q4_K becomes Q5_0 (22 bytes per 32), the tied table Q8_0 (34 per 32)
    assert stored["blk.5.attn_q.weight"].num_bytes == 576 * 576 // 32 * 22 == 228_096
    assert stored["token_embd.weight"].num_bytes == 32000 * 576 // 32 * 34 == 19_584_000
    # 1536 columns are: ffn_down keeps Q6_K in the layers that get more bits (0 is one of them), else Q4_K
    assert stored["blk.0.ffn_down.weight"].num_bytes == 576 * 1536 // 256 * 210 == 725_760
    assert stored["blk.4.ffn_down.weight"].num_bytes == 576 * 1536 // 256 * 144 == 497_664


def test_a_width_no_block_divides_is_stored_as_f16() -> None:
    odd = Architecture(
        vocab_size=512,
        num_layers=1,
        hidden_size=72,
        intermediate_size=256,
        num_heads=9,
        num_kv_heads=9,
        head_dim=8,
    )
    types = {gguf_name(t.spec): t.type.name for t in _stored(odd, "Q4_0")}
    assert types["blk.0.attn_q.weight"] == "F16"
    assert types["blk.0.ffn_down.weight"] == "Q4_0"


def test_names_are_read_in_any_case_and_unknown_ones_listed() -> None:
    assert mix("q4_k_m").name == "Q4_K_M"
    with pytest.raises(UnknownName, match="unknown llama.cpp format 'Q4_K_X'; did you mean Q4_K_"):
        mix("Q4_K_X")


@given(architectures(max_layers=6), st.sampled_from(sorted(BASE_TYPES)))
def test_any_mix_stores_any_model_in_whole_blocks(architecture: Architecture, name: str) -> None:
    stored = _stored(architecture.unrolled(), name)
    for tensor in stored:
        assert tensor.num_bytes * 8 == pytest.approx(
            tensor.spec.num_elements * TYPES[tensor.type.name].bits_per_weight, rel=1e-12
        )


@given(architectures(max_layers=6))
def test_fewer_bits_never_take_more_bytes(architecture: Architecture) -> None:
    unrolled = architecture.unrolled()
    sizes = [
        sum(t.num_bytes for t in _stored(unrolled, name))
        for name in ("F32", "F16", "Q8_0", "Q6_K", "Q5_K_S", "Q4_K_S")
    ]
    assert sizes == sorted(sizes, reverse=True)


@given(architectures(max_layers=14), st.sampled_from(sorted(BASE_TYPES)))
def test_sums_over_groups_of_layers_are_those_over_each_tensor(architecture: Architecture, name: str) -> None:
    engine = runtime("llama.cpp")
    stored = engine.store(architecture, name)
    each = tuple(stored)
    assert each == _stored(architecture.unrolled(), name)
    assert len(stored) == len(each)
    assert stored[0] == each[0]
    file = engine.file_bytes(architecture, stored)
    assert file == engine.file_bytes(architecture, each)
    assert Weights.of(file, stored) == Weights.of(file, each)
    assert stored_costs(architecture, stored).step_bytes == stored_costs(architecture, each).step_bytes
    of_layer = {(gguf_name(t.spec), t.type.name) for t in each}
    grouped = [
        (gguf_name(tensor.spec._replace(layer=layer)), tensor.type.name)
        for tensor, layers in stored_groups(stored)
        for layer in layers
    ]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == of_layer
    for how in ("mapped", "repacked-avx512", "repacked-arm"):
        assert weights_bytes(stored, how) == weights_bytes(each, how)
        assert repacked_bytes(stored, how) == repacked_bytes(each, how)


_OF_LLAMA_CPP = {
    name: runtime("llama.cpp").as_stored(row.architecture)
    for name, row in models().items()
    if gguf_layout(row.architecture)
}


@pytest.mark.parametrize("name", ["Q4_K_M", "Q3_K_M", "IQ2_M", "MXFP4_MOE"])
def test_groups_of_layers_are_stored_as_each_layer_is(name: str) -> None:
    assert any(a.layers_differ and a.num_experts for a in _OF_LLAMA_CPP.values())
    for a in _OF_LLAMA_CPP.values():
        alone = {(t.spec.role, t.spec.layer, t.spec.is_bias): t for t in mix(name).assign(a, tensor_specs(a))}
        for tensor, layers in mix(name).assign_groups(a, tensor_groups(a)):
            for layer in layers:
                each = alone.pop((tensor.spec.role, layer, tensor.spec.is_bias))
                assert (each.type, each.num_bytes) == (tensor.type, tensor.num_bytes), (a.name, each.spec)
        assert not alone, a.name
