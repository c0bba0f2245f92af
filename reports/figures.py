"""The figure of a study's frontier, and the style of all figures: *_info decides, *_figure only draws.

Backgrounds are transparent and no text has a colour of its own, so that the page around a figure (a report,
the explorer, light or dark) sets both. Lines and outlines are a grey that shows on either.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

import plotly.graph_objects as go

from reports.proxies import proxy_text
from reports.wording import decode_text, rate_text, score_text, shape_text
from search.pareto import frontier
from search.results import SearchResult, TrialRecord
from sizer.units import format_bytes, format_count

# For plotly.js: no logo, and no button that uploads the figure (plotly.js 4 shows one unless told otherwise).
FIGURE_CONFIG = {"displaylogo": False, "showSendToCloud": False, "responsive": True}

GREY = "#8a919c"
# Okabe and Ito's colour-blind-safe palette (Color Universal Design, 2008)
BLUE, GREEN, VERMILION = "#0072B2", "#009E73", "#D55E00"
_FONT = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 14}

_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star", "hexagon", "cross", "x")
_MOST_LABELS = 12
# A budget further right than this many times the largest file would squeeze the points into a corner.
_BUDGET_IN_VIEW = 1.5
_X_MARGIN = 0.06
# Share of the colour bar, on its logarithmic scale, that a tick keeps from the ends.
_TICK_GAP = 0.11


class FrontierPoint(NamedTuple):
    """One trained model as it is drawn; `hover` is already safe HTML."""

    trial: int
    file_bytes: int
    val_bits_per_byte: float
    standard_error: float
    decode_tokens_per_s: float | None
    format: str
    hover: str


class FrontierInfo(NamedTuple):
    """Every decision about the frontier figure."""

    front: tuple[FrontierPoint, ...]  # smallest file first
    dominated: tuple[FrontierPoint, ...]
    symbols: tuple[tuple[str, str], ...]  # (format, marker symbol), formats in order of their names
    size_range_bytes: tuple[float, float]
    colour_ticks_tokens_per_s: tuple[float, ...]  # ends and round values between; empty: no speed is known
    budget_bytes: float | None  # None: no budget, or it lies far outside the view
    subtitle: str
    labels: bool  # trial numbers beside the frontier's points
    notice: str  # shown in place of points; empty when there are some


def frontier_info(result: SearchResult) -> FrontierInfo:
    """Decisions about the frontier figure of a study: file bytes against validation bits per byte."""
    on_front = frontier(result)
    numbers = {record.number for record in on_front}
    front = tuple(_point(record, on_frontier=True) for record in on_front)
    dominated = tuple(_point(r, on_frontier=False) for r in result.trained if r.number not in numbers)
    points = (*front, *dominated)
    budget = result.budget.get("max_size_bytes")
    largest = max((p.file_bytes for p in points), default=0)
    in_view = budget is not None and points and budget <= _BUDGET_IN_VIEW * largest
    shown = budget if in_view else None
    return FrontierInfo(
        front=front,
        dominated=dominated,
        symbols=_symbols(p.format for p in points),
        size_range_bytes=_size_range(points, shown),
        colour_ticks_tokens_per_s=_colour_ticks(points),
        budget_bytes=shown,
        subtitle=_subtitle(result, len(front), len(dominated), None if in_view else budget),
        labels=len(front) <= _MOST_LABELS,
        notice="" if points else "No model has been trained yet.",
    )


def frontier_figure(info: FrontierInfo) -> go.Figure:
    """Scatter of trained models, the frontier joined by a step line; customdata of a point is its trial."""
    figure = go.Figure(layout={"template": "none"})
    if info.front:
        figure.add_trace(_step_line(info))
    for name, symbol in info.symbols:
        for points, on_frontier in ((info.dominated, False), (info.front, True)):
            group = [p for p in points if p.format == name]
            if group:
                figure.add_trace(_markers(group, symbol, info, on_frontier))
        figure.add_trace(_legend_entry(name, symbol))
    if info.budget_bytes is not None:
        figure.add_vline(
            x=info.budget_bytes,
            line={"color": VERMILION, "dash": "dash", "width": 2},
            annotation={"text": f"budget {format_bytes(info.budget_bytes)}", "font": {"color": VERMILION}},
            annotation_position="top left",
        )
    if info.notice:
        figure.add_annotation(text=info.notice, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
    style(figure, title="Accuracy against file size", subtitle=info.subtitle)
    figure.update_layout(
        height=520,
        margin={"l": 80, "r": 30, "t": 90, "b": 70},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
        clickmode="event+select",
        dragmode="pan",
        hovermode="closest",
    )
    figure.update_xaxes(title="deployed file size (bytes)", tickformat="~s", ticksuffix="B")
    figure.update_xaxes(range=list(info.size_range_bytes))
    figure.update_yaxes(title="validation bits per byte (lower is better)", tickformat=".3~f")
    if info.colour_ticks_tokens_per_s:
        figure.update_layout(coloraxis=_colour_axis(info.colour_ticks_tokens_per_s))
    return figure


def _point(record: TrialRecord, *, on_frontier: bool) -> FrontierPoint:
    proxy, decode = record.proxy, record.decode_tokens_per_s
    assert proxy is not None, record.number
    assert proxy.val_bits_per_byte is not None, record.number
    lines = (
        f"<b>trial {record.number}</b>{', on the frontier' if on_frontier else ''}",
        escape(shape_text(record.candidate.architecture)),
        f"{escape(record.candidate.format)}, {format_bytes(record.file_bytes)} file, "
        f"{format_count(record.num_parameters)} parameters",
        f"{score_text(record)} bits per byte after {proxy.steps:,} steps",
        *((f"of a proxy: {proxy_text(record.scaled, proxy.num_parameters)}",) if record.scaled else ()),
        f"decode {decode_text(decode)} tokens/s" if decode else "decode speed not known (no device)",
    )
    return FrontierPoint(
        trial=record.number,
        file_bytes=record.file_bytes,
        val_bits_per_byte=proxy.val_bits_per_byte,
        standard_error=proxy.val_bits_per_byte_sd or 0.0,
        decode_tokens_per_s=decode.value if decode else None,
        format=record.candidate.format,
        hover="<br>".join(lines),
    )


def _symbols(formats: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, _SYMBOLS[i % len(_SYMBOLS)]) for i, name in enumerate(sorted(set(formats))))


def _colour_ticks(points: Iterable[FrontierPoint]) -> tuple[float, ...]:
    speeds = [p.decode_tokens_per_s for p in points if p.decode_tokens_per_s is not None]
    if not speeds:
        return ()
    low, high = min(speeds), max(speeds)
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    # a round value right beside an end would be printed over it
    gap = (high / low) ** _TICK_GAP
    between = (m * 10.0**p for p in powers for m in (1, 2, 5))
    return (low, *(v for v in between if low * gap < v < high / gap), *((high,) if high > low else ()))


def _size_range(points: tuple[FrontierPoint, ...], budget_bytes: float | None) -> tuple[float, float]:
    sizes = [float(p.file_bytes) for p in points] + ([] if budget_bytes is None else [budget_bytes])
    if not sizes:
        return (0.0, 1e6)
    # with a single size there is no span: take a share of the size itself
    margin = _X_MARGIN * (max(sizes) - min(sizes)) or 0.2 * max(sizes)
    return (min(sizes) - margin, max(sizes) + margin)


def _subtitle(result: SearchResult, on_front: int, dominated: int, hidden_budget: float | None) -> str:
    texts = [f"study {escape(result.study)}"]
    if result.device:
        texts.append(f"on {escape(result.device)}")
    texts.append(f"{on_front} on the frontier, {dominated} dominated (faint)")
    if hidden_budget is not None:
        texts.append(f"size budget {format_bytes(hidden_budget)}")
    return " · ".join(texts)


def _step_line(info: FrontierInfo) -> go.Scatter:
    # what the best model of at most that size reaches: flat up to the next point, and on past the last
    xs = [float(p.file_bytes) for p in info.front] + [info.size_range_bytes[1]]
    ys = [p.val_bits_per_byte for p in info.front]
    return go.Scatter(
        x=xs,
        y=[*ys, ys[-1]],
        mode="lines",
        line={"shape": "hv", "color": GREY, "width": 2},
        name="frontier",
        hoverinfo="skip",
    )


def _markers(points: list[FrontierPoint], symbol: str, info: FrontierInfo, on_frontier: bool) -> go.Scatter:
    coloured = bool(info.colour_ticks_tokens_per_s)
    speeds = [p.decode_tokens_per_s for p in points]
    colours = [None if speed is None else log10(speed) for speed in speeds] if coloured else BLUE
    marker = {
        "symbol": symbol,
        "size": 14 if on_frontier else 10,
        "opacity": 1 if on_frontier else 0.55,
        "color": colours,
        "line": {"color": GREY, "width": 1.5},
        **({"coloraxis": "coloraxis"} if coloured else {}),
    }
    errors = {
        "type": "data",
        "array": [p.standard_error for p in points],
        "color": GREY,
        "thickness": 1.5 if on_frontier else 0.8,
        "width": 4,
    }
    return go.Scatter(
        x=[p.file_bytes for p in points],
        y=[p.val_bits_per_byte for p in points],
        mode="markers+text" if on_frontier and info.labels else "markers",
        text=[f" {p.trial}" for p in points],
        textposition="top right",
        marker=marker,
        error_y=errors,
        hovertext=[p.hover for p in points],
        hoverinfo="text",
        customdata=[p.trial for p in points],
        legendgroup=points[0].format,
        name=points[0].format,
        showlegend=False,
    )


def _colour_axis(ticks: tuple[float, ...]) -> dict[str, object]:
    """Colours by the logarithm: small models are many times faster, on a linear scale the rest look alike."""
    low, high = log10(ticks[0]), log10(ticks[-1])
    return {
        "colorscale": "Viridis",
        "cmin": low if high > low else low - 1,  # a single speed has no span
        "cmax": high,
        "colorbar": {
            "title": {"text": "decode<br>tokens/s"},
            "tickvals": [log10(tick) for tick in ticks],
            "ticktext": [rate_text(tick) for tick in ticks],
            "thickness": 16,
            "outlinewidth": 0,
        },
    }


def _legend_entry(name: str, symbol: str) -> go.Scatter:
    # the points take their colour from their speed, so the legend shows each format's symbol in grey
    marker = {"symbol": symbol, "size": 12, "color": GREY}
    return go.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        marker=marker,
        name=escape(name),
        legendgroup=name,
        hoverinfo="skip",
    )


def style(figure: go.Figure, *, title: str, subtitle: str) -> None:
    """What all figures share: fonts, transparent backgrounds, grid."""
    figure.update_layout(
        title={
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
        font=_FONT,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={"align": "left", "font": {"size": 13}},
    )
    figure.update_xaxes(
        gridcolor="rgba(138,145,156,0.25)", zeroline=False, automargin=True, title_standoff=12
    )
    figure.update_yaxes(
        gridcolor="rgba(138,145,156,0.25)", zeroline=False, automargin=True, title_standoff=12
    )
