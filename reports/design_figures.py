"""Figures of a budget's shapes: all of them as a density with the best marked, and shapes of one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from reports.figures import BLUE, GREEN, GREY, VERMILION, style
from reports.wording import above_text, outside_text, rate_text
from sizer.units import format_bytes, format_bytes_binary, format_count

if TYPE_CHECKING:
    from search.design import Design, Ranked
    from search.sized_shapes import Bools, DesignQuery, SizedShapes

# Okabe and Ito's palette again; one more colour than a query may have formats.
FORMAT_COLOURS = (BLUE, GREEN, VERMILION, "#CC79A7", "#E69F00")

_COLUMNS, _ROWS = 160, 90
# Losses further above the best are left out of the figure; less where nine in ten are nearer.
_MOST_ABOVE = 0.5
_BELOW = 0.01


class Axis(NamedTuple):
    """Something shapes can be laid out by: its title, whether on a logarithm, its unit as plotly ticks."""

    title: str
    logarithmic: bool
    tickformat: str
    ticksuffix: str = ""


AXES = {
    "file": Axis("deployed file size (bytes)", False, "~s", "B"),
    "memory": Axis("memory in use (bytes)", False, "~s", "B"),
    "decode": Axis("decode speed (tokens/s)", True, "~s"),
    "parameters": Axis("number of parameters", True, "~s"),
    "depth": Axis("layers", False, "d"),
    "width": Axis("width (hidden size)", True, "d"),
}


class Mark(NamedTuple):
    """One of the best shapes as it is drawn; `hover` holds our own words and numbers only."""

    row: int
    x: float
    above_percent: float
    hover: str


class DensityInfo(NamedTuple):
    """Every decision about the figure of all shapes."""

    axis: Axis
    x_edges: tuple[float, ...]
    y_edges_percent: tuple[float, ...]
    counts: NDArray[np.float64]  # rows of y by columns of x; nan where there is nothing
    front: tuple[tuple[float, float], ...]  # (file bytes, per cent), empty but for the axis "file"
    best: tuple[Mark, ...]
    picked: Mark | None
    limit: float | None  # the budget on this axis
    limit_text: str
    title: str
    subtitle: str


def density_info(
    design: Design, *, axis: str, best: Sequence[int], picked: int | None, rows: Bools | None = None
) -> DensityInfo:
    """Decisions about all feasible shapes (those of `rows` only) by what they come to and their loss."""
    ranked = design.feasible
    kept = np.ones(len(ranked.shapes), np.bool_) if rows is None else rows
    values = axis_values(ranked.shapes, axis)
    x, y = values[kept], 100 * ranked.above[kept]
    top = 100 * min(_MOST_ABOVE, max(0.05, float(np.quantile(y / 100, 0.9))))
    kind = AXES[axis]
    counts, x_edges, y_edges = np.histogram2d(
        x, y, bins=(_edges(x, kind.logarithmic), np.linspace(-100 * _BELOW, top, _ROWS + 1))
    )
    inside = int(counts.sum())
    front = () if axis != "file" or rows is not None else design.front()
    limit = limit_of(design.query, axis)
    left_out = f"; {len(x) - inside:,} further above are not drawn" if inside < len(x) else ""
    return DensityInfo(
        axis=kind,
        x_edges=tuple(map(float, x_edges)),
        y_edges_percent=tuple(map(float, y_edges)),
        counts=np.where(counts.T > 0, counts.T, np.nan),
        front=tuple((float(values[r]), 100 * float(ranked.above[r])) for r in front),
        best=tuple(_mark(design, row, values) for row in best),
        picked=None if picked is None else _mark(design, picked, values),
        limit=limit if limit is not None and _in_view(limit, x) else None,
        limit_text="" if limit is None else f"budget {_limit_text(limit, axis)}",
        title=f"{len(x):,} architectures within the budget",
        subtitle=f"darker: more of them{left_out}",
    )


def axis_values(shapes: SizedShapes, axis: str) -> NDArray[np.float64]:
    """What shapes come to on one of AXES; `decode` where no speed is known is an error."""
    if axis == "decode":
        assert shapes.decode_tokens_per_s is not None
        return shapes.decode_tokens_per_s
    columns = {
        "file": shapes.file_bytes,
        "memory": shapes.memory_bytes,
        "parameters": shapes.parameters,
        "depth": shapes.grid.num_layers,
        "width": shapes.grid.hidden_size,
    }
    return columns[axis].astype(np.float64)


def limit_of(query: DesignQuery, axis: str) -> float | None:
    """The budget's limit on an axis."""
    budget = query.budget
    limits = {
        "file": budget.max_size_bytes,
        "memory": budget.max_memory_bytes,
        "decode": budget.min_decode_tokens_per_s,
    }
    return limits.get(axis)


def _limit_text(limit: float, axis: str) -> str:
    if axis == "decode":
        return f"{rate_text(limit)} tokens/s"
    return format_bytes(limit) if axis == "file" else format_bytes_binary(limit)


def _edges(values: NDArray[np.float64], logarithmic: bool) -> NDArray[np.float64]:
    low, high = float(values.min()), float(values.max())
    if logarithmic:
        return np.geomspace(low / 1.02, high * 1.02, _COLUMNS + 1)
    margin = 0.01 * (high - low) or 0.02 * high
    return np.linspace(low - margin, high + margin, _COLUMNS + 1)


def _in_view(limit: float, values: NDArray[np.float64]) -> bool:
    return 0.5 * float(values.min()) <= limit <= 1.5 * float(values.max())


def _mark(design: Design, row: int, values: NDArray[np.float64]) -> Mark:
    return Mark(
        row=row,
        x=float(values[row]),
        above_percent=100 * float(design.feasible.above[row]),
        hover=_hover(design.feasible, row, design.format(row)),
    )


def _hover(ranked: Ranked, row: int, format: str) -> str:
    shapes, grid = ranked.shapes, ranked.shapes.grid
    speed = shapes.decode_tokens_per_s
    lines = (
        f"<b>{grid.num_layers[row]} x {grid.hidden_size[row]}</b>, "
        f"{grid.num_heads[row]}/{grid.num_kv_heads[row]} heads, MLP {grid.intermediate_size[row]:,}",
        f"{format}, {format_bytes(int(shapes.file_bytes[row]))} file, "
        f"{format_count(int(shapes.parameters[row]))} parameters",
        f"{format_bytes_binary(int(shapes.memory_bytes[row]))} of memory"
        + (f", {rate_text(float(speed[row]))} tokens/s" if speed is not None else ""),
        f"loss {above_text(ranked.above[row], ranked.low[row], ranked.high[row])}",
        *((f"law not fitted there: {beyond}",) if (beyond := outside_text(ranked.outside_of(row))) else ()),
    )
    return "<br>".join(lines)


def density_figure(info: DensityInfo) -> go.Figure:
    """How many shapes there are at each place, the best numbered; customdata of a mark is its row."""
    figure = go.Figure(layout={"template": "none"})
    figure.add_trace(
        go.Heatmap(
            x=list(info.x_edges),
            y=list(info.y_edges_percent),
            z=np.log10(info.counts),
            customdata=info.counts,
            colorscale=[[0, "rgba(138,145,156,0.18)"], [1, "rgba(138,145,156,0.95)"]],
            showscale=False,
            hovertemplate="%{customdata:,} architectures about here<extra></extra>",
        )
    )
    if info.front:
        figure.add_trace(
            go.Scatter(
                x=[x for x, _ in info.front],
                y=[y for _, y in info.front],
                mode="lines",
                line={"shape": "hv", "color": GREEN, "width": 2},
                name="lowest expected of any smaller file",
                hoverinfo="skip",
            )
        )
    figure.add_trace(_marks(info.best, BLUE, [str(n + 1) for n in range(len(info.best))], "the best"))
    if info.picked is not None:
        figure.add_trace(_marks((info.picked,), VERMILION, [""], "chosen", "circle-open"))
    if info.limit is not None:
        # the file's and memory's limits lie to the right of all shapes, a speed's to the left
        figure.add_vline(
            x=info.limit,
            line={"color": VERMILION, "dash": "dash", "width": 2},
            annotation={"text": info.limit_text, "font": {"color": VERMILION}},
            annotation_position="top left" if not info.axis.logarithmic else "top right",
        )
    style(figure, title=info.title, subtitle=info.subtitle)
    figure.update_layout(
        height=500,
        margin={"l": 80, "r": 30, "t": 100, "b": 70},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
        clickmode="event+select",
        dragmode="pan",
        hovermode="closest",
    )
    axis = info.axis
    figure.update_xaxes(
        title=axis.title,
        type="log" if axis.logarithmic else "linear",
        tickformat=axis.tickformat,
        ticksuffix=axis.ticksuffix,
    )
    if axis.logarithmic:
        figure.update_xaxes(dtick="D2")
    figure.update_yaxes(title="expected loss above the best", tickformat="~g", ticksuffix=" %")
    return figure


def _marks(
    marks: Sequence[Mark], colour: str, texts: list[str], name: str, symbol: str = "circle"
) -> go.Scatter:
    return go.Scatter(
        x=[mark.x for mark in marks],
        y=[mark.above_percent for mark in marks],
        mode="markers+text",
        text=texts,
        textposition="bottom center",
        marker={
            "symbol": symbol,
            "size": 20 if symbol == "circle-open" else 12,
            "color": colour,
            "line": {
                "color": colour if symbol == "circle-open" else GREY,
                "width": 3 if texts == [""] else 1,
            },
        },
        hovertext=[mark.hover for mark in marks],
        hoverinfo="text",
        customdata=[mark.row for mark in marks],
        name=name,
    )


class Curve(NamedTuple):
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

    curves: tuple[Curve, ...]
    most_percent: float
    title: str
    subtitle: str


def same_size_info(design: Design, curves: Sequence[tuple[str, Ranked]]) -> SameSizeInfo:
    """Decisions about shapes of one size, of each format its own curve."""
    drawn = tuple(
        _curve(design, format, ranked, FORMAT_COLOURS[n % len(FORMAT_COLOURS)])
        for n, (format, ranked) in enumerate(curves)
        if len(ranked.shapes)
    )
    every = [above for curve in drawn for above in curve.above_percent]
    most = max(6.0, 1.3 * float(np.quantile(every, 0.75))) if every else 10.0
    return SameSizeInfo(
        curves=drawn,
        most_percent=most,
        title=f"From shallow and wide to deep and thin, all {format_bytes(design.target_bytes)}",
        subtitle="open: outside of what the law was fitted to; cross: over the budget in memory or speed",
    )


def _curve(design: Design, format: str, ranked: Ranked, colour: str) -> Curve:
    shapes = ranked.shapes
    kept = design.within(shapes)
    shape_terms = [ranked.outside[term] for term in ranked.outside if term.value in ("depth", "width")]
    beyond = np.any(shape_terms, axis=0)
    speed = shapes.decode_tokens_per_s
    return Curve(
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
        hovers=tuple(_hover(ranked, row, format) for row in range(len(shapes))),
    )


def same_size_figure(info: SameSizeInfo) -> go.Figure:
    """Three panels over one axis of depth: expected loss with its interval, decoding speed, file size."""
    speeds = any(curve.decode_tokens_per_s for curve in info.curves)
    heights = [0.5, 0.3, 0.2] if speeds else [0.7, 0.3]
    figure = make_subplots(
        rows=len(heights), cols=1, shared_xaxes=True, vertical_spacing=0.05, row_heights=heights
    )
    figure.update_layout(template="none")
    for curve in info.curves:
        _add_interval(figure, curve)
        panels: list[tuple[Sequence[float], int]] = [(curve.above_percent, 1)]
        if speeds:
            panels.append((curve.decode_tokens_per_s, 2))
        panels.append((curve.file_bytes, len(heights)))
        for values, row in panels:
            figure.add_trace(_line(curve, values, first=row == 1), row=row, col=1)
    style(figure, title=info.title, subtitle=info.subtitle)
    figure.update_layout(
        height=680 if speeds else 560,
        margin={"l": 80, "r": 30, "t": 100, "b": 60},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.01, "yanchor": "bottom"},
        clickmode="event+select",
        dragmode="pan",
        hovermode="closest",
    )
    ticks = [1, 2, 4, 8, 16, 32, 64, 96]
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=list(map(str, ticks)))
    figure.update_xaxes(title="layers, at one file size", row=len(heights), col=1)
    figure.update_yaxes(
        title="loss above the best", ticksuffix=" %", range=[-2, info.most_percent], row=1, col=1
    )
    if speeds:
        figure.update_yaxes(title="decode (tokens/s)", rangemode="tozero", row=2, col=1)
    figure.update_yaxes(title="file (bytes)", tickformat="~s", ticksuffix="B", row=len(heights), col=1)
    return figure


def _add_interval(figure: go.Figure, curve: Curve) -> None:
    figure.add_trace(
        go.Scatter(
            x=[*curve.layers, *reversed(curve.layers)],
            y=[*curve.high_percent, *reversed(curve.low_percent)],
            fill="toself",
            fillcolor=f"{curve.colour}22",
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            legendgroup=curve.format,
            showlegend=False,
        ),
        row=1,
        col=1,
    )


def _line(curve: Curve, values: Sequence[float], *, first: bool) -> go.Scatter:
    options: dict[str, Any] = {"hovertext": list(curve.hovers), "hoverinfo": "text"}
    return go.Scatter(
        x=list(curve.layers),
        y=list(values),
        mode="lines+markers",
        line={"color": curve.colour, "width": 1.5},
        marker={"symbol": list(curve.symbols), "size": 8, "color": curve.colour},
        name=curve.format,
        legendgroup=curve.format,
        showlegend=first,
        **options,
    )
