"""The figure of what accuracy depends on: how far a feature moves the score, with an interval."""

from __future__ import annotations

from typing import NamedTuple

import plotly.graph_objects as go

from reports.figures.axes import axis_range
from reports.figures.style import blank, style
from reports.palette import BLUE, GREY
from search.analysis.importance import MIN_MODELS, Importance, Importances
from search.config.axes import AXES

_NAMES = {
    **{name: AXES[name].label for name in ("head_dim", "ffn_ratio", "sharing")},
    "depth": "depth (layers executed)",
    "width": "hidden size",
    "kv_ratio": "KV heads per query head",
    "experts": "experts / experts that a token uses",
    "embedding_ratio": "embedding width",
    "bits_per_weight": "bits per weight",
}


class ImportanceBar(NamedTuple):
    """One feature: its effect in bits per byte and the interval of it."""

    label: str
    value: float
    low: float
    high: float
    matters: bool
    hover: str


class ImportanceInfo(NamedTuple):
    """Every decision about the figure; without bars `notice` is the reason."""

    bars: tuple[ImportanceBar, ...]  # largest effect first
    value_range: tuple[float, float]
    subtitle: str
    notice: str


def importance_info(found: Importances | None) -> ImportanceInfo:
    """Decide what the figure of importances shows; a notice if too few models were trained."""
    if found is None:
        notice = f"Fewer than {MIN_MODELS} models were trained for as long as each other: too few for a law."
        return ImportanceInfo((), (0.0, 1.0), "", notice)
    errors = (
        f"of a model left out the law is off by {found.error:.4f} bits per byte, the mean of the others by "
        f"{found.error_of_mean:.4f}"
    )
    if not found.trustworthy:
        notice = f"The law predicts no better than the mean, so its importances mean nothing: {errors}."
        return ImportanceInfo((), (0.0, 1.0), "", notice)
    bars = tuple(
        ImportanceBar(
            label=_NAMES[one.feature],
            value=one.value,
            low=one.low,
            high=one.high,
            matters=one.matters,
            hover=_hover(one),
        )
        for one in found.features
    )
    ends = [end for bar in bars for end in (bar.low, bar.high, bar.value)]
    return ImportanceInfo(
        bars=bars,
        value_range=axis_range([0.0, *ends]),
        subtitle=f"{found.models} models after {found.steps:,} steps; {errors}",
        notice="",
    )


def _hover(one: Importance) -> str:
    text = f"{one.value:+.4f} bits per byte ({one.low:+.4f} to {one.high:+.4f})"
    return "<br>".join((_NAMES[one.feature], text, *(() if one.matters else ("not distinguishable from 0",))))


def importance_figure(info: ImportanceInfo) -> go.Figure:
    """Draw a bar and an interval for each feature, largest first; grey if the interval contains 0."""
    figure = blank(info.notice)
    figure.add_trace(
        go.Bar(
            x=[bar.value for bar in info.bars],
            y=[bar.label for bar in info.bars],
            orientation="h",
            marker={"color": [BLUE if bar.matters else GREY for bar in info.bars]},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [bar.high - bar.value for bar in info.bars],
                "arrayminus": [bar.value - bar.low for bar in info.bars],
                "color": GREY,
                "thickness": 2,
                "width": 5,
            },
            hovertext=[bar.hover for bar in info.bars],
            hoverinfo="text",
        )
    )
    style(figure, title="What accuracy depends on", subtitle=info.subtitle)
    figure.update_layout(
        height=150 + 38 * max(1, len(info.bars)),
        margin={"l": 10, "r": 20, "t": 80, "b": 60},
        bargap=0.35,
        showlegend=False,
        dragmode=False,
    )
    figure.update_xaxes(
        title="change in bits per byte with more of it (left is better)",
        title_font={"size": 13},
        range=list(info.value_range),
        zeroline=True,
        zerolinecolor=GREY,
        zerolinewidth=2,
        tickformat="+.3~f",
        nticks=6,
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, ticksuffix=" ")
    return figure
