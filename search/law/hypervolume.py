"""How much of the plane a set of (size, loss) points dominates: exact, in two dimensions, both minimised."""

from __future__ import annotations

from collections.abc import Sequence

from search.law.pareto import front

Point = tuple[float, float]

# The reference lies this share of the points' range beyond the worst of them, so that the ends of a front
# count too (BoTorch's infer_reference_point).
_BEYOND = 0.1


def reference_point(points: Sequence[Point]) -> Point:
    """The corner that hypervolumes are measured from: the worst value of each axis and a tenth of its range.

    Of all points rather than of a front, so that it stays where it is while the front moves.

    >>> reference_point([(1.0, 3.0), (2.0, 1.0)])
    (2.1, 3.2)
    """
    assert points, "no points, no reference"
    worst = [max(axis) for axis in zip(*points, strict=True)]
    ranges = [max(axis) - min(axis) for axis in zip(*points, strict=True)]
    return (worst[0] + _BEYOND * ranges[0], worst[1] + _BEYOND * ranges[1])


def steps(points: Sequence[Point], reference: Point) -> tuple[Point, ...]:
    """The front as stairs: (size from which on, lowest loss), by growing size, inside the reference only.

    >>> steps([(1, 3), (2, 2), (2, 1), (9, 0)], (4, 4))
    ((1, 3), (2, 1))
    """
    inside = [p for p in points if p[0] < reference[0] and p[1] < reference[1]]
    return tuple(sorted({inside[i] for i in front(inside)}))


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Area between the points' front and the reference point.

    >>> hypervolume([(1, 3), (2, 1)], (4, 4))
    7
    """
    stairs = steps(points, reference)
    ends = [size for size, _ in stairs[1:]] + [reference[0]]
    return sum((end - size) * (reference[1] - loss) for (size, loss), end in zip(stairs, ends, strict=False))


def regret(points: Sequence[Point], best: Sequence[Point], reference: Point) -> float:
    """Share of the area dominated by the best points that these points do not dominate: 0 to 1."""
    whole = hypervolume(best, reference)
    return 1 - hypervolume(points, reference) / whole if whole > 0 else 0.0
