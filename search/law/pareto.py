"""Non-domination: which points no other point beats on every objective. Plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum, unique

from search.law.scores import Ranking, ranking
from search.store.results import SearchResult, TrialRecord


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether a is nowhere worse and somewhere better than b; all objectives are minimised.

    >>> dominates((1, 2), (1, 3)), dominates((1, 2), (1, 2)), dominates((1, 3), (2, 2))
    (True, False, False)
    """
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def front(points: Sequence[Sequence[float]]) -> tuple[int, ...]:
    """Indices of the points that none dominates, in order; equal points are all kept.

    >>> front([(1, 3), (2, 2), (2, 3), (3, 1)])
    (0, 1, 3)
    """
    return tuple(i for i, p in enumerate(points) if not any(dominates(q, p) for q in points))


def objectives(record: TrialRecord) -> tuple[float, float]:
    """Deployed file bytes and bits per byte of what was trained, both to be minimised: what a search sees."""
    assert record.proxy is not None, record.number
    assert record.proxy.val_bits_per_byte is not None, record.number
    return (record.file_bytes, record.proxy.val_bits_per_byte)


@unique
class Cost(StrEnum):
    """What accuracy is paid for with; the search itself minimises file bytes."""

    FILE = "file_bytes"
    MEMORY = "memory_bytes"
    DECODE = "decode_tokens_per_s"  # the more the better


def cost_of(record: TrialRecord, cost: Cost) -> float | None:
    """A record's bytes or tokens per second; None where no speed is known."""
    if cost is Cost.DECODE:
        return record.decode_tokens_per_s.value if record.decode_tokens_per_s else None
    return float(record.file_bytes if cost is Cost.FILE else record.memory_bytes)


def frontier(
    result: SearchResult, cost: Cost = Cost.FILE, *, by: Ranking | None = None
) -> tuple[TrialRecord, ...]:
    """Trained records that no other beats on both cost and accuracy, cheapest first (fastest first).

    Accuracy is the score that ranks the study, or `by`. Of a search in rungs only models that came to the
    last one so far count: a shorter run is no worse model. Where scores are carried over from scaled proxies
    all count. Records without a known cost take no part.
    """
    ranked = by or ranking(result)
    known = [r for r in ranked.records if cost_of(r, cost) is not None]
    points = [_minimised(r, cost, ranked) for r in known]
    return tuple(known[i] for i in sorted(front(points), key=points.__getitem__))


def _minimised(record: TrialRecord, cost: Cost, ranked: Ranking) -> tuple[float, float]:
    value, bits = cost_of(record, cost), ranked.scores[record.number].bits_per_byte
    assert value is not None, record.number
    return (-value if cost is Cost.DECODE else value, bits)
