"""Ties among finalists: paired differences of validation losses, chunk by chunk.

Models are scored on the same chunks of text, and seed k of one model has the data order of seed k of another,
so losses are compared in pairs: most of what makes a chunk hard, or an order lucky, is the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from operator import le

import numpy as np

from search.stats.pareto import front
from search.stats.ridge import Floats
from sizer.errors import InvalidQuantity

# Standard errors that a difference must exceed to be one.
CLEAR = 2.0


@unique
class PairVerdict(StrEnum):
    """Which of two models has the lower loss; tie is an answer."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """Loss of the first model minus that of the second, with its standard error."""

    mean: float
    se: float
    seeds: int
    chunks: int

    @property
    def verdict(self) -> PairVerdict:
        """Tie unless the difference exceeds two standard errors."""
        if abs(self.mean) < CLEAR * self.se or self.mean == 0:
            return PairVerdict.TIE
        return PairVerdict.FIRST if self.mean < 0 else PairVerdict.SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalist:
    """A model's losses: a line per seed, a column per validation chunk, both in the order of the others."""

    id: int
    costs: tuple[float, ...]  # positive, less is better
    losses: tuple[tuple[float, ...], ...]

    @property
    def loss(self) -> float:
        """Mean over seeds and chunks."""
        return float(np.mean(self.losses))


def _share_one_cost(finalists: Sequence[Finalist]) -> bool:
    return all(len(f.costs) == 1 for f in finalists)


def compare(
    first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], *, seed_sd: float | None = None
) -> PairedDifference:
    """Compare the losses (seeds x chunks) of two models in pairs; seeds of only one of them are left out.

    The standard error is that of chunks and seeds drawn at random (two-way analysis of variance). One seed
    does not show how seeds differ: `seed_sd`, the deviation of a model's loss over seeds as known from
    others, then stands in; without it seeds are taken not to matter, and the error is too small.

    >>> compare([[2.0, 3.0, 4.0]], [[1.9, 2.8, 3.9]])
    PairedDifference(mean=0.1333..., se=0.0333..., seeds=1, chunks=3)
    """
    seeds = min(len(first), len(second))
    if not seeds:
        raise InvalidQuantity("losses: no seed to compare; accepted: one line of losses a seed")
    if len({len(line) for line in (*first, *second)}) > 1:
        raise InvalidQuantity("losses: models must be scored on the same chunks")
    differences = np.array(first[:seeds], np.float64) - np.array(second[:seeds], np.float64)
    if differences.shape[1] < 2:
        raise InvalidQuantity(f"losses: {differences.shape[1]} chunks; accepted: 2 or more")
    variance = _variance_of_mean(differences)
    if seeds == 1 and seed_sd is not None:
        variance += 2 * seed_sd**2
    return PairedDifference(
        mean=float(differences.mean()), se=float(variance**0.5), seeds=seeds, chunks=differences.shape[1]
    )


def _variance_of_mean(differences: Floats) -> float:
    """Return the variance of the grand mean if rows and columns both are samples."""
    seeds, chunks = differences.shape
    of_chunks: float = float(differences.mean(axis=0).var(ddof=1)) / chunks
    if seeds == 1:
        return of_chunks
    of_seeds = float(differences.mean(axis=1).var(ddof=1)) / seeds
    rest = (
        differences - differences.mean(axis=0) - differences.mean(axis=1, keepdims=True) + differences.mean()
    )
    both = float((rest**2).sum()) / ((seeds - 1) * (chunks - 1)) / (seeds * chunks)
    # what is left over is in both of the others; an estimate may fall below either alone, the truth may not
    return float(max(of_chunks + of_seeds - both, of_chunks, of_seeds))


def overlapping(
    finalists: Sequence[Finalist], *, seed_sd: float | None = None
) -> tuple[tuple[int, int], ...]:
    """Return pairs of neighbours on the front (ids, smaller file first) that are tied and need more seeds.

    Models near the front count as well: one that a front member beats by less than two standard errors may be
    the true member, and is paired with it. With several costs only those: a neighbour by one cost may be far
    by another.
    """
    kept = set(front([(*f.costs, f.loss) for f in finalists]))
    members = sorted((finalists[i] for i in kept), key=lambda f: (f.costs, f.loss))
    pairs = list(zip(members, members[1:], strict=False)) if _share_one_cost(finalists) else []
    for i, other in enumerate(finalists):
        if i not in kept:
            better = [m for m in members if all(map(le, m.costs, other.costs))]
            pairs.append((min(better, key=lambda m: (m.loss, m.costs)), other))
    tied = [
        (a.id, b.id)
        for a, b in pairs
        if compare(a.losses, b.losses, seed_sd=seed_sd).verdict is PairVerdict.TIE
    ]
    return tuple(tied)
