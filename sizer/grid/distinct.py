"""The different combinations of values that rows have in some columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sizer.grid.columns import Ints

# A table by the values of a column has at most this many entries.
_LONGEST_TABLE = 2**20


class Distinct(NamedTuple):
    """The number of each row's combination, and one row of each combination."""

    number: Ints
    rows: Ints


def distinct(columns: Sequence[Ints]) -> Distinct | None:
    """Return the different combinations of numbers of at least 0, by tables, which is faster than by sorting.

    None where there may be more than half as many combinations as rows: to find them would save little.
    """
    length = len(columns[0])
    code, combinations = np.zeros(length, np.int64), 1
    for column in columns:
        largest = int(column.max())
        if largest >= _LONGEST_TABLE:
            return None
        number, values = _numbered(column, largest)
        combinations *= len(values)
        if 2 * combinations > length:
            return None
        code = code * len(values) + number
    number, values = _numbered(code, combinations)
    rows = np.empty(len(values), np.int64)
    rows[number] = np.arange(length)
    return Distinct(number, rows)


def _numbered(column: Ints, largest: int) -> tuple[Ints, Ints]:
    """Return the place of each row's value among the different values, and these in order."""
    is_met = np.zeros(largest + 1, np.bool_)
    is_met[column] = True
    values = np.flatnonzero(is_met)
    place = np.zeros(largest + 1, np.int64)
    place[values] = np.arange(len(values))
    return place[column], values
