"""Which models of a study cannot be told apart by their scores: neighbours on a front, and those near it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import hypot
from typing import NamedTuple

from search.law.pareto import Cost, cost_of, frontier, objectives
from search.law.scores import RankedBy, ranking
from search.store.results import SearchResult, TrialRecord
from search.trust.finalists import CLEAR, compare


class Comparison(NamedTuple):
    """Bits per byte of the first model (the cheaper) minus those of the second, with its standard error."""

    first: int  # trial
    second: int
    difference: float
    standard_error: float
    paired: bool  # chunk by chunk of the same text; else the errors are taken as independent
    on_front: bool  # both of them

    @property
    def tied(self) -> bool:
        """Whether the difference is below two standard errors."""
        return abs(self.difference) < CLEAR * self.standard_error or self.difference == 0


def comparisons(result: SearchResult, cost: Cost = Cost.FILE) -> tuple[Comparison, ...]:
    """Each model on the front against the next, then each near it against the member that beats it.

    A dominated model is near if the most accurate member of the front that costs no more is tied with it.
    None where scores carried over rank: chunks say nothing of the law's errors, which neighbours share.
    """
    ranked = ranking(result)
    if ranked.by is RankedBy.CARRIED_OVER:
        return ()
    members = frontier(result, cost, by=ranked)
    numbers = {record.number for record in members}
    found = [compared(a, b, on_front=True) for a, b in pairwise(members)]
    for record in ranked.records:
        if record.number not in numbers and cost_of(record, cost) is not None:
            against = compared(_beaten_by(record, members, cost), record, on_front=False)
            found += [against] if against.tied else []
    return tuple(found)


def compared(first: TrialRecord, second: TrialRecord, *, on_front: bool) -> Comparison:
    """Difference of two records' scores, paired where both have scores by chunk of one text."""
    a, b = _lines(first), _lines(second)
    if a and b and len(a[0]) == len(b[0]):
        seeds = min(len(a), len(b))
        paired = compare(a[:seeds], b[:seeds])
        values = (paired.mean, paired.se, True)
    else:
        (bits_a, error_a), (bits_b, error_b) = _score(first), _score(second)
        values = (bits_a - bits_b, hypot(error_a, error_b), False)
    return Comparison(first.number, second.number, *values, on_front=on_front)


def _beaten_by(record: TrialRecord, members: Sequence[TrialRecord], cost: Cost) -> TrialRecord:
    """Of the front's members that cost no more, the most accurate."""
    sign = -1 if cost is Cost.DECODE else 1
    own = cost_of(record, cost) or 0.0
    return min((m for m in members if sign * (cost_of(m, cost) or 0.0) <= sign * own), key=_bits)


def _bits(record: TrialRecord) -> float:
    return objectives(record)[1]


def _lines(record: TrialRecord) -> tuple[tuple[float, ...], ...]:
    """Bits per byte by chunk of each seed's longest run."""
    assert record.proxy is not None, record.number
    runs = [run for run in record.runs if run.rung == record.proxy.rung and len(run.val_chunk_bits) > 1]
    lines = [run.val_chunk_bits for run in sorted(runs, key=lambda run: run.seed)]
    return tuple(line for line in lines if len(line) == len(lines[0]))


def _score(record: TrialRecord) -> tuple[float, float]:
    assert record.proxy is not None, record.number
    return _bits(record), record.proxy.val_bits_per_byte_sd or 0.0
