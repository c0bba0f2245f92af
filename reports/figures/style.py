"""What all figures share: fonts, backgrounds, plotly.js settings.

Backgrounds are transparent and no text has a colour of its own, so that the page around a figure (a report,
the explorer, light or dark) sets both. Lines and outlines are a grey that shows on either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import unescape
from math import ceil, floor, log10
from typing import Any

import plotly.graph_objects as go

from reports.palette import GRID

# For plotly.js: no logo, and no button that uploads the figure (plotly.js 4 shows one unless told otherwise).
FIGURE_CONFIG = {"displaylogo": False, "showSendToCloud": False, "responsive": True}

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star", "hexagon", "cross", "x")
_FONT = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 14}

# Of a figure's upper margin, what its title and subtitle take.
_TITLE_PX = 56
_LEAST_TOP_PX = 24

# A range of values with no span gets this share of the value itself on either side.
_NO_SPAN = 0.2
MARGIN = 0.06


AXIS: Mapping[str, Any] = {"gridcolor": GRID, "zeroline": False, "automargin": True, "title_standoff": 12}


def look(*, title: str, subtitle: str) -> dict[str, Any]:
    """Layout of every figure: its title, fonts and transparent backgrounds."""
    return {
        "title": {
            "text": title,
            "subtitle": {"text": subtitle},
            "x": 0,
            "xref": "container",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"t": 14, "l": 10},
            "font": {"size": 18},
        },
        "font": _FONT,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {"align": "left", "font": {"size": 13}},
    }


def style(figure: go.Figure, *, title: str, subtitle: str) -> None:
    """Give a figure the look and the axes of every figure."""
    figure.update_layout(**look(title=title, subtitle=subtitle))
    figure.update_xaxes(**AXIS)
    figure.update_yaxes(**AXIS)


def words_apart(figure: go.Figure) -> tuple[str, str, go.Figure]:
    """Title and subtitle as plain text, and the figure without them: on a page they are text, which wraps."""
    title, subtitle = figure.layout.title.text or "", figure.layout.title.subtitle.text or ""
    margin, height = figure.layout.margin.t or 0, figure.layout.height
    top = max(_LEAST_TOP_PX, margin - _TITLE_PX)
    drawn = go.Figure(figure)
    drawn.update_layout(title=None, height=height - margin + top, margin={"t": top})
    return unescape(title), unescape(subtitle), drawn


def blank(notice: str = "") -> go.Figure:
    """A figure without Plotly's template; with a notice in its middle where there is nothing to draw."""
    figure = go.Figure(layout={"template": "none"})
    if notice:
        figure.add_annotation(text=notice, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
    return figure


def axis_range(values: Sequence[float]) -> tuple[float, float]:
    """Ends of a linear axis that shows these values with a margin; (0, 1) for none.

    >>> axis_range([1.0, 2.0]), axis_range([5.0])
    ((0.94, 2.06), (4.0, 6.0))
    """
    if not values:
        return (0.0, 1.0)
    margin = MARGIN * (max(values) - min(values)) or _NO_SPAN * abs(max(values)) or 1.0
    return (min(values) - margin, max(values) + margin)


def round_ticks(low: float, high: float, gap: float = 1.0) -> tuple[float, ...]:
    """1, 2 and 5 times powers of ten strictly between two positive numbers, `gap` times away from both.

    >>> round_ticks(80, 1500), round_ticks(80, 1500, gap=1.5)
    ((100.0, 200.0, 500.0, 1000.0), (200.0, 500.0))
    """
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    values = (m * 10.0**p for p in powers for m in (1, 2, 5))
    return tuple(v for v in values if low * gap < v < high / gap)
