"""Proposals: expected gain against counted gain and against sampling, and what is proposed from it."""

from __future__ import annotations

import doctest
from math import log
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.quality import acquisition as module
from search.quality.acquisition import expected_improvement, propose
from search.quality.law import fit_law
from search.stats.hypervolume import Point, hypervolume
from tests.search.law_rows import drawn, features, row, true_loss

GRID = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=8)


def _gain(observed: list[Point], size: float, mean: float, sd: float) -> float:
    arrays = (np.array([v], np.float64) for v in (size, mean, sd))
    return float(expected_improvement(*arrays, observed=observed, reference=(5.0, 5.0))[0])


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(module).failed == 0


@given(GRID, st.integers(0, 6), st.integers(0, 6))
def test_without_doubt_it_is_the_gain_in_hypervolume(observed: list[Point], size: int, loss: int) -> None:
    gain = hypervolume([*observed, (size, loss)], (5, 5)) - hypervolume(observed, (5, 5))
    assert _gain(observed, size, loss, 0.0) == pytest.approx(gain, abs=1e-9)


@given(
    st.lists(st.tuples(*(st.integers(0, 5) for _ in range(3))), max_size=6),
    st.tuples(*(st.integers(0, 5) for _ in range(3))),
)
def test_with_two_costs_it_is_the_gain_in_volume(observed: list[Point], new: Point) -> None:
    gain = hypervolume([*observed, new], (4, 4, 4)) - hypervolume(observed, (4, 4, 4))
    arrays = (np.array([new[:2]], np.float64), np.array([new[2]], np.float64), np.zeros(1))
    found = expected_improvement(*arrays, observed=observed, reference=(4.0, 4.0, 4.0))
    assert float(found[0]) == pytest.approx(gain, abs=1e-9)


@pytest.mark.parametrize("size", [0.5, 2.5, 4.9])
@pytest.mark.parametrize(("mean", "sd"), [(3.0, 1.0), (1.0, 0.5), (4.8, 0.3), (6.0, 1.0)])
def test_with_doubt_it_is_the_mean_gain_over_losses(size: float, mean: float, sd: float) -> None:
    observed: list[Point] = [(1, 4), (2, 3.5), (3, 1)]
    count = 4000
    losses = NormalDist(mean, sd)
    gains = [
        hypervolume([*observed, (size, losses.inv_cdf((i + 0.5) / count))], (5, 5))
        - hypervolume(observed, (5, 5))
        for i in range(count)
    ]
    assert _gain(observed, size, mean, sd) == pytest.approx(float(np.mean(gains)), rel=2e-3, abs=3e-5)


def test_the_model_expected_far_below_the_front_comes_first() -> None:
    law = fit_law(drawn(16, noise=0.005, seed=0))
    shapes = [features(2, 64), features(32, 512), features(2, 512)]
    sizes = [4e5, 4e5, 4e5]  # of one size: the lowest loss wins
    assert propose(shapes, sizes, law, count=3)[0] == 1


def test_several_proposals_at_once_are_spread() -> None:
    rows = [row(true_loss(s), s) for s in (features(d, w) for d in (2, 8) for w in (64, 96, 128))]
    law = fit_law(rows)
    pool = [features(24, width) for width in (512, 512, 256, 256)]
    sizes = [s.parameters * 4.5 / 8 for s in pool]
    chosen = propose(pool, sizes, law, count=4)
    assert sorted(chosen) == [0, 1, 2, 3]
    # the twin of the first choice has little left to gain
    assert {pool[chosen[0]].width, pool[chosen[1]].width} == {512, 256}
    alone = propose(pool[:1] + pool[2:], sizes[:1] + sizes[2:], law, count=1)
    assert pool[chosen[0]].width == (512 if alone == (0,) else 256)


def test_doubt_alone_can_make_a_model_worth_training() -> None:
    gains = expected_improvement(
        np.zeros(2), np.array([3.0, 3.0]), np.array([0.01, 0.5]), observed=[(0.0, 2.9)], reference=(1.0, 4.0)
    )
    assert gains[1] > 100 * max(gains[0], 1e-12)


def test_all_of_a_small_pool_and_none_of_an_empty_one() -> None:
    law = fit_law(drawn(6, noise=0.01, seed=1))
    pool = [features(4, 64), features(4, 96)]
    assert sorted(propose(pool, [1e5, 2e5], law, count=9)) == [0, 1]
    assert propose([], [], law) == ()


def test_a_budget_given_as_reference_leaves_larger_models_last() -> None:
    law = fit_law(drawn(10, noise=0.01, seed=2))
    pool = [features(32, 512), features(8, 128)]
    sizes = [s.parameters * 4.5 / 8 for s in pool]
    reference = (log(sizes[1] * 2), 10.0)
    assert propose(pool, sizes, law, count=2, reference=reference) == (1, 0)
