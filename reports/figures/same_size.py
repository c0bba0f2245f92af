"""Shapes of one file size from shallow and wide to deep and thin: loss, speed and bytes; *_info decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from reports.figures import style
from reports.figures.axes import axis_range, byte_ticks
from reports.figures.design import shape_hover
from reports.figures.style import LEGEND_BELOW
from reports.palette import BLUE, GREEN, VERMILION
from sizer.units import format_bytes

if TYPE_CHECKING:
    from search.space.design import Design, Ranked

# Okabe and Ito's palette again; one more colour than a query may have formats.
FORMAT_COLOURS = (BLUE, GREEN, VERMILION, "#CC79A7", "#E69F00")


class SameSizeCurve(NamedTuple):
    """Shapes of one size in one format, shallowest first."""

    format: str
    colour: str
    layers: tuple[int, ...]
    above_percent: tuple[float, ...]
    low_percent: tuple[float, ...]
    high_percent: tuple[float, ...]
    decode_tokens_per_s: tuple[float, ...]  # empty: not known
    file_bytes: tuple[int, ...]
    symbols: tuple[str, ...]  # filled where the law was fitted and the budget is kept
    hovers: tuple[str, ...]


class SameSizeInfo(NamedTuple):
    """Every decision about the figure of shapes of one size."""

    curves: tuple[SameSizeCurve, ...]
    interval_of: str  # the format whose interval is drawn: several would hide each other
    most_percent: float
    title: str
    subtitle: str


def same_size_info(design: Design, curves: Sequence[tuple[str, Ranked]]) -> SameSizeInfo:
    """Decide what the figure of shapes of one size shows, a curve for each format."""
    drawn = tuple(
        _curve(design, format, ranked, FORMAT_COLOURS[n % len(FORMAT_COLOURS)])
        for n, (format, ranked) in enumerate(curves)
        if len(ranked.shapes)
    )
    every = [above for curve in drawn for above in curve.above_percent]
    best = min(drawn, key=lambda curve: min(curve.above_percent)).format if drawn else ""
    most = max(6.0, 1.3 * float(np.quantile(every, 0.75))) if every else 10.0
    return SameSizeInfo(
        curves=drawn,
        interval_of=best,
        most_percent=most,
        title=f"All {format_bytes(design.target_bytes)}",
        subtitle=(
            f"From shallow and wide to deep and thin, all in files of one size. Band: 80 % of {best}; open: "
            "extrapolated; cross: over the budget in memory or speed."
        ),
    )


def _curve(design: Design, format: str, ranked: Ranked, colour: str) -> SameSizeCurve:
    shapes = ranked.shapes
    kept = design.within(shapes)
    shape_terms = [
        ranked.outside[column] for column in ranked.outside if column.value in ("weights", "aspect")
    ]
    beyond = np.any(shape_terms, axis=0)
    speed = shapes.decode_tokens_per_s
    return SameSizeCurve(
        format=format,
        colour=colour,
        layers=tuple(shapes.grid.num_layers.tolist()),
        above_percent=tuple((100 * ranked.above).tolist()),
        low_percent=tuple((100 * ranked.low).tolist()),
        high_percent=tuple((100 * ranked.high).tolist()),
        decode_tokens_per_s=() if speed is None else tuple(speed.tolist()),
        file_bytes=tuple(shapes.file_bytes.tolist()),
        symbols=tuple(
            "x" if not fits else "circle-open" if out else "circle"
            for fits, out in zip(kept.tolist(), beyond.tolist(), strict=True)
        ),
        hovers=tuple(shape_hover(ranked, row, format) for row in range(len(shapes))),
    )


def same_size_figure(info: SameSizeInfo) -> go.Figure:
    """Draw three panels over depth: expected loss with its interval, decoding speed, file size."""
    speeds = any(curve.decode_tokens_per_s for curve in info.curves)
    heights = [0.5, 0.3, 0.2] if speeds else [0.7, 0.3]
    figure = make_subplots(
        rows=len(heights), cols=1, shared_xaxes=True, vertical_spacing=0.05, row_heights=heights
    )
    figure.update_layout(template="none")
    for curve in info.curves:
        if curve.format == info.interval_of:
            _add_interval(figure, curve)
        panels: list[tuple[Sequence[float], int]] = [(curve.above_percent, 1)]
        if speeds:
            panels.append((curve.decode_tokens_per_s, 2))
        panels.append((curve.file_bytes, len(heights)))
        for values, row in panels:
            figure.add_trace(_line(curve, values, first=row == 1), row=row, col=1)
    style(figure, title=info.title, subtitle="")
    figure.update_layout(
        height=680 if speeds else 560,
        margin={"l": 80, "r": 20, "t": 50, "b": 100},
        legend=LEGEND_BELOW,
        clickmode="event+select",
        dragmode="pan",
        hovermode="closest",
    )
    ticks = [1, 2, 4, 8, 16, 32, 64, 96]
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=list(map(str, ticks)), tickangle=0)
    figure.update_xaxes(title="layers, at one file size", row=len(heights), col=1)
    figure.update_yaxes(
        title="loss above the best", ticksuffix=" %", range=[-2, info.most_percent], row=1, col=1
    )
    if speeds:
        figure.update_yaxes(title="decode (tokens/s)", rangemode="tozero", row=2, col=1)
    files = [size for curve in info.curves for size in curve.file_bytes]
    ticks_of_files = byte_ticks(*axis_range(files), intervals=3)
    figure.update_yaxes(title="file (bytes)", **ticks_of_files, row=len(heights), col=1)
    return figure


def _add_interval(figure: go.Figure, curve: SameSizeCurve) -> None:
    figure.add_trace(
        go.Scatter(
            x=[*curve.layers, *reversed(curve.layers)],
            y=[*curve.high_percent, *reversed(curve.low_percent)],
            fill="toself",
            fillcolor=f"{curve.colour}2b",
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            legendgroup=curve.format,
            showlegend=False,
        ),
        row=1,
        col=1,
    )


def _line(curve: SameSizeCurve, values: Sequence[float], *, first: bool) -> go.Scatter:
    return go.Scatter(
        x=list(curve.layers),
        y=list(values),
        mode="lines+markers",
        line={"color": curve.colour, "width": 1.5},
        marker={"symbol": list(curve.symbols), "size": 8, "color": curve.colour},
        name=curve.format,
        legendgroup=curve.format,
        showlegend=first,
        hovertext=list(curve.hovers),
        hoverinfo="text",
    )
