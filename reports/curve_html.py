"""Curves drawn in HTML: there at once, without a script, and a list of points to who hears the page.

The line and its band are an image that is stretched to its place, with lines as thick as ever; points, labels
and what a point says under the pointer are elements of their own, and keep the size of text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import log10
from typing import TYPE_CHECKING
from urllib.parse import quote

from reports.palette import BLUE, GREY, GRID, VERMILION

if TYPE_CHECKING:
    from reports.curves import Curve

# Text has the colour of the page around it; what a point says lies on the ground of the page.
CURVE_STYLE = f"""
.sizer-curve {{ margin: 0 0 1.4rem; padding-right: .7rem; min-width: 0; font-size: .875rem;
  line-height: 1.4; }}
.sizer-curve > :is(h3, h4) {{ font-size: 1.08rem; font-weight: 600; line-height: 1.3; margin: 0;
  padding: 0; }}
.sizer-curve > figcaption {{ font-size: .875rem; color: inherit; opacity: .8; margin: 0 0 .7rem; }}
.sizer-curve p {{ font-size: inherit; margin: 0; padding: 0; }}
.sizer-curve .frame {{ display: grid; grid-template: auto 16rem auto auto / max-content minmax(0, 1fr);
  column-gap: .5rem; font-variant-numeric: tabular-nums; }}
.sizer-curve .y-title {{ grid-area: 1 / 1 / 2 / 3; margin-bottom: .6rem; }}
.sizer-curve .y {{ grid-area: 2 / 1; display: grid; height: 16rem; text-align: right; white-space: nowrap; }}
.sizer-curve .y span {{ grid-area: 1 / 1; position: relative; height: 0; line-height: 0; }}
.sizer-curve .plot {{ grid-area: 2 / 2; position: relative; }}
.sizer-curve .plot > i {{ position: absolute; border-left: 1px solid {GREY}; }}
.sizer-curve .plot > :is(img, b) {{ position: absolute; left: 0; width: 100%; pointer-events: none; }}
.sizer-curve .plot > img {{ top: 0; height: 100%; max-width: none; border-radius: 0; }}
.sizer-curve .plot > b {{ border-top: 1px solid {GRID}; }}
.sizer-curve .plot > .limit {{ border-top: 2px dashed {GREY}; font-weight: 400; }}
.sizer-curve .limit span {{ position: absolute; bottom: 2px; left: 0; }}
.sizer-curve ul {{ list-style: none; margin: 0; padding: 0; position: absolute; inset: 0; }}
.sizer-curve li {{ position: absolute; width: 22px; height: 22px; margin: 0; padding: 0;
  translate: -50% 50%; }}
.sizer-curve li::before {{ content: ""; position: absolute; inset: 7px; border-radius: 50%;
  background: {BLUE}; print-color-adjust: exact; }}
.sizer-curve li.now::before {{ inset: 6px; border-radius: 0; background: {VERMILION};
  transform: rotate(45deg); }}
.sizer-curve li > span {{ position: absolute; bottom: 22px; left: 0; width: max-content;
  max-width: min(16rem, 42vw); font-size: .8rem; padding: .2rem .5rem; border: 1px solid {GREY};
  border-radius: 4px; background: light-dark(#fff, #1b1f27); opacity: 0; pointer-events: none; }}
.sizer-curve li.right > span {{ left: auto; right: 0; }}
.sizer-curve li:hover {{ z-index: 2; }}
.sizer-curve li:hover > span {{ opacity: 1; }}
.sizer-curve .x {{ grid-area: 3 / 2; position: relative; height: 1.6rem; }}
.sizer-curve .x span {{ position: absolute; top: .3rem; transform: translateX(-50%); white-space: nowrap; }}
.sizer-curve .x-title {{ grid-area: 4 / 2; text-align: center; }}
"""
_BESIDE = 0.04  # of the span, left and right of the outermost points
_ABOVE = 1.06  # of the highest value


def curve_html(curve: Curve, name: str, *, level: int = 3) -> str:
    """A line with its range as a band, or points with bars; what is on the page now is a diamond. Safe HTML.

    `name` sets its id apart.
    """
    across, up = _Across(curve.x), _ABOVE * max(*curve.y, *curve.high, curve.limit or 0)
    x_ticks = [(across.share(x), text) for x, text in curve.x_ticks]
    y_ticks = [(y / up, text) for y, text in curve.y_ticks if y <= up]
    points = "".join(
        _point(across.share(x), y / up, curve.hover[i], is_now=i == curve.marked)
        for i, (x, y) in enumerate(zip(curve.x, curve.y, strict=True))
    )
    left = "".join(f'<span style="top:{_percent(1 - y)}">{escape(text)}</span>' for y, text in y_ticks)
    below = "".join(
        f'<span style="left:{_percent(x)}">{escape(text)}</span>' for x, text in x_ticks if 0 <= x <= 1
    )
    return (
        f'<figure class="sizer-curve" aria-labelledby="title-{name}">'
        f'<h{level} id="title-{name}">{escape(curve.title)}</h{level}>'
        f"<figcaption>{escape(curve.subtitle)}</figcaption>"
        f'<div class="frame"><p class="y-title">{escape(curve.y_title)}</p>'
        f'<div class="y" aria-hidden="true">{left}</div>'
        f'<div class="plot">{_grid(y for y, _ in y_ticks)}{_line(curve, across, up)}'
        f"{_ranges(curve, across, up)}{_limit(curve, up)}"
        f'<ul aria-labelledby="title-{name}">{points}</ul></div>'
        f'<div class="x" aria-hidden="true">{below}</div>'
        f'<p class="x-title">{escape(curve.x_title)}</p></div></figure>\n'
    )


class _Across:
    """Places on a logarithmic axis that holds all values."""

    def __init__(self, values: Sequence[float]) -> None:
        low, high = log10(min(values)), log10(max(values))
        beside = _BESIDE * (high - low) or 1.0
        self._low, self._span = low - beside, high - low + 2 * beside

    def share(self, value: float) -> float:
        """0 at the left end, 1 at the right."""
        return (log10(value) - self._low) / self._span


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"


def _grid(heights: Iterable[float]) -> str:
    return "".join(f'<b style="bottom:{_percent(height)}"></b>' for height in heights)


def _line(curve: Curve, across: _Across, up: float) -> str:
    """The line through the points and the band of its range, as an image that is stretched."""
    if not curve.joined:
        return ""

    def path(values: Sequence[float]) -> list[str]:
        return [
            f"{100 * across.share(x):.2f} {100 * (1 - y / up):.2f}"
            for x, y in zip(curve.x, values, strict=True)
        ]

    band = ""
    if curve.low:
        edge = " ".join([*path(curve.high), *reversed(path(curve.low))])
        band = f'<polygon points="{edge}" fill="{BLUE}" fill-opacity=".18"/>'
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100" preserveAspectRatio="none">'
        f'{band}<polyline points="{" ".join(path(curve.y))}" fill="none" stroke="{BLUE}" stroke-width="2" '
        'vector-effect="non-scaling-stroke"/></svg>'
    )
    return f'<img alt="" src="data:image/svg+xml,{quote(drawing)}">'


def _limit(curve: Curve, up: float) -> str:
    """A dashed line across the figure, and its words above it at the left."""
    if curve.limit is None:
        return ""
    height = _percent(curve.limit / up)
    return f'<b class="limit" style="bottom:{height}"><span>{escape(curve.limit_text)}</span></b>'


def _ranges(curve: Curve, across: _Across, up: float) -> str:
    """A bar over each point's range, where the points are not joined."""
    if curve.joined or not curve.low:
        return ""
    return "".join(
        f'<i style="left:{_percent(across.share(x))};bottom:{_percent(low / up)};'
        f'height:{_percent((high - low) / up)}"></i>'
        for x, low, high in zip(curve.x, curve.low, curve.high, strict=True)
    )


def _point(across: float, height: float, text: str, *, is_now: bool) -> str:
    kinds = " ".join(["now"] * is_now + ["right"] * (across > 0.5))
    kind = f' class="{kinds}"' if kinds else ""
    place = f"left:{_percent(across)};bottom:{_percent(height)}"
    return f'<li{kind} style="{place}"><span>{escape(text)}</span></li>'
