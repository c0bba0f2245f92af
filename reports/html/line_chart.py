"""Curves as HTML: drawn at once, without a script, and a list of points to a screen reader.

The line and its band are an SVG image that is stretched to its frame with lines of constant width.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from reports.html.render import render
from reports.palette import BLUE, GREY, GRID, VERMILION

if TYPE_CHECKING:
    from reports.figures.line_charts import LineChart

_COLOURS = {"point": BLUE, "now": VERMILION, "grey": GREY, "grid": GRID}
_MARGIN = 0.04  # of the span, left and right of the outermost points
_TOP = 1.06  # of the highest value


class _Point(NamedTuple):
    """A point's place as shares of the frame, its text under the pointer, and its classes."""

    x: float
    y: float
    text: str
    kind: str


def curve_html(curve: LineChart, name: str, *, level: int = 3) -> Markup:
    """Return a line with its range as a band, or points with bars, as safe HTML.

    The point that is on the page now is a diamond; `name` makes the figure's id unique.
    """
    top = _TOP * max(*curve.y, *curve.high, curve.limit or 0)
    places = _log_shares(curve.x, curve.x)
    ticks = _log_shares([x for x, _ in curve.x_ticks], curve.x)
    bars = zip(places, curve.low, curve.high, strict=True) if curve.low and not curve.joined else ()
    return render(
        "curve.html",
        curve=curve,
        name=name,
        level=level,
        colours=_COLOURS,
        x_ticks=[(x, text) for x, (_, text) in zip(ticks, curve.x_ticks, strict=True) if 0 <= x <= 1],
        y_ticks=[(y / top, text) for y, text in curve.y_ticks if y <= top],
        drawing=_drawing(curve, places, top) if curve.joined else "",
        ranges=[(x, low / top, (high - low) / top) for x, low, high in bars],
        limit=None if curve.limit is None else curve.limit / top,
        points=[
            _Point(x, y / top, text, " ".join(["now"] * (i == curve.marked) + ["right"] * (x > 0.5)))
            for i, (x, y, text) in enumerate(zip(places, curve.y, curve.hover, strict=True))
        ],
    )


def _log_shares(values: Sequence[float], shown: Sequence[float]) -> list[float]:
    """Return places on a logarithmic axis that holds all shown values: 0 its left end, 1 its right."""
    low, high = log10(min(shown)), log10(max(shown))
    margin = _MARGIN * (high - low) or 1.0
    return [(log10(value) - low + margin) / (high - low + 2 * margin) for value in values]


def _drawing(curve: LineChart, places: Sequence[float], top: float) -> Markup:
    """Return the line through the points and the band of its range as SVG."""

    def path(values: Sequence[float]) -> list[str]:
        return [f"{100 * x:.2f} {100 * (1 - y / top):.2f}" for x, y in zip(places, values, strict=True)]

    band = " ".join([*path(curve.high), *reversed(path(curve.low))]) if curve.low else ""
    return render("curve.svg", band=band, line=" ".join(path(curve.y)), colour=BLUE)
