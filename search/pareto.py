"""Non-domination: which points no other point beats on every objective. Plain Python."""

from __future__ import annotations

from collections.abc import Sequence

from search.results import SearchResult, TrialRecord


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
    """Deployed file bytes and validation bits per byte of a trained record, both to be minimised."""
    assert record.proxy is not None, record.number
    assert record.proxy.val_bits_per_byte is not None, record.number
    return (record.file_bytes, record.proxy.val_bits_per_byte)


def frontier(result: SearchResult) -> tuple[TrialRecord, ...]:
    """Trained records that no other beats on both size and accuracy, smallest file first.

    Of a search in rungs only those that came to the last one so far: a shorter run is no worse model.
    """
    trained = result.finalists
    kept = front([objectives(r) for r in trained])
    return tuple(sorted((trained[i] for i in kept), key=objectives))
