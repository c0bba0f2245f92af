"""A calculation full of comparisons, for a million rows: followed once for all rows that compare alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from sizer.grid.symbols import NEGATIVE, POSITIVE, ZERO, Atoms, Coefficients, Symbol, Trace, unpack

Calculation = Callable[[Sequence[int]], Iterable[int]]

# Following a calculation with symbols takes as long as about this many runs with plain numbers.
_WORTH_FOLLOWING = 8


@dataclass(slots=True)
class _Branch:
    """Rows part here: by the answer to a comparison of a sum with 0, or by the number it is worth."""

    constant: float
    terms: tuple[tuple[int, float], ...]  # atom and factor
    asked: int | None  # signs; None: by the number
    next: dict[int, _Step] = field(default_factory=dict)
    missed: dict[int, int] = field(default_factory=dict)  # rows that came by before the way was followed

    @classmethod
    def on(cls, coefficients: Coefficients, asked: int | None) -> _Branch:
        """The branch for a sum of atoms, the first of which is 1."""
        terms = tuple((atom, float(c)) for atom, c in enumerate(coefficients) if atom and c)
        return cls(float(coefficients[0]), terms, asked)


@dataclass(slots=True)
class _Leaf:
    """Rows that compared alike all the way: their results are the largest of these sums of atoms."""

    coefficients: NDArray[np.float64]


_Step = _Branch | _Leaf


class Regions:
    """The largest of the numbers that a calculation gives, for many rows; learns from the rows it has met.

    `calculation` takes whole numbers of at least 1 and only adds, subtracts, compares, multiplies by and
    takes remainders by constants. It runs as it is, on symbols that carry one row's numbers: every
    comparison is written down as a condition on the columns and every result as a sum of them. Rows that
    meet the same conditions have the same sums. The conditions form a tree (all rows begin with the same
    one), kept for later rows.

    Sums are float64: exact, as they are whole numbers; the caller keeps them below 2**53.
    """

    def __init__(self, calculation: Calculation, num_columns: int) -> None:
        self.calculation = calculation
        self.atoms = Atoms(num_columns)
        self.start = _Branch(0.0, (), None)  # everybody goes on to 0
        self.followed = 0  # regions found
        self.alone = 0  # rows calculated by themselves, being the first few of their region

    def largest(self, columns: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """The largest of the calculation's numbers for each row."""
        result = np.empty(len(columns[0]), np.float64)
        values = np.array([np.ones(len(result)), *columns], np.float64)
        todo: list[tuple[_Branch, int, NDArray[np.intp] | slice]] = [(self.start, 0, slice(None))]
        while todo:
            branch, way, rows = todo.pop()
            step = branch.next.get(way)
            count = len(result) if isinstance(rows, slice) else len(rows)
            if step is None:
                indices = np.arange(count) if isinstance(rows, slice) else rows
                missed = branch.missed[way] = branch.missed.get(way, 0) + count
                if missed >= _WORTH_FOLLOWING:
                    self._follow([int(column[indices[0]]) for column in columns])
                    todo.append((branch, way, rows))
                else:
                    self.alone += count
                    for row in indices:
                        result[row] = max(self.calculation([int(column[row]) for column in columns]))
                continue
            if isinstance(step, _Leaf):
                result[rows] = (step.coefficients @ self._atoms(step, values, rows)).max(axis=0)
            else:
                todo.extend((step, onward, some) for onward, some in self._part(step, values, rows))
        return result.astype(np.int64)

    def _part(
        self, branch: _Branch, values: NDArray[np.float64], rows: NDArray[np.intp] | slice
    ) -> list[tuple[int, NDArray[np.intp] | slice]]:
        """Where rows go from a branch."""
        if not branch.terms:
            return [(0, rows)]
        (atom, c), *others = branch.terms
        total = self._atom(atom, values, rows) * c
        for atom, c in others:
            total += self._atom(atom, values, rows) * c
        if branch.asked is None:
            numbers = np.unique(total) + branch.constant
            return [(int(n), _those(total == n - branch.constant, rows)) for n in numbers]
        answer = _SIGNED[branch.asked](total, -branch.constant)
        count = np.count_nonzero(answer)
        if count == len(answer):
            return [(1, rows)]
        if not count:
            return [(0, rows)]
        return [(1, _those(answer, rows)), (0, _those(~answer, rows))]

    def _atom(
        self, atom: int, values: NDArray[np.float64], rows: NDArray[np.intp] | slice
    ) -> NDArray[np.float64]:
        """One atom of some rows; remainders, which few branches ask for, are worked out anew."""
        if atom <= self.atoms.num_columns:
            column: NDArray[np.float64] = values[atom][rows]
            return column
        coefficients, modulus = self.atoms.remainders[atom - self.atoms.num_columns - 1]
        total: NDArray[np.float64] = coefficients[0] * values[0][rows]
        for other, c in enumerate(coefficients):
            if other and c:
                total += c * self._atom(other, values, rows)
        remainder: NDArray[np.float64] = np.remainder(total, modulus)
        return remainder

    def _atoms(
        self, leaf: _Leaf, values: NDArray[np.float64], rows: NDArray[np.intp] | slice
    ) -> NDArray[np.float64]:
        """The atoms that the sums of a leaf are made of, for some rows."""
        width = leaf.coefficients.shape[1]
        if width > len(values):
            return np.array([self._atom(atom, values, rows) for atom in range(width)])
        return values[:width, rows] if isinstance(rows, slice) else values[:width].take(rows, axis=1)

    def _follow(self, numbers: Sequence[int]) -> None:
        """Run the calculation for one row and add its conditions, and its results, to the tree."""
        path = _Path(self.start)
        trace = Trace(self.atoms, numbers, path)
        found = self.calculation(cast(Sequence[int], trace.inputs))
        # a plain number among the results is its own packed expression
        packed = {n.packed if isinstance(n, Symbol) else n for n in cast(Iterable[Symbol | int], found)}
        path.finish(_undominated({unpack(p) for p in packed}))
        self.followed += 1


class _Path:
    """The way of one run through the tree, which it makes longer where nobody has been."""

    def __init__(self, start: _Branch) -> None:
        self.branch, self.way = start, 0

    def compared(self, expression: Coefficients, asked: int, answer: bool) -> None:
        """Go on from a comparison."""
        self._go(expression, asked, int(answer))

    def counted(self, expression: Coefficients, value: int) -> None:
        """Go on from a sum that had to be a plain number."""
        self._go(expression, None, value)

    def finish(self, coefficients: NDArray[np.float64]) -> None:
        """End in the sums that are the calculation's results here."""
        assert self.way not in self.branch.next, "a calculation asked less than before"
        self.branch.next[self.way] = _Leaf(coefficients)

    def _go(self, expression: Coefficients, asked: int | None, way: int) -> None:
        step = self.branch.next.get(self.way)
        if step is None:
            step = self.branch.next[self.way] = _Branch.on(expression, asked)
        assert isinstance(step, _Branch), "a calculation asked more than before"
        assert step.asked == asked, "a calculation asked otherwise than before"
        self.branch, self.way = step, way


def _undominated(sums: set[Coefficients]) -> NDArray[np.float64]:
    """The sums that can be the largest: atoms are never negative."""
    width = max(len(s) for s in sums)
    rows = np.array([s + (0,) * (width - len(s)) for s in sums], np.float64)
    below = np.all(rows[:, None, :] <= rows[None, :, :], axis=2)  # the sums are all different
    np.fill_diagonal(below, False)
    largest: NDArray[np.float64] = rows[~np.any(below, axis=1)]
    return largest


_SIGNED: dict[int, Callable[..., NDArray[np.bool_]]] = {
    NEGATIVE: np.less,
    NEGATIVE | ZERO: np.less_equal,
    ZERO: np.equal,
    POSITIVE: np.greater,
    POSITIVE | ZERO: np.greater_equal,
}


def _those(mask: NDArray[np.bool_], rows: NDArray[np.intp] | slice) -> NDArray[np.intp]:
    return np.flatnonzero(mask) if isinstance(rows, slice) else rows[mask]
