"""Regions: a calculation by symbols gives each row what it gives by plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.grid import regions
from sizer.grid.regions import Regions
from sizer.grid.symbols import Atoms, unpack
from sizer.runtimes.ggml_allocator import FreeBlocks


def _allocate(numbers: Sequence[int]) -> list[int]:
    """Something of everything: sums, products, remainders, all comparisons, loops, a best fit."""
    a, b, c = numbers
    blocks = FreeBlocks()
    first, second, third = blocks.take(3 * a), blocks.take(b), blocks.take(a + 2 * c)
    blocks.give(first, 3 * a)
    blocks.give(third, a + 2 * c)
    for _ in range(index(min(c, 4)) % 3):
        blocks.take(7 * b - min(b, 5))
    if (a - b) % 4 == 1 or 10 - c > a:
        blocks.give(second, b)
    blocks.take(a * 5 if a != c else 1)
    return [*blocks.ends, 12]


@settings(max_examples=50)
@given(
    st.lists(st.tuples(*[st.integers(1, 60)] * 3), min_size=1, max_size=40),
    st.lists(st.tuples(*[st.integers(1, 60)] * 3), min_size=1, max_size=40),
    st.sampled_from([1, 3]),
)
def test_every_row_is_what_the_calculation_says(
    first: list[tuple[int, int, int]], then: list[tuple[int, int, int]], worth_following: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regions, "_WORTH_FOLLOWING", worth_following)
        found = Regions(_allocate, 3)
        for rows in (first, then, first):
            columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
            assert found.largest(columns).tolist() == [max(_allocate(row)) for row in rows]


def test_a_region_is_followed_once_and_then_known() -> None:
    found = Regions(lambda v: [v[0] if v[0] > v[1] else 2 * v[1]], 2)
    columns = [np.arange(1, 101), np.full(100, 50)]
    assert found.largest(columns).tolist() == [100] * 50 + list(range(51, 101))
    assert (found.followed, found.alone) == (2, 0)
    assert found.largest([column[:3] for column in columns]).tolist() == [100] * 3
    assert (found.followed, found.alone) == (2, 0)


def test_the_first_few_rows_of_a_region_are_calculated_alone() -> None:
    found = Regions(lambda v: [3 * v[0]], 1)
    assert found.largest([np.array([5, 6])]).tolist() == [15, 18]
    assert (found.followed, found.alone) == (0, 2)
    found.largest([np.arange(1, 8)])
    assert (found.followed, found.alone) == (1, 2)


@given(st.lists(st.integers(-(2**60), 2**60), min_size=1, max_size=9))
def test_packed_coefficients_come_back(coefficients: list[int]) -> None:
    atoms = Atoms(9)
    packed = sum(c * (atoms.packed(i) if i else 1) for i, c in enumerate(coefficients))
    while coefficients and not coefficients[-1]:
        coefficients = coefficients[:-1]
    assert unpack(packed) == tuple(coefficients)
