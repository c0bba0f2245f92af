"""All shapes that a budget allows as a density, with the best of them marked; *_info decides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from reports.figures import style
from reports.figures.axes import byte_ticks, log_ticks
from reports.figures.style import LEGEND_BELOW
from reports.palette import BLUE, GREEN, GREY, VERMILION
from reports.text.wording import above_text, limit_bytes_text, outside_text, rate_text
from sizer.units import format_bytes, format_bytes_binary, format_count

if TYPE_CHECKING:
    from search.space.design import Design, Ranked
    from search.space.sized_shapes import Bools, DesignQuery, SizedShapes

_COLUMNS, _ROWS = 160, 90
# Losses further above the best are left out of the figure, and more of them where three in four are nearer.
_MOST_ABOVE = 0.25
# Room below the best, as a share of the figure.
_BELOW = 0.06

# Room for a mark's number, 12 x 12 pixels, as a share of the axes of a figure on a phone.
_TEXT_WIDTH, _TEXT_HEIGHT = 0.05, 0.04


class DesignAxis(NamedTuple):
    """Something shapes can be laid out by: its title, whether on a logarithm, its unit as plotly ticks."""

    title: str
    logarithmic: bool
    tickformat: str  # empty: bytes
    better: int = 0  # -1: less of it is better, 1: more


AXES = {
    "file": DesignAxis("deployed file size (bytes)", False, "", -1),
    "memory": DesignAxis("memory in use (bytes)", False, "", -1),
    "decode": DesignAxis("decode speed (tokens/s)", True, "~s", 1),
    "parameters": DesignAxis("number of parameters", True, "~s"),
    "depth": DesignAxis("layers", False, "d"),
    "width": DesignAxis("hidden size", True, "d"),
}


class Mark(NamedTuple):
    """One of the best shapes as it is drawn; `hover` holds our own words and numbers only."""

    row: int
    x: float
    above_percent: float
    hover: str


class DensityInfo(NamedTuple):
    """Every decision about the figure of all shapes."""

    axis: DesignAxis
    x_edges: tuple[float, ...]
    y_edges_percent: tuple[float, ...]
    counts: NDArray[np.float64]  # rows of y by columns of x; nan where there is nothing
    front: tuple[tuple[float, float], ...]  # (x, per cent) of the lowest losses at least so good on the axis
    front_name: str
    best: tuple[Mark, ...]
    picked: Mark | None
    limit: float | None  # the budget on this axis
    limit_text: str
    title: str
    subtitle: str


def density_info(
    design: Design, *, axis: str, best: Sequence[int], picked: int | None, rows: Bools | None = None
) -> DensityInfo:
    """Decide what the figure of all feasible shapes (those of `rows` only) shows."""
    ranked = design.feasible
    kept = np.ones(len(ranked.shapes), np.bool_) if rows is None else rows
    values = axis_values(ranked.shapes, axis)
    x, y = values[kept], 100 * ranked.above[kept]
    top = min(100 * _MOST_ABOVE, max(5.0, float(np.quantile(y, 0.75))))
    kind = AXES[axis]
    number = len(x)
    x, y = x[y <= top], y[y <= top]
    counts, x_edges, y_edges = np.histogram2d(
        x, y, bins=(_edges(x, kind.logarithmic), np.linspace(-_BELOW * top, top, _ROWS + 1))
    )
    limit = limit_of(design.query, axis)
    left_out = f"; {number - len(x):,} further above are not drawn" if len(x) < number else ""
    return DensityInfo(
        axis=kind,
        x_edges=tuple(map(float, x_edges)),
        y_edges_percent=tuple(map(float, y_edges)),
        counts=np.where(counts.T > 0, counts.T, np.nan),
        front=_front(x, y, kind.better) if kind.better else (),
        front_name="lowest at that speed" if axis == "decode" else "lowest at that size",
        best=tuple(_mark(design, row, values) for row in best),
        picked=None if picked is None else _mark(design, picked, values),
        limit=limit if limit is not None and _in_view(limit, x) else None,
        limit_text="" if limit is None else f"budget {_limit_text(limit, axis)}",
        title=f"{number:,} architectures",
        subtitle=f"Of the architectures within the budget; stronger colour: more of them{left_out}.",
    )


def axis_values(shapes: SizedShapes, axis: str) -> NDArray[np.float64]:
    """Return the values of shapes on one of AXES; `decode` is an error if no speed is known."""
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
    """Return the budget's limit on an axis."""
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
    return format_bytes(limit) if axis == "file" else limit_bytes_text(limit)


def _edges(values: NDArray[np.float64], logarithmic: bool) -> NDArray[np.float64]:
    low, high = float(values.min()), float(values.max())
    if logarithmic:
        return np.geomspace(low / 1.02, high * 1.02, _COLUMNS + 1)
    margin = 0.01 * (high - low) or 0.02 * high
    return np.linspace(low - margin, high + margin, _COLUMNS + 1)


def _in_view(limit: float, values: NDArray[np.float64]) -> bool:
    return 0.5 * float(values.min()) <= limit <= 1.5 * float(values.max())


def _front(x: NDArray[np.float64], y: NDArray[np.float64], better: int) -> tuple[tuple[float, float], ...]:
    """Return the places with the lowest y so far, starting at the best x."""
    order = np.lexsort((y, -better * x))
    lowest = np.minimum.accumulate(y[order])
    falls = np.concatenate([[True], lowest[1:] < lowest[:-1]])
    return tuple(zip(x[order][falls].tolist(), y[order][falls].tolist(), strict=True))


def _mark(design: Design, row: int, values: NDArray[np.float64]) -> Mark:
    return Mark(
        row=row,
        x=float(values[row]),
        above_percent=100 * float(design.feasible.above[row]),
        hover=shape_hover(design.feasible, row, design.format(row)),
    )


def shape_hover(ranked: Ranked, row: int, format: str) -> str:
    """Return a few lines about one shape as safe HTML: they hold only our words and numbers."""
    shapes, grid = ranked.shapes, ranked.shapes.grid
    speed = shapes.decode_tokens_per_s
    lines = (
        f"<b>{grid.num_layers[row]} x {grid.hidden_size[row]}</b>, "
        f"{grid.num_heads[row]} query / {grid.num_kv_heads[row]} KV heads, "
        f"FFN size {grid.intermediate_size[row]:,}",
        f"{format}, {format_bytes(int(shapes.file_bytes[row]))} file, "
        f"{format_count(int(shapes.parameters[row]))} parameters",
        f"{format_bytes_binary(int(shapes.memory_bytes[row]))} of memory"
        + (f", {rate_text(float(speed[row]))} tokens/s" if speed is not None else ""),
        f"loss {above_text(ranked.above[row], ranked.low[row], ranked.high[row])}",
        *((f"extrapolated: {beyond}",) if (beyond := outside_text(ranked.outside_of(row))) else ()),
    )
    return "<br>".join(lines)


def density_figure(info: DensityInfo) -> go.Figure:
    """Draw the number of shapes at each place, the best numbered; customdata of a mark is its row."""
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
                name=info.front_name,
                hoverinfo="skip",
            )
        )
    # the last first, so that the best lies on top
    figure.add_trace(_marks(info.best[::-1], BLUE, _numbers(info)[::-1], "the best"))
    if info.picked is not None:
        figure.add_trace(_marks((info.picked,), VERMILION, [""], "chosen", "circle-open"))
    if info.limit is not None:
        _draw_limit(figure, info)
    # the subtitle is too long for a phone: the page writes it below
    style(figure, title=info.title, subtitle="")
    figure.update_layout(
        height=500,
        margin={"l": 80, "r": 20, "t": 50, "b": 120},
        legend=LEGEND_BELOW,
        clickmode="event+select",
        dragmode="pan",
        hovermode="closest",
    )
    axis = info.axis
    figure.update_xaxes(
        title=axis.title,
        # plotly would make room for every shape and text that it is given
        range=_axis_range(info),
        type="log" if axis.logarithmic else "linear",
        tickformat=axis.tickformat or None,
    )
    if not axis.tickformat:
        figure.update_xaxes(**byte_ticks(*_axis_range(info), is_binary=axis is AXES["memory"]))
    if axis.logarithmic:
        low, high = (10.0**end for end in _axis_range(info))
        figure.update_xaxes(tickvals=log_ticks(low, high, steps=_steps(high / low)))
    low, high = info.y_edges_percent[0], info.y_edges_percent[-1]
    figure.update_yaxes(
        title="expected loss above the best", tickformat="~g", ticksuffix=" %", range=[low, high]
    )
    return figure


def _draw_limit(figure: go.Figure, info: DensityInfo) -> None:
    """Draw the budget as a line with its label, on the side where no shapes are."""
    assert info.limit is not None
    figure.add_shape(
        type="line",
        xref="x",
        yref="paper",
        x0=info.limit,
        x1=info.limit,
        y0=0,
        y1=1,
        line={"color": VERMILION, "dash": "dash", "width": 2},
    )
    figure.add_annotation(
        text=info.limit_text,
        font={"color": VERMILION},
        xref="x",
        yref="paper",
        # on a logarithmic axis plotly places lines by their value, but texts by its logarithm
        x=math.log10(info.limit) if info.axis.logarithmic else info.limit,
        y=1,
        yanchor="bottom",
        showarrow=False,
        # a speed's limit lies to the left of all shapes, the others to the right
        xanchor="left" if info.axis.better > 0 else "right",
    )


def _axis_range(info: DensityInfo) -> list[float]:
    """Return the ends of the horizontal axis: all shapes and the limit, as plotly's axis counts."""
    ends = [info.x_edges[0], info.x_edges[-1], *(() if info.limit is None else (info.limit,))]
    low, high = min(ends), max(ends)
    if info.axis.logarithmic:
        return [math.log10(low) - 0.01, math.log10(high) + 0.01]
    return [low - 0.01 * (high - low), high + 0.01 * (high - low)]


def _steps(ratio: float) -> tuple[float, ...]:
    """Return the ticks of a decade that a logarithmic axis has room for, by the ratio of its ends."""
    if ratio >= 20:
        return (1, 2, 5)
    return (1, 2, 3, 5, 7) if ratio >= 3 else (1, 1.2, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8)


def _numbers(info: DensityInfo) -> list[str]:
    """Return the text of each of the best; empty where it would lie on that of a better one on a phone."""
    (left, right), (low, high) = _axis_range(info), (info.y_edges_percent[0], info.y_edges_percent[-1])
    texts: list[str] = []
    written: list[tuple[float, float]] = []
    for number, mark in enumerate(info.best, 1):
        x = math.log10(mark.x) if info.axis.logarithmic else mark.x
        at = (x - left) / (right - left), (mark.above_percent - low) / (high - low)
        is_free = all(abs(at[0] - x) > _TEXT_WIDTH or abs(at[1] - y) > _TEXT_HEIGHT for x, y in written)
        texts.append(str(number) if is_free else "")
        if is_free:
            written.append(at)
    return texts


def _marks(
    marks: Sequence[Mark], colour: str, texts: list[str], name: str, symbol: str = "circle"
) -> go.Scatter:
    return go.Scatter(
        x=[mark.x for mark in marks],
        y=[mark.above_percent for mark in marks],
        mode="markers+text",
        text=texts,
        textposition="middle center",
        textfont={"size": 10, "color": "white"},
        marker={
            "symbol": symbol,
            "size": 24 if symbol == "circle-open" else 17,
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
