"""Non-domination: which points no other point beats on every objective. Plain Python."""

from __future__ import annotations

from collections.abc import Sequence


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Return whether a is nowhere worse and somewhere better than b; all objectives are minimised.

    >>> dominates((1, 2), (1, 3)), dominates((1, 2), (1, 2)), dominates((1, 3), (2, 2))
    (True, False, False)
    """
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def front(points: Sequence[Sequence[float]]) -> tuple[int, ...]:
    """Return the indices of non-dominated points, in order; equal points are all kept.

    >>> front([(1, 3), (2, 2), (2, 3), (3, 1)])
    (0, 1, 3)
    """
    if all(len(point) == 2 for point in points):
        return _front_of_pairs(points)
    return tuple(i for i, p in enumerate(points) if not any(dominates(q, p) for q in points))


def _front_of_pairs(points: Sequence[Sequence[float]]) -> tuple[int, ...]:
    """Return the front of two objectives in one pass over the points by growing first objective."""
    kept: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], points[i][1])):
        if not kept or points[i][1] < points[kept[-1]][1] or tuple(points[i]) == tuple(points[kept[-1]]):
            kept.append(i)
    return tuple(sorted(kept))
