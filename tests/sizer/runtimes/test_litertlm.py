"""LiteRT-LM: bytes of published files, memory of processes on phones, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture, InvalidQuantity
from sizer.families.hf_config import architecture_from_config
from sizer.formats import litert
from sizer.registry import model
from sizer.request import EstimateRequest
from sizer.runtimes.litertlm import LiteRtLm
from sizer.workload import Workload
from tests.published_facts import csv_rows
from tests.sizer.runtimes.test_mlx_peak import GEMMA_3_1B

ENGINE = LiteRtLm()


def _architecture(name: str) -> Architecture:
    """The shape of a row; Gemma 3 1B from its config, "untied" for a head with a table of its own."""
    if name == "Gemma-3-1B":
        return architecture_from_config(GEMMA_3_1B, name)
    found = model(name.removesuffix(" untied")).architecture
    return replace(found, tie_embeddings=False) if name.endswith(" untied") else found


def test_published_files_are_within_3_percent_and_in_the_range() -> None:
    rows = csv_rows("litert_files.csv")
    assert len(rows) == 16
    for row in rows:
        architecture = _architecture(row["model"])
        file = ENGINE.file_bytes(architecture, ENGINE.store(architecture, row["format"]))
        published = int(row["file_bytes"])
        assert file.total == pytest.approx(published, rel=0.03), row
        assert 0 < file.low <= published <= file.high, row


def test_sections_of_a_mixed_file_worked_by_hand() -> None:
    """The decode section of Qwen3-0.6B's mixed_int4 file has 491,104,548 bytes (edge-llm-bench)."""
    a = _architecture("Qwen3-0.6B")
    stored = ENGINE.store(a, "mixed_int4")
    table = 151_936 * 1024
    # half a byte a weight and two bytes a block of 32, norms in 32 bits, a table of bytes
    blocks = (440_401_920 + table) // 2 + (440_401_920 + table) // 32 * 2
    norms = 4 * 65_536
    scales = 151_936 * 2 * (4 + 8)
    assert sum(t.num_bytes for t in stored) == blocks + norms + table + scales
    assert blocks + norms + table == pytest.approx(491_104_548, rel=1e-4)


def test_peaks_on_phones_are_in_the_range_four_times_of_five() -> None:
    rows = csv_rows("litert_peaks.csv")
    assert len(rows) == 18
    held = 0
    for row in rows:
        a, context = _architecture(row["model"]), int(row["context_len"])
        load = Workload(
            prompt_tokens=min(int(row["prompt_len"]), context - 256),
            generated_tokens=100,
            context_tokens=context,
            cache_type="F32",
        )
        peak = ENGINE.peak(a, ENGINE.store(a, row["format"]), load, None)
        held += peak.low <= int(row["peak_bytes"]) <= peak.high
    assert held >= 0.8 * len(rows)


def test_the_cache_is_held_twice_for_the_files_context() -> None:
    a = model("SmolLM2-135M").architecture
    memory = ENGINE.memory(a, ENGINE.store(a, "fp32"), Workload(context_tokens=1280, cache_type="F32"))
    assert memory.kv_cache_bytes == 2 * 1280 * 30 * 2 * 192 * 4


def test_more_signatures_make_larger_files() -> None:
    a = _architecture("Qwen3-1.7B")
    two, more = (ENGINE.file_bytes(a, ENGINE.store(a, f)) for f in ("dynamic_wi8_afp32", "dynamic_int8"))
    assert two.high - two.total < more.high - more.total


def test_rows_that_are_not_whole_blocks_get_a_scale_a_row() -> None:
    odd = replace(model("SmolLM2-135M").architecture, intermediate_size=1000)
    kinds = {t.spec.name: t.type.name for t in ENGINE.store(odd, "dynamic_int4_block32")}
    assert kinds["model.layers.0.mlp.down_proj.weight"] == "int8 rows"
    assert kinds["model.layers.0.mlp.up_proj.weight"] == "int4 b32"


def test_what_is_refused() -> None:
    a = model("SmolLM2-135M").architecture
    for name, kind in (("opt-1.3b", "learned positions"), ("OLMoE-1B-7B-0924", "experts")):
        with pytest.raises(InvalidArchitecture, match=f"runs no model of this kind .*{kind}"):
            ENGINE.store(model(name).architecture, "fp32")
    with pytest.raises(InvalidQuantity, match="batch_size: LiteRT-LM runs one sequence, got 2"):
        ENGINE.memory(a, (), Workload(cache_type="F32", batch_size=2))


def test_bits_mean_its_users_formats() -> None:
    formats = [EstimateRequest(runtime="litert-lm", bits=b).chosen_format()[0] for b in (4, 8, 16)]
    assert formats == ["dynamic_int4_block32", "dynamic_int8", "fp16"]
    assert set(ENGINE.searchable_formats) == {"fp16", "fp32"}
    assert set(litert.RECIPES) == set(ENGINE.formats)
