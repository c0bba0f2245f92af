"""The reference table is whole: rows are of the models built here, blocks average to scores."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import pytest

from benchmarks.reference.models import FORMATS, MODELS
from benchmarks.reference.replay import Case, coverage, differences, skill
from benchmarks.reference.table import TABLE, read_table
from benchmarks.reference.train_table import BLOCKS, LENGTHS, LONG_LENGTHS, LONG_TABLE


@pytest.mark.parametrize(("table", "lengths"), [(TABLE, LENGTHS), (LONG_TABLE, LONG_LENGTHS)])
def test_rows_are_of_known_models_once_each_and_blocks_average_to_scores(
    table: Path, lengths: tuple[int, ...]
) -> None:
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    assert len({(r["model"], r["seed"], r["steps"]) for r in rows}) == len(rows)
    assert {r["model"] for r in rows} <= {m.name for m in MODELS}
    assert {r["steps"] for r in rows} == set(lengths)
    for row in rows:
        for name, blocks in row["blocks"].items():
            assert len(blocks) == BLOCKS
            assert fmean(blocks) == pytest.approx(row["scores"][name], rel=0.02)


def test_models_have_files_of_the_tables_sizes_and_differ() -> None:
    assert len(MODELS) >= 24
    assert len({m.architecture for m in MODELS}) == len({m.name for m in MODELS}) == len(MODELS)
    assert all(2e5 <= m.file_bytes("F16") <= 2e6 for m in MODELS)


def test_pairs_are_of_one_size_and_two_shapes() -> None:
    table = read_table(1)
    pairs = table.duels()
    weights = differences(table, pairs)
    assert (weights.sum(1) == 0).all()
    for a, b in pairs:
        x, y = table.points[a], table.points[b]
        assert x.shape != y.shape
        assert abs(x.size_bytes - y.size_bytes) < 0.12 * max(x.size_bytes, y.size_bytes)
    assert len(table.points) == len(table.names) * len(FORMATS)


def test_coverage_counts_decisions_that_were_right() -> None:
    """Worked by hand: of three at 0.9 or more two are right."""
    cases = [
        Case(pair=(0, 1), probability=0.95, right=True),
        Case(pair=(0, 1), probability=0.9, right=True),
        Case(pair=(0, 2), probability=0.92, right=False),
        Case(pair=(0, 3), probability=0.5, right=False),
    ]
    share, count, pairs = coverage(cases, 0.9)
    assert share == pytest.approx(2 / 3)
    assert (count, pairs) == (3, 2)
    assert skill(cases)[0] == 0.5
