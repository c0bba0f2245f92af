"""Two models' parts side by side: parameters, file and memory as pairs of bars; *_info decides."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, NamedTuple

import plotly.graph_objects as go

from reports.figures import style
from reports.figures.breakdowns import Bar, BreakdownInfo, known_breakdowns
from reports.palette import BLUE, VERMILION

if TYPE_CHECKING:
    from sizer.model_estimate import Estimate

_LONGEST_NAME = 28


class PairInfo(NamedTuple):
    """Every decision about one figure of pairs; values are in the order of the labels, top first."""

    title: str
    labels: tuple[str, ...]
    names: tuple[str, str]  # safe HTML
    values: tuple[tuple[int, ...], tuple[int, ...]]
    texts: tuple[tuple[str, ...], tuple[str, ...]]
    axis_title: str
    axis_end: float
    ticks: tuple[tuple[float, str], ...]


def pair_infos(first: Estimate, second: Estimate) -> tuple[PairInfo, ...]:
    """Decide what the figures of parameters, file bytes and memory of two models show."""
    names = (_short(first.architecture.name), _short(second.architecture.name))
    if names[0] == names[1]:
        names = (f"{names[0]} (A)", f"{names[1]} (B)")
    ours, theirs = known_breakdowns(first), known_breakdowns(second)
    return tuple(_pair(name.capitalize(), names, ours[name], theirs[name]) for name in ours if name in theirs)


def _pair(title: str, names: tuple[str, str], ours: BreakdownInfo, theirs: BreakdownInfo) -> PairInfo:
    nothing = Bar("", 0, "none", "")
    bars = [{bar.label: bar for bar in info.bars} for info in (ours, theirs)]
    labels = tuple(label for label in dict.fromkeys((*bars[0], *bars[1])) if label != "total")
    values = [tuple(by.get(label, nothing).value for label in labels) for by in bars]
    texts = [tuple(by.get(label, nothing).text for label in labels) for by in bars]
    wider = max(ours, theirs, key=lambda info: max(bar.value for bar in info.bars))
    return PairInfo(
        title=title,
        labels=labels,
        names=names,
        values=(values[0], values[1]),
        texts=(texts[0], texts[1]),
        axis_title=ours.axis_title,
        axis_end=wider.axis_end,
        ticks=wider.ticks,
    )


def pair_figure(info: PairInfo) -> go.Figure:
    """Draw pairs of horizontal bars, the first model's above the second's."""
    figure = go.Figure(layout={"template": "none"})
    for name, values, texts, colour in zip(
        info.names, info.values, info.texts, (BLUE, VERMILION), strict=True
    ):
        figure.add_trace(
            go.Bar(
                x=list(values),
                y=list(info.labels),
                text=list(texts),
                orientation="h",
                textposition="outside",
                textfont={"size": 12},
                cliponaxis=False,
                marker={"color": colour},
                name=name,
                hovertemplate="%{y}: %{x:,}<extra>%{fullData.name}</extra>",
            )
        )
    style(figure, title=info.title, subtitle="")
    figure.update_layout(
        height=150 + 46 * len(info.labels),
        barmode="group",
        bargap=0.25,
        margin={"l": 10, "r": 10, "t": 90, "b": 50},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
        dragmode=False,
    )
    figure.update_xaxes(
        title=info.axis_title,
        title_font={"size": 13},
        tickangle=0,
        range=[0, info.axis_end],
        tickvals=[position for position, _ in info.ticks],
        ticktext=[text for _, text in info.ticks],
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, ticksuffix=" ")
    return figure


def _short(name: str) -> str:
    return escape(name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…")
