"""Rates of larger batches: the page is of the kept scores, and the best rate is that of a parabola."""

from __future__ import annotations

import math

import pytest

from benchmarks.training.batches import PAGE, best_rate, kept, page, planned
from search.training.training_run import TrainConfig


def test_the_page_is_of_the_kept_scores() -> None:
    assert kept().keys() <= {run.key for run in planned()}
    assert PAGE.read_text(encoding="utf-8") == page(kept())
    assert f"base rate of {TrainConfig(steps=1).learning_rate:g} in" in page(kept()).replace("\n", " ")


def test_the_best_rate_is_the_least_of_a_parabola() -> None:
    # (log2 rate - 1/2)^2: least at the square root of 2
    scores = {rate: (math.log2(rate) - 0.5) ** 2 for rate in (0.5, 1.0, 2.0, 4.0)}
    assert best_rate(scores) == pytest.approx(2**0.5)
    # the best at an end: the three next to it, and never beyond what was measured
    assert best_rate({1.0: 1.0, 2.0: 1.1, 4.0: 1.4}) == 1.0
    assert best_rate({0.5: 1.0, 1.0: 0.0, 2.0: 1.0, 4.0: math.inf}) == pytest.approx(1.0)
