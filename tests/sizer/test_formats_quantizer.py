"""llama.cpp's block types in all mixes, with and without experts, against its own quantizer and files."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sizer.architecture import Architecture
from sizer.families.hf_config import architecture_from_config
from sizer.formats.gguf import gguf_name
from sizer.formats.gguf_layout import unknown_layout
from sizer.formats.llamacpp import BASE_TYPES, mix
from sizer.model_estimate import estimate
from sizer.registry import models
from sizer.tensors import Role, tensor_specs
from tests.published_facts import csv_rows
from tests.sizer.test_experts import MIXED

# What llama_model_quantize of llama-cpp-python 0.3.36 chose (dry run, without an importance matrix) for GGUF
# headers with these shapes: of each format, the tensors of every type.
_CHOSEN = Path(__file__).parent / "llama_quantize_types.csv"

_SMALL: dict[str, Any] = {
    "model_type": "mixtral",
    "hidden_size": 512,
    "intermediate_size": 256,
    "num_hidden_layers": 17,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "vocab_size": 1000,
    "num_local_experts": 3,
    "num_experts_per_tok": 2,
}
_SHAPES: dict[str, dict[str, Any]] = {
    "3 experts": _SMALL,
    "1 expert": _SMALL | {"num_local_experts": 1, "num_experts_per_tok": 1, "num_key_value_heads": 1},
    "8 and a shared one": _SMALL
    | {
        "model_type": "granitemoeshared",
        "num_hidden_layers": 20,
        "num_key_value_heads": 2,
        "num_local_experts": 8,
        "shared_intermediate_size": 768,
    },
    "8 of odd widths": _SMALL
    | {
        "hidden_size": 288,
        "intermediate_size": 160,
        "num_hidden_layers": 9,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 32,
        "num_local_experts": 8,
    },
}


def _architecture(name: str) -> Architecture:
    return architecture_from_config(_SHAPES[name]) if name in _SHAPES else models()[name].architecture


def _rows() -> list[tuple[str, str, str]]:
    with _CHOSEN.open(encoding="utf-8", newline="") as stream:
        return [(row["model"], row["format"], row["tensors"]) for row in csv.DictReader(stream)]


def test_the_oracle_holds_all_mixes_of_sixteen_models() -> None:
    rows = _rows()
    assert len(rows) == 16 * 31
    assert {row[1] for row in rows} == set(BASE_TYPES) - {"F32", "MXFP4_MOE"}


@pytest.mark.parametrize("model", sorted({row[0] for row in _rows()}))
def test_every_mix_has_as_many_tensors_of_each_type_as_llama_cpp_chose(model: str) -> None:
    architecture = _architecture(model)
    architecture = architecture.unrolled()
    specs = tensor_specs(architecture)
    for name, format_name, tensors in _rows():
        if name == model:
            found = Counter(tensor.type.name for tensor in mix(format_name).assign(architecture, specs))
            assert " ".join(f"{key}:{count}" for key, count in sorted(found.items())) == tensors, format_name


def test_olmoe_takes_the_bytes_llama_bench_printed() -> None:
    # model_size of olmoe-1b-7b-0924-instruct-q4_k_m.gguf, the bytes of all tensors (llama.cpp e107984bc)
    sized = estimate(architecture=models()["OLMoE-1B-7B-0924"].architecture, format="Q4_K_M")
    assert sized.file.tensor_bytes == 4_211_730_432


def test_a_published_qwen3_30b_a3b_file_lies_in_the_range_of_its_tokenizer() -> None:
    (row,) = (r for r in csv_rows("gguf_sizes.csv") if r["model"] == "Qwen3-30B-A3B")
    weights = estimate(architecture=models()["Qwen3-30B-A3B"].architecture, format=row["quant"]).to_dict()
    low, high = (weights["weights"][key] for key in ("file_bytes_low", "file_bytes_high"))
    assert low < int(row["file_bytes"]) < high


def test_routers_stay_as_the_converter_writes_them() -> None:
    specs = tensor_specs(models()["Qwen1.5-MoE-A2.7B"].architecture)
    stored = mix("F16").assign(models()["Qwen1.5-MoE-A2.7B"].architecture, specs)
    routers = {t.type.name for t in stored if t.spec.role in (Role.ROUTER, Role.SHARED_ROUTER)}
    assert routers == {"F32"}


def test_names_are_those_of_gguf_files() -> None:
    from gguf.constants import MODEL_ARCH, MODEL_TENSORS, TENSOR_NAMES

    known = {f"{TENSOR_NAMES[tensor].format(bid=0)}.weight" for tensor in MODEL_TENSORS[MODEL_ARCH.QWEN2MOE]}
    specs = tensor_specs(models()["Qwen1.5-MoE-A2.7B"].architecture)
    ours = {gguf_name(spec) for spec in specs if spec.layer in (None, 0) and not spec.is_bias}
    assert ours <= known
    assert "blk.0.ffn_gate_inp_shexp.weight" in ours


def test_layers_without_experts_beside_others_have_no_known_layout() -> None:
    assert unknown_layout(MIXED) == ()
    assert unknown_layout(replace(MIXED, dense_layers=(0,))) == ()
    assert unknown_layout(replace(MIXED, dense_layers=(1,), qk_norm=True)) == ("dense_layers",)
