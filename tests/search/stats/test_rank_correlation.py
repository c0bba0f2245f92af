"""Rank agreement: by hand, against pandas and brute force, and what the counters count."""

from __future__ import annotations

import doctest
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.stats import rank_correlation as ranking

VALUES = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(80, 120)), min_size=2, max_size=12
)


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(ranking).failed == 0


@given(VALUES)
def test_spearman_is_the_correlation_of_ranks(rows: list[tuple[int, int, int]]) -> None:
    a, b, _ = zip(*rows, strict=True)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert ranking.spearman(a, b) is None
        return
    expected = pd.Series(a).rank().corr(pd.Series(b).rank())
    assert ranking.spearman(a, b) == pytest.approx(expected, abs=1e-12)


@given(VALUES)
def test_taus_are_counts_of_pairs(rows: list[tuple[int, int, int]]) -> None:
    a, b, sizes = zip(*rows, strict=True)
    same = [
        (i, j)
        for i, j in combinations(range(len(a)), 2)
        if abs(sizes[i] - sizes[j]) / max(sizes[i], sizes[j]) < 0.1
    ]
    assert ranking.pairs_of_one_size(sizes) == len(same)
    signs = [np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in same]
    up, down = signs.count(1), signs.count(-1)
    expected = (up - down) / (up + down) if up + down else None
    assert ranking.tau_of_one_size(a, b, sizes) == pytest.approx(expected)
    every = [np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in combinations(range(len(a)), 2)]
    untied = [sum(x[i] != x[j] for i, j in combinations(range(len(x)), 2)) for x in (a, b)]
    if all(untied):
        assert ranking.kendall(a, b) == pytest.approx(float(sum(every)) / (untied[0] * untied[1]) ** 0.5)
    else:
        assert ranking.kendall(a, b) is None


def test_a_tenth_apart_is_not_one_size() -> None:
    assert ranking.pairs_of_one_size([100.0, 90.0]) == 0
    assert ranking.pairs_of_one_size([100.0, 90.1]) == 1


def test_intervals_are_seeded_and_hold_the_value() -> None:
    generator = np.random.default_rng(0)
    truth = generator.standard_normal(40)
    noisy = truth + 0.5 * generator.standard_normal(40)
    sizes = generator.uniform(100, 130, 40)
    found = ranking.tau_interval(noisy.tolist(), truth.tolist(), sizes.tolist())
    assert found == ranking.tau_interval(noisy.tolist(), truth.tolist(), sizes.tolist())
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert found.high - found.low < 0.4
    few = ranking.tau_interval(noisy[:10].tolist(), truth[:10].tolist(), sizes[:10].tolist())
    assert few.high is not None
    assert few.low is not None
    assert few.high - few.low > found.high - found.low


def test_an_interval_covers_the_tau_of_more_models() -> None:
    """Nominal 80 %: of 100 draws of 30 models each, as many intervals hold the tau of a very large draw."""
    generator = np.random.default_rng(1)

    def draw(count: int) -> tuple[list[float], list[float], list[float]]:
        truth = generator.standard_normal(count)
        return (
            (truth + generator.standard_normal(count)).tolist(),
            truth.tolist(),
            generator.uniform(100, 110, count).tolist(),
        )

    whole = ranking.tau_of_one_size(*draw(2000))
    assert whole is not None
    found = [ranking.tau_interval(*draw(30)) for _ in range(60)]
    held = [f.low <= whole <= f.high for f in found if f.low is not None and f.high is not None]
    assert 0.65 <= np.mean(held) <= 0.95


def test_no_pair_no_tau() -> None:
    nothing = ranking.Interval(value=None, low=None, high=None)
    assert ranking.tau_interval([1, 2], [1, 2], [1, 2]) == nothing
    assert ranking.tau_gain_interval([1, 2], [1, 2], [1, 2], [1, 2]) == nothing
    assert nothing.to_dict() == {"value": None, "low": None, "high": None}


def test_gain_is_the_difference_of_two_taus() -> None:
    truth, sizes = [1.0, 2.0, 3.0, 4.0], [100.0, 101.0, 102.0, 103.0]
    found = ranking.tau_gain_interval(truth, [4, 3, 2, 1], truth, sizes)
    assert (found.value, found.low, found.high) == (2, 2, 2)


def test_top_recall() -> None:
    assert ranking.top_recall([1, 2, 3, 4], [1, 2, 3, 4], 2) == 1
    assert ranking.top_recall([4, 3, 2, 1], [1, 2, 3, 4], 2) == 0
    assert ranking.top_recall([1, 4, 2, 3], [1, 2, 3, 4], 2) == 0.5


@pytest.mark.parametrize(("coverage", "reach"), [(0.8, 1.2816), (0.95, 1.9600)])
def test_a_resampled_range_covers_what_is_asked(coverage: float, reach: float) -> None:
    # the mean of 100 zeros and ones has the standard error 0.05, and is about normal
    values = [0.0, 1.0] * 50
    found = ranking.resampled(lambda a, _: sum(a) / len(a), values, values, coverage=coverage)
    assert found.value == 0.5
    assert found.low == pytest.approx(0.5 - reach * 0.05, abs=0.012)
    assert found.high == pytest.approx(0.5 + reach * 0.05, abs=0.012)


def test_a_resampled_correlation_without_variation_is_none() -> None:
    assert ranking.resampled(ranking.spearman, [1.0, 1.0], [1.0, 2.0], coverage=0.8).value is None
