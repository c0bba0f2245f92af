"""Points on two logarithmic axes as HTML: drawn at once, without a script.

Lines and ranges are an SVG image that is stretched to its frame; points are elements and keep their size.
"""

from __future__ import annotations

from math import log10
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from reports.html.render import render
from reports.palette import BLUE, GREY, GRID, VERMILION
from reports.text.evidence import BASIS_LABELS

if TYPE_CHECKING:
    from reports.figures.evidence import EvidenceInfo

# A symbol and a colour for each basis.
_MARKS = {
    "fitted": ("circle", BLUE),
    "fitted, few rows": ("diamond", VERMILION),
    "specification": ("square", GREY),
}


class _Mark(NamedTuple):
    """A point's place as shares of the frame, its range on the screen, its text and its class."""

    x: float
    y: float
    low: float
    high: float
    text: str
    kind: str


class _Group(NamedTuple):
    """Points of one basis, with their symbol and colour."""

    label: str
    symbol: str
    colour: str
    points: list[_Mark]


def evidence_html(info: EvidenceInfo, name: str, *, alt: str, level: int = 3) -> Markup:
    """Return points with their ranges and the line of exact predictions as safe HTML.

    `name` makes the figure's id unique; `alt` is what a screen reader reads in place of the points.
    """
    low, high = map(log10, info.span)

    def share(value: float) -> float:
        return (log10(value) - low) / (high - low)

    groups = []
    for basis, (symbol, colour) in _MARKS.items():
        points = [
            _Mark(x, share(p.predicted), share(p.low), share(p.high), p.text, "right" if x > 0.5 else "")
            for p in info.points
            if p.basis == basis
            for x in (share(p.measured),)
        ]
        if points:
            groups.append(_Group(BASIS_LABELS[basis], symbol, colour, points))
    ticks = [(share(value), text) for value, text in info.ticks]
    drawing = render(
        "scatter.svg",
        ticks=[place for place, _ in ticks],
        points=[point for group in groups for point in group.points],
        grid=GRID,
        grey=GREY,
    )
    return render(
        "scatter.html",
        info=info,
        name=name,
        alt=alt,
        level=level,
        grey=GREY,
        ticks=ticks,
        groups=groups,
        drawing=drawing,
    )
