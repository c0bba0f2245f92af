"""Baselines of the quality law: counters count, laws do not see the row they predict."""

from __future__ import annotations

import numpy as np
import pytest

from search.quality import baselines
from search.quality.law import fit_law
from tests.search.law_rows import drawn, features, losses, row


def test_counters_count() -> None:
    rows = [row(2.0, features(4, 64)), row(1.9, features(8, 64)), row(1.8, features(2, 128))]
    assert baselines.by_parameters(rows) == tuple(-r.features.parameters for r in rows)
    assert baselines.by_attention_parameters(rows) == (-65536, -131072, -131072)


def test_the_size_law_predicts_what_size_explains_and_no_more() -> None:
    shapes = [r.features for r in drawn(20, noise=0, seed=3)]
    rows = [row(1 + 30 * s.parameters**-0.3, s) for s in shapes]
    errors = np.array(baselines.by_size_law(rows)) - losses(rows)
    assert float(np.abs(errors).max()) < 0.01
    deep = [row(2 - 0.1 * np.log(s.depth), s) for s in shapes]
    assert float(np.std(np.array(baselines.by_size_law(deep)) - losses(deep))) > 0.03


def test_the_size_law_does_not_see_the_row_it_predicts() -> None:
    rows = [row(2.0 - 0.1 * i, features(4, 64 + 32 * i)) for i in range(6)]
    moved = [*rows[:-1], row(rows[-1].loss + 0.05, rows[-1].features)]
    assert baselines.by_size_law(moved)[-1] == pytest.approx(baselines.by_size_law(rows)[-1], abs=0.01)


def test_the_quality_law_is_left_one_out() -> None:
    rows = drawn(8, noise=0.01, seed=4)
    assert baselines.by_quality_law(rows) == tuple(p.value for p in fit_law(rows).leave_one_out)
