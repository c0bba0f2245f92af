"""What all figures share: fonts, backgrounds, plotly.js settings.

Backgrounds are transparent and no text has its own colour, so that the page around a figure (a report,
the explorer, light or dark) sets both. Lines and outlines are a grey that shows on either.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import unescape
from typing import Any

import plotly.graph_objects as go

from reports.palette import GRID

# For plotly.js: no logo, and no button that uploads the figure (plotly.js 4 shows one by default).
FIGURE_CONFIG = {"displaylogo": False, "showSendToCloud": False, "responsive": True}

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star", "hexagon", "cross", "x")
_FONT = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 14}

# Of a figure's upper margin, what its title and subtitle take.
_TITLE_PX = 56
_LEAST_TOP_PX = 24


# At the foot of a figure: above the plot it would lie over the subtitle of an image, and placed in shares of
# the plot's height, on the axis title of a narrow figure.
LEGEND_BELOW: Mapping[str, Any] = {
    "orientation": "h",
    "x": 0,
    "xanchor": "left",
    "y": 0,
    "yref": "container",
    "yanchor": "bottom",
}
AXIS: Mapping[str, Any] = {"gridcolor": GRID, "zeroline": False, "automargin": True, "title_standoff": 12}


def base_layout(*, title: str, subtitle: str) -> dict[str, Any]:
    """Return the layout of every figure: its title, fonts and transparent backgrounds."""
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
    """Give a figure the base layout and the axes of every figure."""
    figure.update_layout(**base_layout(title=title, subtitle=subtitle))
    figure.update_xaxes(**AXIS)
    figure.update_yaxes(**AXIS)


def split_title(figure: go.Figure) -> tuple[str, str, go.Figure]:
    """Return title and subtitle as text, which wraps on a page, and the figure without them."""
    title, subtitle = figure.layout.title.text or "", figure.layout.title.subtitle.text or ""
    margin, height = figure.layout.margin.t or 0, figure.layout.height
    top = max(_LEAST_TOP_PX, margin - _TITLE_PX)
    drawn = go.Figure(figure)
    drawn.update_layout(title=None, height=height - margin + top, margin={"t": top})
    return unescape(title), unescape(subtitle), drawn


def blank(notice: str = "") -> go.Figure:
    """Return a figure without Plotly's template; with a notice in its middle if there is nothing to draw."""
    figure = go.Figure(layout={"template": "none"})
    if notice:
        figure.add_annotation(text=notice, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
    return figure
