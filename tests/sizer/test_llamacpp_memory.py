"""Memory of llama.cpp's other models against what it allocated (benchmarks/oracles/llama_cpp.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sizer.architecture import Architecture
from sizer.errors import UnknownName
from sizer.families.hf_config import architecture_from_config
from sizer.formats.gguf_layout import windowed_layers
from sizer.memory import kv_cache_bytes, window_cells
from sizer.model_estimate import estimate
from sizer.registry import model
from sizer.runtimes.llamacpp import LlamaCpp
from sizer.runtimes.llamacpp_graph import knows
from sizer.runtimes.llamacpp_weights import repacked_bytes, weights_bytes
from sizer.workload import WEIGHTS_IN_MEMORY, Workload

MIB = 2**20
PRINTED = 0.00501  # two decimals


def _rows(name: str) -> list[dict[str, Any]]:
    text = (Path(__file__).parent / "data" / name).read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


MEMORY = _rows("llama_cpp_memory.jsonl")
WEIGHTS = _rows("llama_cpp_weights.jsonl")


def _workload(row: dict[str, Any]) -> Workload:
    return Workload(
        context_tokens=row["n_ctx"],
        ubatch_tokens=row["n_ubatch"],
        cache_type=row["cache_type"],
        flash_attention=row["flash_attention"],
        batch_size=row["n_seq"],
    )


@pytest.mark.parametrize("name", sorted({row["name"] for row in MEMORY}))
def test_caches_and_outputs_are_llama_cpps(name: str) -> None:
    for row in MEMORY:
        if row["name"] != name:
            continue
        a = architecture_from_config(row["config"])
        memory, mib = LlamaCpp().memory(a, (), _workload(row)), row["mib"]
        # each of a hybrid's two figures is rounded, and so is each of the two of a model with windows
        kept = mib["CPU KV"] + mib.get("CPU RS", 0)
        assert memory.kv_cache_bytes / MIB == pytest.approx(kept, abs=2 * PRINTED), row
        assert memory.output_bytes / MIB == pytest.approx(mib["CPU output"], abs=PRINTED), row


@pytest.mark.parametrize("name", sorted({row["name"] for row in MEMORY}))
def test_compute_buffers_are_llama_cpps(name: str) -> None:
    for row in MEMORY:
        if row["name"] != name:
            continue
        a = architecture_from_config(row["config"])
        size = LlamaCpp().memory(a, (), _workload(row)).compute_bytes / MIB
        if knows(a):
            assert size == pytest.approx(row["mib"]["CPU compute"], abs=PRINTED), row
        else:  # LFM2 and OpenELM, as the estimate's assumptions say
            assert -0.31 < size / row["mib"]["CPU compute"] - 1 < 0.12, row


def test_all_kinds_but_two_have_a_graph() -> None:
    unknown = {row["name"] for row in MEMORY if not knows(architecture_from_config(row["config"]))}
    assert unknown == {"LFM2-350M", "LFM2 of four heads to a KV head", "OpenELM-270M"}


def test_windows_worked_by_hand() -> None:
    gemma = model("gemma-3-270m").architecture  # 18 layers, every sixth sees all, one KV head of 256
    w = Workload(context_tokens=4096, ubatch_tokens=300)
    assert window_cells(gemma, w) == 1024  # 512 + 300, padded to 256
    assert windowed_layers(gemma) == tuple(i for i in range(18) if i % 6 != 5)
    assert kv_cache_bytes(gemma, w, 15) == (3 * 4096 + 15 * 1024) * 2 * 256 * 2
    # a short context needs no more than itself
    assert window_cells(gemma, Workload(context_tokens=256)) == 256


@pytest.mark.parametrize("row", WEIGHTS, ids=[f"{row['name']}-{row['format']}" for row in WEIGHTS])
def test_weights_in_memory_are_llama_cpps(row: dict[str, Any]) -> None:
    a = architecture_from_config(row["config"])
    stored = LlamaCpp().store(a, row["format"])
    for how in ("mapped", "loaded"):
        (mib,) = row[how].values()
        assert weights_bytes(stored, how) / MIB == pytest.approx(mib, abs=PRINTED)
    # the rows are of a build for AVX2 alone
    repacked = row["repacked"].get("CPU_REPACK model", 0)
    assert repacked_bytes(stored, "repacked-avx2") / MIB == pytest.approx(repacked, abs=PRINTED)


def _weights(how: str, format_name: str, architecture: Architecture) -> int:
    result = estimate(architecture=architecture, format=format_name, workload=Workload(weights_in_memory=how))
    return result.memory.weights_bytes


def test_a_tied_table_repacked_on_arm_is_held_twice() -> None:
    smol = model("SmolLM2-135M").architecture
    table = smol.vocab_size * smol.hidden_size // 32 * 34  # Q8_0
    assert _weights("repacked-arm", "Q4_0", smol) == _weights("mapped", "Q4_0", smol) + table
    assert _weights("repacked-avx2", "Q4_0", smol) == _weights("mapped", "Q4_0", smol)
    assert _weights("loaded", "Q4_0", smol) == _weights("mapped", "Q4_0", smol)


def test_other_types_are_repacked_on_other_cpus() -> None:
    smol = model("SmolLM2-1.7B").architecture
    for how, format_name, repacked in (
        ("repacked-avx2", "Q2_K", False),
        ("repacked-avx512", "Q2_K", True),
        ("repacked-avx512", "Q8_0", False),
        ("repacked-arm", "Q8_0", True),
        ("repacked-arm", "Q5_K_S", True),
        ("repacked-arm", "F16", False),
    ):
        stored = LlamaCpp().store(smol, format_name)
        assert bool(repacked_bytes(stored, how)) is repacked, (how, format_name)


def test_each_way_is_said_in_the_assumptions() -> None:
    smol = model("SmolLM2-135M").architecture
    notes = {
        how: estimate(architecture=smol, format="Q4_0", workload=Workload(weights_in_memory=how)).assumptions
        for how in WEIGHTS_IN_MEMORY
    }
    assert any("memory-mapped" in note for note in notes["mapped"])
    assert any("--no-mmap" in note for note in notes["loaded"])
    assert any("59.72 MB of the weights are repacked" in note for note in notes["repacked-avx2"])


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(UnknownName, match="unknown weights_in_memory 'repacked'; did you mean repacked-"):
        Workload(weights_in_memory="repacked")
