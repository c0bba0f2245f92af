"""Models of a study whose scores are tied: neighbours on a front, and models near it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import hypot
from typing import NamedTuple

from search.analysis.frontier import frontier
from search.analysis.ranking import RankedBy, ranking
from search.config.objectives import Objective
from search.schedule.finalists import CLEAR, compare
from search.store.results import SearchResult, TrialRecord, bits_per_byte


class TrialComparison(NamedTuple):
    """Bits per byte of the first model (the cheaper) minus those of the second, with its standard error."""

    first: int  # trial
    second: int
    difference: float
    standard_error: float
    paired: bool  # chunk by chunk of the same text; else the errors are taken as independent
    on_front: bool  # both of them

    @property
    def tied(self) -> bool:
        """True if the difference is below two standard errors."""
        return abs(self.difference) < CLEAR * self.standard_error or self.difference == 0


def comparisons(result: SearchResult, cost: Objective = Objective.BYTES) -> tuple[TrialComparison, ...]:
    """Compare each model on the front with the next, and each near it with the member that beats it.

    A dominated model is near if the most accurate member of the front that costs no more is tied with it.
    None where scores extrapolated rank: chunks do not show the law's errors, which neighbours share.
    """
    return tuple(c for c in all_comparisons(result, cost) if c.on_front or c.tied)


def all_comparisons(result: SearchResult, cost: Objective = Objective.BYTES) -> tuple[TrialComparison, ...]:
    """Compare each model on the front with the next, and every other with the member that beats it.

    None where scores extrapolated rank.
    """
    ranked = ranking(result)
    if ranked.by is RankedBy.CARRIED_OVER:
        return ()
    members = frontier(result, cost, by=ranked)
    numbers = {record.number for record in members}
    others = [r for r in ranked.records if r.number not in numbers and r.cost(cost) is not None]
    return (
        *(compared(a, b, on_front=True) for a, b in pairwise(members)),
        *(compared(_beaten_by(r, members, cost), r, on_front=False) for r in others),
    )


def compared(first: TrialRecord, second: TrialRecord, *, on_front: bool) -> TrialComparison:
    """Compare two records' scores, paired if both have scores by chunk of one text."""
    a, b = _lines(first), _lines(second)
    if a and b and len(a[0]) == len(b[0]):
        seeds = min(len(a), len(b))
        paired = compare(a[:seeds], b[:seeds])
        values = (paired.mean, paired.se, True)
    else:
        (bits_a, error_a), (bits_b, error_b) = _score(first), _score(second)
        values = (bits_a - bits_b, hypot(error_a, error_b), False)
    return TrialComparison(first.number, second.number, *values, on_front=on_front)


def _beaten_by(record: TrialRecord, members: Sequence[TrialRecord], cost: Objective) -> TrialRecord:
    """Return the most accurate of the front's members that cost no more."""
    own = record.costs((cost,))
    return min((m for m in members if m.costs((cost,)) <= own), key=bits_per_byte)


def _lines(record: TrialRecord) -> tuple[tuple[float, ...], ...]:
    """Return bits per byte by chunk of each seed's longest run."""
    assert record.proxy is not None, record.number
    runs = [run for run in record.runs if run.rung == record.proxy.rung and len(run.val_chunk_bits) > 1]
    lines = [run.val_chunk_bits for run in sorted(runs, key=lambda run: run.seed)]
    return tuple(line for line in lines if len(line) == len(lines[0]))


def _score(record: TrialRecord) -> tuple[float, float]:
    assert record.proxy is not None, record.number
    return bits_per_byte(record), record.proxy.val_bits_per_byte_sd or 0.0
