"""The figure of one model's speed on a device: each rate with its range."""

from __future__ import annotations

from math import log10
from typing import TYPE_CHECKING, NamedTuple

import plotly.graph_objects as go

from reports.figures.axes import log_ticks
from reports.figures.style import style
from reports.palette import BLUE, GREY
from reports.text.wording import range_text, rate_text

if TYPE_CHECKING:
    from sizer.model_estimate import Estimate

# Room on either side, as a factor: the axis is logarithmic.
_ROOM = 1.6


class SpeedRow(NamedTuple):
    """One rate in tokens per second."""

    label: str
    value: float
    low: float
    high: float
    text: str
    text_on_right: bool  # of its point, where there is more room


class SpeedInfo(NamedTuple):
    """Every decision about the figure."""

    rows: tuple[SpeedRow, ...]
    rate_range: tuple[float, float]
    ticks: tuple[float, ...]
    subtitle: str


def speed_info(estimate: Estimate) -> SpeedInfo | None:
    """Decide what the figure shows; None without a device of known speed."""
    if estimate.latency is None:
        return None
    rates = {
        "decode": estimate.latency.decode_tokens_per_s,
        "prefill": estimate.latency.prefill_tokens_per_s,
    }
    low = min(rate.low for rate in rates.values()) / _ROOM
    high = max(rate.high for rate in rates.values()) * _ROOM
    rows = tuple(
        SpeedRow(
            label=f"{label}<br>{rate.basis.label}",
            value=rate.value,
            low=rate.low,
            high=rate.high,
            text=f"{rate_text(rate.value)} ({range_text(rate, rate_text)})",
            text_on_right=rate.value**2 < low * high,
        )
        for label, rate in rates.items()
    )
    device = estimate.device.name if estimate.device else "this device"
    return SpeedInfo(
        rows=rows,
        rate_range=(low, high),
        ticks=log_ticks(low, high),
        subtitle=f"on {device}; with 80 % ranges",
    )


def speed_figure(info: SpeedInfo) -> go.Figure:
    """Draw a dot and its range for each rate, on a logarithmic axis."""
    figure = go.Figure(layout={"template": "none"})
    figure.add_trace(
        go.Scatter(
            x=[row.value for row in info.rows],
            y=[row.label for row in info.rows],
            mode="markers+text",
            marker={"size": 13, "color": BLUE},
            text=[row.text for row in info.rows],
            textposition=["top right" if row.text_on_right else "top left" for row in info.rows],
            cliponaxis=False,
            textfont={"size": 12.5},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [row.high - row.value for row in info.rows],
                "arrayminus": [row.value - row.low for row in info.rows],
                "color": GREY,
                "thickness": 2,
                "width": 6,
            },
            hoverinfo="text",
        )
    )
    style(figure, title="Speed", subtitle=info.subtitle)
    figure.update_layout(
        height=120 + 70 * len(info.rows), margin={"l": 10, "r": 10, "t": 80, "b": 50}, dragmode=False
    )
    figure.update_xaxes(
        title="tokens per second",
        title_font={"size": 13},
        type="log",
        range=[log10(end) for end in info.rate_range],
        tickvals=list(info.ticks),
        ticktext=[rate_text(tick) for tick in info.ticks],
        tickangle=0,
    )
    figure.update_yaxes(autorange=False, range=[len(info.rows) - 0.5, -0.75], showgrid=False, ticksuffix=" ")
    return figure
