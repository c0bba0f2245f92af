"""The figure of predicted against measured speeds, both on logarithmic axes, each with its range."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import exp, log10
from typing import TYPE_CHECKING, NamedTuple

import plotly.graph_objects as go

from reports.figures import style
from reports.figures.axes import log_ticks
from reports.palette import BLUE, GREY, VERMILION
from reports.tables.evidence import BASIS_LABELS, HELD_OUT, device_title
from reports.text.wording import rate_text

if TYPE_CHECKING:
    from sizer.calibration.predicted_speed import PredictedSpeed, PrintedSpeed

_COLOURS = {"fitted": BLUE, "fitted, few rows": VERMILION, "specification": GREY}
_SYMBOLS = {"fitted": "circle", "fitted, few rows": "diamond", "specification": "square"}


class JudgedPoint(NamedTuple):
    """One measured speed as it is drawn; `hover` is already safe HTML."""

    measured: float
    predicted: float
    low: float
    high: float
    basis: str
    hover: str


class EvidenceInfo(NamedTuple):
    """Every decision about the figure of predicted against measured speeds."""

    title: str
    subtitle: str
    points: tuple[JudgedPoint, ...]
    span: tuple[float, float]  # of both axes
    what: str  # "decode" or "prompt"


def evidence_info(judged: Sequence[PredictedSpeed[PrintedSpeed]]) -> EvidenceInfo:
    """Decide what the figure shows: one span for both axes, so exact predictions lie on the diagonal."""
    points = tuple(_point(j) for j in judged)
    values = [v for p in points for v in (p.measured, p.low, p.high)]
    low, high = (min(values), max(values)) if values else (1.0, 10.0)
    inside = sum(j.inside for j in judged)
    return EvidenceInfo(
        title="Predicted against measured speed",
        subtitle=f"{inside} of {len(points)} lie inside their range",
        points=points,
        span=(low / 1.15, high * 1.15),
        what="prompt" if judged and judged[0].of_prompt else "decode",
    )


def _point(j: PredictedSpeed[PrintedSpeed]) -> JudgedPoint:
    row = j.row
    lines = (
        f"<b>{escape(row.model)} {escape(row.format)}</b>",
        f"{escape(device_title(row.device))}, {escape(row.runtime)} ({escape(row.backend)})",
        f"measured {rate_text(j.measured)} tokens/s",
        f"predicted {rate_text(j.predicted)} ({rate_text(j.low)} to {rate_text(j.high)}), "
        f"{exp(j.error) - 1:+.0%}",
        f"{BASIS_LABELS[j.basis]}: without {HELD_OUT[j.basis]}",
    )
    return JudgedPoint(j.measured, j.predicted, j.low, j.high, j.basis, "<br>".join(lines))


def evidence_figure(info: EvidenceInfo) -> go.Figure:
    """Draw points with ranges as bars, a symbol and colour for each basis, and the exact line."""
    figure = go.Figure(layout={"template": "none"})
    figure.add_trace(
        go.Scatter(
            x=list(info.span),
            y=list(info.span),
            mode="lines",
            line={"color": GREY, "width": 1.5, "dash": "dash"},
            hoverinfo="skip",
            name="exact",
        )
    )
    for basis, colour in _COLOURS.items():
        some = [p for p in info.points if p.basis == basis]
        if some:
            figure.add_trace(_markers(some, basis, colour))
    style(figure, title=info.title, subtitle=info.subtitle)
    figure.update_layout(
        height=560,
        margin={"l": 10, "r": 20, "t": 80, "b": 100},
        legend={"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom"},
        hovermode="closest",
        dragmode=False,
    )
    # on a long axis powers of ten alone
    steps = (1, 2, 5) if info.span[1] / info.span[0] < 100 else (1,)
    ticks = log_ticks(*info.span, steps=steps)
    span = [log10(end) for end in info.span]
    for update, title in (
        (figure.update_xaxes, f"measured {info.what} (tokens/s)"),
        (figure.update_yaxes, f"predicted {info.what} (tokens/s)"),
    ):
        update(
            type="log",
            range=span,
            title=title,
            tickangle=0,
            tickvals=list(ticks),
            ticktext=[rate_text(t) for t in ticks],
        )
    return figure


def _markers(points: Sequence[JudgedPoint], basis: str, colour: str) -> go.Scatter:
    return go.Scatter(
        x=[p.measured for p in points],
        y=[p.predicted for p in points],
        mode="markers",
        name=BASIS_LABELS[basis],
        marker={"color": colour, "symbol": _SYMBOLS[basis], "size": 9, "opacity": 0.85},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [p.high - p.predicted for p in points],
            "arrayminus": [p.predicted - p.low for p in points],
            "color": "rgba(138,145,156,0.45)",
            "thickness": 1,
            "width": 0,
        },
        hovertext=[p.hover for p in points],
        hoverinfo="text",
    )
