"""Non-domination: a truth table, every pair of a grid, and what the frontier keeps."""

from __future__ import annotations

import doctest
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.stats import pareto


@pytest.mark.parametrize(
    ("points", "kept"),
    [
        ([], ()),
        ([(1, 1)], (0,)),
        ([(1, 1), (1, 1)], (0, 1)),  # equal points do not beat each other
        ([(1, 2), (1, 3)], (0,)),  # same size, worse loss
        ([(2, 1), (3, 1)], (0,)),  # same loss, larger
        ([(1, 3), (2, 2), (3, 1)], (0, 1, 2)),
        ([(1, 3), (2, 2), (2.5, 2.5), (3, 1)], (0, 1, 3)),
        ([(float("inf"), 0), (0, float("inf"))], (0, 1)),
    ],
)
def test_front(points: Sequence[Sequence[float]], kept: tuple[int, ...]) -> None:
    assert pareto.front(points) == kept


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30))
def test_every_point_is_kept_or_beaten_by_a_kept_one(points: list[tuple[int, int]]) -> None:
    kept = set(pareto.front(points))
    assert kept
    for i, point in enumerate(points):
        beaten = any(pareto.dominates(points[k], point) for k in kept)
        assert beaten != (i in kept)


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(pareto).failed == 0
