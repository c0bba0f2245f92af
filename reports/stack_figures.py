"""Figures of stacked bars: memory against what the device gives, and where a decoding step's time goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import plotly.graph_objects as go

from reports.breakdowns import BINARY_UNITS, round_ticks
from reports.figures import BLUE, GREEN, GREY, VERMILION, style
from reports.wording import STEP_NAMES, fit_text, share_text
from sizer.units import format_bytes_binary, format_seconds

if TYPE_CHECKING:
    from sizer.estimate import Estimate
    from sizer.step_time import StepTime

_STEP_PARTS = {"weights": BLUE, "layers": GREEN, "kv_cache": VERMILION, "fixed": GREY}


class StackPart(NamedTuple):
    """One part of every bar of a stack: its name, its colour, and its value and hover text in each bar."""

    name: str
    colour: str
    values: tuple[float, ...]
    hover: tuple[str, ...]


class StackInfo(NamedTuple):
    """Every decision about a figure of stacked bars."""

    title: str
    subtitle: str
    bars: tuple[str, ...]
    parts: tuple[StackPart, ...]
    axis_title: str
    axis_end: float
    ticks: tuple[tuple[float, str], ...]
    limit: float | None


def memory_stack_info(sized: Estimate) -> StackInfo:
    """Decisions about memory by part against what the device lets one application use."""
    m = sized.memory
    parts = {
        "weights": (BLUE, m.weights_bytes),
        "KV cache": (VERMILION, m.kv_cache_bytes),
        "compute buffer": (GREEN, m.compute_bytes),
        "output, overhead": (GREY, m.output_bytes + m.overhead_bytes),
    }
    budget = m.budget_bytes
    end = 1.06 * max(m.total_bytes, budget or 0)
    return StackInfo(
        title="Memory against the device" if budget else "Memory",
        subtitle=fit_text(m.total_bytes, budget) if budget else "no budget known: choose a device",
        bars=("",),
        parts=tuple(
            StackPart(
                f"{name} {format_bytes_binary(size)}",
                colour,
                (float(size),),
                (f"{name}: {size:,} bytes, {share_text(size, m.total_bytes)}",),
            )
            for name, (colour, size) in parts.items()
        ),
        axis_title=f"memory (dashed: usable, {format_bytes_binary(budget)})" if budget else "memory",
        axis_end=end,
        ticks=round_ticks(end, BINARY_UNITS, format_bytes_binary),
        limit=float(budget) if budget else None,
    )


def step_stack_info(now: StepTime, full: StepTime | None, context_tokens: int) -> StackInfo:
    """Decisions about the time of a decoding step by part, as estimated and with the context full."""
    bars = {"estimated": now} | ({f"at {context_tokens:,} tokens": full} if full else {})
    longest = max(step.total_s for step in bars.values())
    # steps take from microseconds to seconds: the axis in the unit that gives numbers from 1 to 1000
    unit, scale = next(
        ((name, factor) for name, factor in (("s", 1.0), ("ms", 1e3)) if longest * factor >= 1), ("µs", 1e6)
    )
    names = {name: STEP_NAMES[name] for name in _STEP_PARTS}
    return StackInfo(
        title=f"A decoding step: {format_seconds(now.total_s)}",
        subtitle=f"{names[now.binds]} takes {share_text(now.to_dict()[f'{now.binds}_s'], now.total_s)}",
        bars=tuple(bars),
        parts=tuple(
            StackPart(
                names[name],
                colour,
                tuple(scale * step.to_dict()[f"{name}_s"] for step in bars.values()),
                tuple(
                    f"{names[name]}: {format_seconds(step.to_dict()[f'{name}_s'])}, "
                    f"{share_text(step.to_dict()[f'{name}_s'], step.total_s)}"
                    for step in bars.values()
                ),
            )
            for name, colour in _STEP_PARTS.items()
        ),
        axis_title=f"time of one step ({unit})",
        axis_end=1.06 * scale * longest,
        ticks=(),
        limit=None,
    )


def stack_figure(info: StackInfo) -> go.Figure:
    """Horizontal bars of stacked parts, the parts' names in a legend below the title."""
    figure = go.Figure(layout={"template": "none"})
    for part in info.parts:
        figure.add_trace(
            go.Bar(
                x=list(part.values),
                y=list(info.bars),
                name=part.name,
                orientation="h",
                marker={"color": part.colour},
                hovertext=list(part.hover),
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )
    style(figure, title=info.title, subtitle=info.subtitle)
    if info.limit is not None:
        figure.add_vline(x=info.limit, line={"color": GREY, "dash": "dash", "width": 2})
    figure.update_layout(
        barmode="stack",
        height=250 + 34 * len(info.bars),
        bargap=0.35,
        margin={"l": 10, "r": 10, "t": 80, "b": 100},
        # at the foot of the figure, where two lines of it keep clear of the axis
        legend={
            "orientation": "h",
            "x": 0,
            "y": 0,
            "yref": "container",
            "yanchor": "bottom",
            "traceorder": "normal",
            "font": {"size": 12.5},
        },
        dragmode=False,
    )
    figure.update_xaxes(
        title=info.axis_title, title_font={"size": 13}, tickangle=0, range=[0, info.axis_end], nticks=6
    )
    if info.ticks:
        figure.update_xaxes(
            tickvals=[position for position, _ in info.ticks], ticktext=[text for _, text in info.ticks]
        )
    figure.update_yaxes(showgrid=False, ticksuffix=" ", autorange="reversed")
    return figure
