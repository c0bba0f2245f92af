"""All shapes that a budget allows as a density, with the best of them marked; *_info decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from reports.figures import style
from reports.palette import BLUE, GREEN, GREY, VERMILION
from reports.wording import above_text, outside_text, rate_text
from sizer.units import format_bytes, format_bytes_binary, format_count

if TYPE_CHECKING:
    from search.space.design import Design, Ranked
    from search.space.sized_shapes import Bools, DesignQuery, SizedShapes

_COLUMNS, _ROWS = 160, 90
# Losses further above the best are left out of the figure, and more of them where three in four are nearer.
_MOST_ABOVE = 0.25
# Room below the best, as a share of the figure.
_BELOW = 0.06


class Axis(NamedTuple):
    """Something shapes can be laid out by: its title, whether on a logarithm, its unit as plotly ticks."""

    title: str
    logarithmic: bool
    tickformat: str
    ticksuffix: str = ""
    better: int = 0  # -1: less of it is better, 1: more


AXES = {
    "file": Axis("deployed file size (bytes)", False, "~s", "B", -1),
    "memory": Axis("memory in use (bytes)", False, "~s", "B", -1),
    "decode": Axis("decode speed (tokens/s)", True, "~s", "", 1),
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
    """Decisions about all feasible shapes (those of `rows` only) by what they come to and their loss."""
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
        subtitle=f"Of the architectures within the budget; darker: more of them{left_out}.",
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


def _front(x: NDArray[np.float64], y: NDArray[np.float64], better: int) -> tuple[tuple[float, float], ...]:
    """Places that nothing else is as low at, from the best of x on."""
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
    """All about one shape in a few lines, as safe HTML: they hold our own words and numbers only."""
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
                name=info.front_name,
                hoverinfo="skip",
            )
        )
    numbers = [str(n + 1) for n in range(len(info.best))]
    # the last first, so that the best lies on top
    figure.add_trace(_marks(info.best[::-1], BLUE, numbers[::-1], "the best"))
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
    # what the subtitle says is too long for a phone: the page writes it below
    style(figure, title=info.title, subtitle="")
    figure.update_layout(
        height=500,
        margin={"l": 80, "r": 20, "t": 50, "b": 120},
        legend={"orientation": "h", "x": 0, "y": -0.18, "yanchor": "top"},
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
    low, high = info.y_edges_percent[0], info.y_edges_percent[-1]
    figure.update_yaxes(
        title="expected loss above the best", tickformat="~g", ticksuffix=" %", range=[low, high]
    )
    return figure


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
