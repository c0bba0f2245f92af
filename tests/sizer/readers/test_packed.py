"""Weights behind packed words: shapes of every layout worked by hand, counted as weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizer.readers.file_tensor import FileTensor
from sizer.readers.inspection import inspect_file
from sizer.readers.packed import Packing, packing
from sizer.readers.safetensors_header import DTYPE_BITS
from tests.sizer.readers.handmade import stored_bytes
from tests.sizer.readers.packed_layouts import IN, LAYOUTS, OUT, WEIGHTS, Stored


def _tensors(stored: Stored) -> tuple[FileTensor, ...]:
    return tuple(
        FileTensor(
            name=name,
            type=dtype,
            shape=tuple(shape),
            file="x.safetensors",
            offset=0,
            num_bytes=prod(shape) * DTYPE_BITS[dtype] // 8,
        )
        for name, (dtype, shape) in stored.items()
    )


def _packing(stored: Stored, config: Mapping[str, Any]) -> Packing:
    found = packing(_tensors(stored), config)
    assert found is not None
    return found


@pytest.mark.parametrize(("stored", "config", "bits", "group"), LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_counts_the_weights_behind_its_words(
    stored: Stored, config: dict[str, Any], bits: int | None, group: int | None
) -> None:
    plain: Stored = {"l.bias": ("F16", [OUT]), "norm.weight": ("F16", [IN])}
    found = _packing({**stored, **plain}, config)
    assert found.num_weights == WEIGHTS
    logical = found.logical(_tensors({**stored, **plain}))
    assert sum(logical.values()) == WEIGHTS + OUT + IN
    assert logical in (
        {"l.weight": WEIGHTS, "l.bias": OUT, "norm.weight": IN},
        {"l": WEIGHTS, "l.bias": OUT, "norm.weight": IN},  # experts have no .weight at their end
    )
    document = found.to_dict()
    assert (document["bits"], document["group_size"]) == (bits, group)
    assert found.num_bytes == sum(tensor.num_bytes or 0 for tensor in _tensors(stored))
    assert found.unread == ()


def test_gptqs_bits_with_scales_worked_by_hand() -> None:
    stored, config, _, _ = LAYOUTS["gptq 4 bits"]
    # 4 bits + (4-bit zero point + 16-bit scale) / 128 + 256 indices of 32 bits over 512 x 256 weights
    assert _packing(stored, config).bits_per_weight == pytest.approx(4 + 20 / 128 + 32 / 512)


def test_mlx_bits_that_shapes_leave_open_follow_from_the_width_of_the_last_norm() -> None:
    table: Stored = {
        "model.embed_tokens.weight": ("U32", [1000, IN // 8]),
        "model.embed_tokens.scales": ("F16", [1000, IN // 64]),
        "model.embed_tokens.biases": ("F16", [1000, IN // 64]),
    }
    found = _packing(table, {})
    assert found.unread == ("model.embed_tokens.weight",)
    assert found.bits_per_weight is None
    found = _packing({**table, "model.norm.weight": ("F16", [IN])}, {})
    assert (found.num_weights, found.to_dict()["bits"]) == (1000 * IN, 4)
    # the same shapes, read as 8 bits in groups of 32
    found = _packing({**table, "model.norm.weight": ("F16", [IN // 2])}, {})
    assert (found.num_weights, found.to_dict()["bits"]) == (1000 * IN // 2, 8)


def test_words_of_unknown_bits_count_as_stored_and_are_listed(tmp_path: Path) -> None:
    stored: Stored = {"l.weight_packed": ("I32", [2, 4]), "l.weight_scale": ("F16", [2, 1])}
    (tmp_path / "model.safetensors").write_bytes(stored_bytes(stored))
    document = inspect_file(tmp_path / "model.safetensors").to_dict()
    assert document["tensors"]["parameters"] == 8
    assert document["quantization"]["counted_as_stored"] == ["l.weight_packed"]
    assert "1 packed tensors count as stored" in document["notes"][0]


def test_a_gptq_file_agrees_with_the_model_it_was_made_of(tmp_path: Path) -> None:
    # 1 layer x 64, heads 4/2 of 16, FFN 128, vocabulary 96, tied
    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 96,
        "tie_word_embeddings": True,
        "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 32},
    }
    stored: dict[str, tuple[str, list[int]]] = {
        "model.embed_tokens.weight": ("F16", [96, 64]),
        "model.norm.weight": ("F16", [64]),
        "model.layers.0.input_layernorm.weight": ("F16", [64]),
        "model.layers.0.post_attention_layernorm.weight": ("F16", [64]),
    }
    for name, wide, out in (
        ("self_attn.q_proj", 64, 64),
        ("self_attn.k_proj", 64, 32),
        ("self_attn.v_proj", 64, 32),
        ("self_attn.o_proj", 64, 64),
        ("mlp.gate_proj", 64, 128),
        ("mlp.up_proj", 64, 128),
        ("mlp.down_proj", 128, 64),
    ):
        prefix = f"model.layers.0.{name}"
        stored[f"{prefix}.qweight"] = ("I32", [wide // 8, out])
        stored[f"{prefix}.qzeros"] = ("I32", [wide // 32, out // 8])
        stored[f"{prefix}.scales"] = ("F16", [wide // 32, out])
    (tmp_path / "model.safetensors").write_bytes(stored_bytes(stored))
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    document = inspect_file(tmp_path).to_dict()
    expected = 96 * 64 + 64 * (64 + 2 * 32 + 64) + 3 * 64 * 128 + 3 * 64
    assert document["tensors"]["parameters"] == expected == 43_200
    assert document["calculator"]["parameters"]["difference"] == 0
    assert (document["calculator"]["only_in_file"], document["calculator"]["only_calculated"]) == ([], [])
    by_type = {row["type"]: row["parameters"] for row in document["tensors"]["by_type"]}
    assert by_type == {"I32": expected - 96 * 64 - 3 * 64, "F16": 96 * 64 + 3 * 64}
    assert document["quantization"]["weights_by_bits"] == {"4": by_type["I32"]}


@given(
    bits=st.sampled_from([2, 4, 8]),
    groups=st.integers(1, 6),
    out=st.integers(1, 40).map(lambda n: 32 * n),
    group=st.sampled_from([32, 64, 128]),
    awq=st.booleans(),
)
def test_any_gptq_or_awq_matrix_is_counted(bits: int, groups: int, out: int, group: int, awq: bool) -> None:
    wide = groups * group
    words = [wide, out * bits // 32] if awq else [wide * bits // 32, out]
    stored: Stored = {
        "l.qweight": ("I32", words),
        "l.qzeros": ("I32", [groups, out * bits // 32]),
        "l.scales": ("F16", [groups, out]),
    }
    found = _packing(stored, {})
    assert (found.num_weights, found.to_dict()["bits"]) == (wide * out, bits)


_NAMES = st.sampled_from(
    sorted({name for stored, _, _, _ in LAYOUTS.values() for name in stored} | {"l_scales", "l.weight"})
)
_SHAPES = st.lists(st.integers(0, 2**40), max_size=4)


@given(
    st.dictionaries(_NAMES, st.tuples(st.sampled_from(sorted(DTYPE_BITS)), _SHAPES)),
    st.dictionaries(
        st.sampled_from(["bits", "group_size", "num_bits", "quant_config", "config_groups", "l", "weights"]),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=2),
                st.dictionaries(st.sampled_from(["bits", "weights", "num_bits", "a"]), inner, max_size=2),
            ),
            max_leaves=6,
        ),
    ),
)
def test_any_shapes_and_any_config_are_read_or_counted_as_stored(
    stored: Stored, block: dict[str, Any]
) -> None:
    found = packing(_tensors(stored), {"quantization_config": block, "quantization": block})
    if found is None:
        return
    assert found.num_weights >= 0
    assert json.dumps(found.to_dict())
    assert all(count >= 0 for count in found.logical(_tensors(stored)).values())
