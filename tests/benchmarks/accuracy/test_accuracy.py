"""docs/accuracy.md is what `make accuracy` writes; how a row of it comes about."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.accuracy import accuracy
from benchmarks.accuracy.accuracy import Comparison
from benchmarks.accuracy.figure import latency_figure
from tests.published_facts import csv_rows, json_lines


@pytest.mark.slow
def test_the_page_is_what_the_command_writes(root: Path) -> None:
    from benchmarks.accuracy.page import document

    assert document() == (root / "docs" / "accuracy.md").read_text(encoding="utf-8")
    figure = root / "docs" / "images" / "accuracy-speed.svg"
    assert latency_figure() == figure.read_text(encoding="utf-8")


def test_every_published_count_and_file_is_on_the_page(root: Path) -> None:
    page = (root / "docs" / "accuracy.md").read_text(encoding="utf-8")
    counts = [row["params_published"] for row in json_lines("configs.jsonl") if row["params_published"]]
    assert len(counts) > 30
    for count in counts:
        assert f"| {count:,} |" in page
    for row in csv_rows("gguf_sizes.csv"):
        if row["file_bytes"] or row["tensor_bytes"]:
            assert f"{row['model']} {row['quant']}" in page


def test_bits_per_weight_are_those_of_llama_cpps_table() -> None:
    rows = accuracy.bits_per_weight()
    assert len(rows) == 15
    for name, theirs, ours in rows:
        assert round(ours, 4) == theirs, name


def test_models_are_found_under_their_other_names() -> None:
    for name, known in (
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "TinyLlama-1.1B"),
        ("google/gemma-3-4b (text part)", "gemma-3-4b-text"),
        ("Qwen/Qwen3-0.6B", "Qwen3-0.6B"),
    ):
        row = accuracy.known_model(name)
        assert row is not None
        assert row.architecture.name == known
    assert accuracy.known_model("nobody/nothing-1B") is None


def test_an_error_is_relative_to_what_was_published() -> None:
    row = Comparison(name="x", published=200, answers=(190, None))
    assert row.error(0) == pytest.approx(-0.05)
    assert row.error(1) is None


def test_the_tokenizer_left_out_is_not_used() -> None:
    # Qwen's 151,936 and 152,064 rows are one tokenizer; without both the median of the others says less
    per_row = accuracy.tokenizer_of_others(151_936) / 151_936
    assert per_row != pytest.approx(5_932_883 / 151_936, rel=1e-3)
