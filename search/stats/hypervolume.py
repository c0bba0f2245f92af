"""How much of the space a set of (cost, ..., loss) points dominates: exact, all minimised."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from search.stats.pareto import front

Point = tuple[float, ...]

# The reference lies this share of the points' range beyond the worst of them, so that the ends of a front
# count too (BoTorch's infer_reference_point).
_BEYOND = 0.1


def reference_point(points: Sequence[Point]) -> Point:
    """Return the corner of hypervolumes: the worst value of each axis plus a tenth of its range.

    Of all points rather than of a front, so that it stays where it is while the front moves.

    >>> reference_point([(1.0, 3.0), (2.0, 1.0)])
    (2.1, 3.2)
    """
    assert points, "no points, no reference"
    axes = list(zip(*points, strict=True))
    return tuple(max(axis) + _BEYOND * (max(axis) - min(axis)) for axis in axes)


def steps(points: Sequence[Point], reference: Point) -> tuple[Point, ...]:
    """Return the front as stairs: (size from which on, lowest loss), by growing size.

    >>> steps([(1, 3), (2, 2), (2, 1), (9, 0)], (4, 4))
    ((1, 3), (2, 1))
    """
    inside = [p for p in points if all(value < end for value, end in zip(p, reference, strict=True))]
    return tuple(sorted({inside[i] for i in front(inside)}))


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Return the area (or volume) between the points' front and the reference point.

    >>> hypervolume([(1, 3), (2, 1)], (4, 4)), hypervolume([(1, 3, 0), (2, 1, 1)], (4, 4, 2))
    (7, 10)
    """
    stairs = steps(points, reference)
    if len(reference) == 2:
        ends = [size for size, _ in stairs[1:]] + [reference[0]]
        return sum(
            (end - size) * (reference[1] - loss) for (size, loss), end in zip(stairs, ends, strict=False)
        )
    return sum(exclusive(point, stairs[place + 1 :], reference) for place, point in enumerate(stairs))


def exclusive(point: Point, others: Sequence[Point], reference: Point) -> float:
    """Return the part of a point's box that the others do not dominate (WFG, While and others 2012).

    >>> exclusive((1, 3), [(2, 1)], (4, 4))
    1
    """
    own = prod(end - value for value, end in zip(point, reference, strict=True))
    covered = [tuple(map(max, point, other)) for other in others]
    return own - hypervolume(covered, reference) if covered else own


def regret(points: Sequence[Point], best: Sequence[Point], reference: Point) -> float:
    """Share of the area dominated by the best points that these points do not dominate: 0 to 1."""
    whole = hypervolume(best, reference)
    return 1 - hypervolume(points, reference) / whole if whole > 0 else 0.0
