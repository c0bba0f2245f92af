"""Hypervolume: by hand, and against counting the cells of a grid."""

from __future__ import annotations

import doctest
from operator import le

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.stats import hypervolume as module
from search.stats.hypervolume import Point, exclusive, hypervolume, reference_point, regret, steps

GRID = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12)


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(module).failed == 0


@given(GRID)
def test_area_is_the_number_of_dominated_cells(points: list[Point]) -> None:
    cells = sum(any(p[0] <= x and p[1] <= y for p in points) for x in range(5) for y in range(5))
    assert hypervolume(points, (5, 5)) == cells


@given(GRID, st.tuples(st.integers(0, 6), st.integers(0, 6)))
def test_one_more_point_never_takes_area_away(points: list[Point], more: Point) -> None:
    assert hypervolume([*points, more], (5, 5)) >= hypervolume(points, (5, 5))


@given(GRID.filter(bool))
def test_the_reference_lies_beyond_every_point_that_is_not_on_a_line(points: list[Point]) -> None:
    reference = reference_point(points)
    for axis in (0, 1):
        values = [p[axis] for p in points]
        assert reference[axis] == max(values) + 0.1 * (max(values) - min(values))


def test_points_beyond_the_reference_count_nothing() -> None:
    assert hypervolume([(5, 0), (0, 5), (6, 1)], (5, 5)) == 0
    assert steps([], (1, 1)) == ()


def test_regret_is_the_share_that_is_missing() -> None:
    best: list[Point] = [(0, 2), (2, 0)]
    assert hypervolume(best, (4, 4)) == 12
    assert regret([(0, 2)], best, (4, 4)) == pytest.approx(1 - 8 / 12)
    assert regret(best, best, (4, 4)) == 0
    assert regret([], best, (4, 4)) == 1
    assert regret([], [], (4, 4)) == 0


SPACE = st.lists(st.tuples(*(st.integers(0, 4) for _ in range(3))), max_size=7)


@given(SPACE)
def test_volume_is_the_number_of_dominated_cells(points: list[Point]) -> None:
    cells = [(x, y, z) for x in range(3) for y in range(3) for z in range(3)]
    dominated = sum(any(all(map(le, p, cell)) for p in points) for cell in cells)
    assert hypervolume(points, (3, 3, 3)) == dominated
    if points:
        rest = hypervolume(points[1:], (3, 3, 3))
        inside = all(value < 3 for value in points[0])
        assert not inside or exclusive(points[0], points[1:], (3, 3, 3)) == dominated - rest
