"""Labels of a frontier's points: shape and size, placed where they cover neither points nor one another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from sizer.architecture import Architecture
from sizer.units import format_bytes

# Of the plot's width and height on a phone, what a label of two lines takes; wider screens have more room.
_WIDTH, _HEIGHT = 0.36, 0.1
_LIMIT_WIDTH = 0.6  # of the text of a limit
# A frontier falls towards what costs more: below it, on the side of what costs less, nothing is drawn.
_SIDES = ("bottom left", "top right", "bottom right")
_SIDES_OF_SPEED = ("bottom right", "top left", "bottom left")


class Spot(NamedTuple):
    """A point in shares of the plot: 0 is left or bottom, 1 is right or top."""

    x: float
    y: float


class Label(NamedTuple):
    """A label's text, as safe HTML, and plotly's word for its side of the point; both empty without one."""

    text: str = ""
    side: str = ""


def label_text(architecture: Architecture, file_bytes: int) -> str:
    """Return a model in two short lines: layers x hidden size with the runs of shared blocks, and its file.

    >>> from sizer.registry import model
    >>> label_text(model("SmolLM2-135M").architecture, 105_000_000)
    '30 x 576<br>105 MB'
    """
    a = architecture
    runs = f", x{a.sharing.repeat}" if a.sharing.repeat > 1 else ""
    return f"{a.num_layers} x {a.hidden_size}{runs}<br>{format_bytes(file_bytes)}"


def placed_sides(
    front: Sequence[Spot],
    others: Sequence[Spot],
    *,
    limit: float | None = None,
    cheap_is_right: bool = False,
) -> tuple[str, ...]:
    """Return the side of each of the frontier's labels; empty where a label would cover a point or a label.

    The most accurate and the cheapest model come first, then the others from the cheapest on. A label lies
    on the frontier's line only if it has no other place. `limit` is where the line of a limit stands, whose
    text is at the top on the side of the models.
    """
    if not front:
        return ()
    sides = [""] * len(front)
    points, line = [(spot, spot) for spot in (*front, *others)], _steps(front)
    if limit is not None:
        left = limit if cheap_is_right else limit - _LIMIT_WIDTH
        points.append((Spot(left, 1 - _HEIGHT), Spot(left + _LIMIT_WIDTH, 1)))
    labels: list[tuple[Spot, Spot]] = []
    order = tuple(dict.fromkeys((len(front) - 1, 0, *range(len(front)))))
    for place, avoided in ((p, a) for a in (line, []) for p in order):
        for side in _SIDES_OF_SPEED if cheap_is_right else _SIDES:
            box, taken = _box(front[place], side), (*points, *avoided, *labels)
            if not sides[place] and _is_inside(box) and not any(_overlap(box, other) for other in taken):
                sides[place] = side
                labels.append(box)
    return tuple(sides)


def _steps(front: Sequence[Spot]) -> list[tuple[Spot, Spot]]:
    """Return the frontier's line as boxes without width or without height: across, then down."""
    corners = [Spot(after.x, before.y) for before, after in pairwise(front)]
    ends = [(start, corner) for start, corner in zip(front, corners, strict=False)]
    ends += [(corner, end) for corner, end in zip(corners, front[1:], strict=True)]
    return [(Spot(min(a.x, b.x), min(a.y, b.y)), Spot(max(a.x, b.x), max(a.y, b.y))) for a, b in ends]


def _box(spot: Spot, side: str) -> tuple[Spot, Spot]:
    """Return the lower left and the upper right corner of a label."""
    below, left = side.startswith("bottom"), side.endswith("left")
    low = Spot(spot.x - _WIDTH if left else spot.x, spot.y - _HEIGHT if below else spot.y)
    return low, Spot(low.x + _WIDTH, low.y + _HEIGHT)


def _is_inside(box: tuple[Spot, Spot]) -> bool:
    low, high = box
    return low.x >= 0 and low.y >= 0 and high.x <= 1 and high.y <= 1


def _overlap(one: tuple[Spot, Spot], other: tuple[Spot, Spot]) -> bool:
    return one[0].x < other[1].x and other[0].x < one[1].x and one[0].y < other[1].y and other[0].y < one[1].y
