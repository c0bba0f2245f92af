"""Whole numbers that remember how they were made of columns, and a trace of the comparisons they were in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import gcd
from typing import Protocol

# What is known, or asked, about the sign of an expression: any union of these.
NEGATIVE, ZERO, POSITIVE = 1, 2, 4
_ANY = NEGATIVE | ZERO | POSITIVE
_MIRRORED = (0, POSITIVE, ZERO, POSITIVE | ZERO, NEGATIVE, _ANY - ZERO, NEGATIVE | ZERO, _ANY)

# Coefficients are kept side by side in one Python integer, so that adding expressions is adding integers.
# 2**31 tokens x 2**31 cells x 4 bytes, a thousand times over, is far below half of this.
_FIELD_BITS = 128
_FIELD = 1 << _FIELD_BITS

Coefficients = tuple[int, ...]  # of 1, the columns, and remainders met on the way; no zeros at the end


def unpack(packed: int) -> Coefficients:
    """Coefficients of a packed expression."""
    found = []
    while packed:
        coefficient = packed % _FIELD
        if coefficient >= _FIELD // 2:
            coefficient -= _FIELD
        found.append(coefficient)
        packed = (packed - coefficient) >> _FIELD_BITS
    return tuple(found)


@dataclass(slots=True)
class Atoms:
    """What expressions are sums of: 1, the columns (all at least 1), then remainders (all at least 0)."""

    num_columns: int
    remainders: list[tuple[Coefficients, int]] = field(default_factory=list)
    by_remainder: dict[tuple[Coefficients, int], int] = field(default_factory=dict)
    signs: dict[int, tuple[Coefficients, bool, int]] = field(default_factory=dict)
    related: dict[Coefficients, dict[Coefficients, list[tuple[bool, bool, int]]]] = field(
        default_factory=dict
    )

    def packed(self, atom: int) -> int:
        """The expression that is this atom alone."""
        return 1 << (_FIELD_BITS * atom)

    def remainder(self, packed: int, modulus: int) -> int:
        """The expression of `packed` modulo `modulus`, packed; a new atom unless it is a constant."""
        coefficients = [c % modulus for c in unpack(packed)]
        while coefficients and not coefficients[-1]:
            coefficients.pop()
        if len(coefficients) <= 1:
            return sum(coefficients)
        key = tuple(coefficients), modulus
        if key not in self.by_remainder:
            self.by_remainder[key] = 1 + self.num_columns + len(self.remainders)
            self.remainders.append(key)
        return self.packed(self.by_remainder[key])

    def sign(self, packed: int) -> tuple[Coefficients, bool, int]:
        """An expression in lowest terms, its last coefficient positive; whether that turned it; its signs."""
        found = self.signs.get(packed)
        if found is None:
            raw = unpack(packed)
            turned = raw[-1] < 0
            divisor = gcd(*raw) * (-1 if turned else 1)
            lowest = tuple(c // divisor for c in raw)
            found = self.signs[packed] = (lowest, turned, self.sign_of_sum(lowest))
        return found

    def sign_of_sum(self, coefficients: Sequence[int]) -> int:
        """Signs possible for a sum of atoms of which nothing but their least values is known."""
        if min(coefficients, default=0) < 0:
            return _ANY
        return POSITIVE if any(coefficients[: 1 + self.num_columns]) else POSITIVE | ZERO

    def rests(self, expression: Coefficients, fact: Coefficients) -> list[tuple[bool, bool, int]]:
        """Where the expression (or it turned) less the fact (or it mirrored) is never negative: its signs."""
        found = []
        for mirrored in (False, True):
            for turned in (False, True):
                rest = self.sign_of_sum(_minus(expression, fact, turned=turned, mirrored=mirrored))
                if rest != _ANY:
                    found.append((mirrored, turned, rest))
        return found


class Path(Protocol):
    """Who is told of every comparison that the columns' ranges and earlier ones do not decide."""

    def compared(self, expression: Coefficients, asked: int, answer: bool) -> None:
        """The sign of the expression was (not) one of those asked for."""

    def counted(self, expression: Coefficients, value: int) -> None:
        """The expression had to be this very number (the length of a loop)."""


class Trace:
    """One run of a calculation: the columns' values, and what its comparisons have shown about them."""

    def __init__(self, atoms: Atoms, values: Sequence[int], path: Path) -> None:
        self.atoms = atoms
        self.path = path
        self.facts: dict[Coefficients, int] = {}
        self.inputs = [Symbol(self, value, atoms.packed(1 + i)) for i, value in enumerate(values)]

    def ask(self, packed: int, value: int, asked: int) -> bool:
        """Whether the sign of an expression, worth `value` in this run, is one of those asked for."""
        if not packed:
            return bool(asked & ZERO)
        expression, turned, known = self.atoms.sign(packed)
        if turned:
            asked, value = _MIRRORED[asked], -value
        known &= self.facts.get(expression, _ANY)
        if known == _ANY:
            known = self._implied(expression)
        if not known & ~asked:
            return True
        if not known & asked:
            return False
        answer = bool(asked & (POSITIVE if value > 0 else NEGATIVE if value < 0 else ZERO))
        self.facts[expression] = known & asked if answer else known & ~asked
        self.path.compared(expression, asked, answer)
        return answer

    def count(self, packed: int, value: int) -> None:
        """Take an expression for the number it is worth in this run."""
        if packed == value:
            return
        difference = self.atoms.sign(packed - value)[0]
        if self.facts.get(difference) != ZERO:
            self.facts[difference] = ZERO
            self.path.counted(unpack(packed), value)

    def _implied(self, expression: Coefficients) -> int:
        """Signs an expression can have beside one fact: as the sum, or difference, of it and a known sign."""
        known = _ANY
        related = self.atoms.related.setdefault(expression, {})
        for fact, signs in self.facts.items():
            rests = related.get(fact)
            if rests is None:
                rests = related[fact] = self.atoms.rests(expression, fact)
            for mirrored, turned, rest in rests:
                if not signs & (POSITIVE if mirrored else NEGATIVE):
                    # the fact is at least 0, or above; what is left of the expression is so too
                    above = POSITIVE if rest == POSITIVE or not signs & ZERO else POSITIVE | ZERO
                    known &= _MIRRORED[above] if turned else above
        return known


def _minus(a: Coefficients, b: Coefficients, *, turned: bool, mirrored: bool) -> list[int]:
    """a - b; -a where turned, -b where mirrored."""
    length = max(len(a), len(b))
    sign, other = (-1 if turned else 1), (-1 if mirrored else 1)
    long_a, long_b = a + (0,) * (length - len(a)), b + (0,) * (length - len(b))
    return [sign * x - other * y for x, y in zip(long_a, long_b, strict=True)]


class Symbol:
    """A whole number as a sum of atoms; comparing it tells the trace, so that other rows can follow.

    It stands in for int in calculations that add, subtract, multiply by constants, take remainders by
    constants, and compare.
    """

    __slots__ = ("packed", "trace", "value")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, trace: Trace, value: int, packed: int) -> None:
        self.trace = trace
        self.value = value
        self.packed = packed

    def __add__(self, other: Symbol | int) -> Symbol:
        value, packed = _parts(other)
        return Symbol(self.trace, self.value + value, self.packed + packed)

    __radd__ = __add__

    def __neg__(self) -> Symbol:
        return Symbol(self.trace, -self.value, -self.packed)

    def __sub__(self, other: Symbol | int) -> Symbol:
        value, packed = _parts(other)
        return Symbol(self.trace, self.value - value, self.packed - packed)

    def __rsub__(self, other: int) -> Symbol:
        return Symbol(self.trace, other - self.value, other - self.packed)

    def __mul__(self, factor: int) -> Symbol:
        return Symbol(self.trace, self.value * factor, self.packed * factor)

    __rmul__ = __mul__

    def __mod__(self, modulus: int) -> Symbol | int:
        packed = self.trace.atoms.remainder(self.packed, modulus)
        value = self.value % modulus
        return value if 0 <= packed < modulus else Symbol(self.trace, value, packed)

    def __lt__(self, other: Symbol | int) -> bool:
        return self._ask(other, NEGATIVE)

    def __le__(self, other: Symbol | int) -> bool:
        return self._ask(other, NEGATIVE | ZERO)

    def __gt__(self, other: Symbol | int) -> bool:
        return self._ask(other, POSITIVE)

    def __ge__(self, other: Symbol | int) -> bool:
        return self._ask(other, POSITIVE | ZERO)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Symbol | int) and self._ask(other, ZERO)

    def __bool__(self) -> bool:
        return not self.trace.ask(self.packed, self.value, ZERO)

    def __index__(self) -> int:
        self.trace.count(self.packed, self.value)
        return self.value

    def _ask(self, other: Symbol | int, signs: int) -> bool:
        value, packed = _parts(other)
        return self.trace.ask(self.packed - packed, self.value - value, signs)


def _parts(number: Symbol | int) -> tuple[int, int]:
    """Value and packed expression; a constant is its own expression."""
    return (number.value, number.packed) if isinstance(number, Symbol) else (number, number)
