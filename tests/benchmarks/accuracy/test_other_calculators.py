"""The formulas said to be llm-analysis's against its own answers; accelerate's count by hand."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.accuracy import other_calculators as others
from sizer.registry import models

with (Path(__file__).parent / "llm_analysis.csv").open(encoding="utf-8", newline="") as stream:
    RECORDED = list(csv.DictReader(stream))


@pytest.mark.parametrize("row", RECORDED, ids=[row["model"] for row in RECORDED])
def test_the_formulas_are_llm_analysis_s(row: dict[str, str]) -> None:
    a = models()[row["model"]].architecture
    if row["model"] == "falcon-7b":  # no num_key_value_heads in its config: all heads are taken
        a = replace(a, num_kv_heads=a.num_heads)
    assert others.llm_analysis_parameters(a) == float(row["parameters"])
    assert others.llm_analysis_kv_bytes(a, 2048) == float(row["kv_bytes"])
    for bits in others.LLM_ANALYSIS_BITS:
        assert others.llm_analysis_bytes(a, bits) == float(row[f"bytes_{bits}"])


def test_accelerate_counts_no_head_and_the_rotary_frequencies() -> None:
    row = models()["TinyLlama-1.1B"]
    a = row.architecture
    head = a.vocab_size * a.hidden_size
    frequencies = 2 * (a.head_dim // 2)  # as they are, and as they were before any scaling
    assert row.params_published is not None
    expected = row.params_published - head + frequencies
    assert others.accelerate_float32_bytes(row.config) == 4 * expected


def test_a_family_that_transformers_does_not_have_is_not_answered() -> None:
    assert others.accelerate_float32_bytes(models()["OpenELM-450M"].config) is None
