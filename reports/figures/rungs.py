"""Figures of a search in rungs: scores as models train on, and the training loss of every run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import plotly.graph_objects as go

from reports.figures.style import blank, style
from reports.palette import BLUE, GREY
from reports.text.scaled_proxies import of_proxies
from reports.text.wording import shape_text
from search.analysis.cohorts import cohorts
from search.analysis.frontier import frontier
from search.store.results import SearchResult, TrialRecord

if TYPE_CHECKING:
    from search.run.learning_curves import LearningCurve

# Beyond this ratio of the last step to the first the axis is logarithmic.
_WIDE = 8.0
_TICKS_APART = 1.25
# More lines than these are a patch of colour; the frontier's are always drawn.
_MOST_CURVES = 60


class TrainingLine(NamedTuple):
    """One model: bits per byte (or loss) by step of training; `hover` is safe HTML."""

    trial: int
    steps: tuple[int, ...]
    values: tuple[float, ...]
    errors: tuple[float, ...]  # standard errors; empty: none are known
    on_frontier: bool
    hover: str


class TrainingInfo(NamedTuple):
    """Every decision about a figure of lines over steps; without lines `notice` is the reason."""

    title: str
    axis_title: str
    lines: tuple[TrainingLine, ...]  # the frontier's last, to be drawn on top
    ticks: tuple[int, ...]  # empty: plotly's own
    logarithmic: bool
    subtitle: str
    notice: str


def rungs_info(result: SearchResult) -> TrainingInfo:
    """Decide what the figure of scores by rung shows: a line for each model with a score."""
    on_front = _on_front(result)
    points: dict[int, list[tuple[int, float, float]]] = {}
    records: dict[int, TrialRecord] = {}
    for cohort in cohorts(result):
        for record, run in cohort.members:
            records[record.number] = record
            value, error = run.val_bits_per_byte or 0.0, run.val_bits_per_byte_sd or 0.0
            points.setdefault(record.number, []).append((run.steps, value, error))
    lines = [
        TrainingLine(
            trial=number,
            steps=tuple(steps for steps, _, _ in found),
            values=tuple(value for _, value, _ in found),
            errors=tuple(error for _, _, error in found),
            on_frontier=number in on_front,
            hover=_hover(records[number]),
        )
        for number, found in points.items()
    ]
    ends = sorted({steps for line in lines for steps in line.steps})
    alone = len(ends) < 2
    return TrainingInfo(
        title="Accuracy by rung",
        axis_title="validation bits per byte (lower is better)",
        lines=() if alone else _front_last(lines),
        ticks=_apart(ends),
        logarithmic=_is_wide(ends),
        subtitle=_subtitle(result, lines, "where a line ends, the model was stopped"),
        notice="All models were trained in one rung: there is no later score to compare with."
        if alone
        else "",
    )


def losses_info(result: SearchResult, curves: Sequence[LearningCurve]) -> TrainingInfo:
    """Decide which training losses a report shows, of the study's own seed; at most a few dozen lines."""
    on_front = _on_front(result)
    records = {record.number: record for record in result.records}
    lines = [
        TrainingLine(
            trial=curve.number,
            steps=tuple(point.step for point in curve.points),
            values=tuple(point.loss for point in curve.points),
            errors=(),
            on_frontier=curve.number in on_front,
            hover=_hover(records[curve.number]),
        )
        for curve in curves
        if curve.seed == 0 and curve.number in records and curve.points
    ]
    shown = _front_last(lines)[-_MOST_CURVES:]
    left_out = f", {len(lines) - len(shown)} more are left out" if len(lines) > len(shown) else ""
    return TrainingInfo(
        title="Learning curves",
        axis_title="training loss (nats per token)",
        lines=shown,
        ticks=(),
        logarithmic=False,
        subtitle=_subtitle(result, shown, f"mean over the steps between points{left_out}"),
        notice="" if lines else "No learning curves were kept: the study was made by an earlier version.",
    )


def training_figure(info: TrainingInfo) -> go.Figure:
    """Draw a line for each model over training steps; customdata of a point is its trial."""
    figure = blank(info.notice)
    for line in info.lines:
        figure.add_trace(_line(line))
    style(figure, title=info.title, subtitle=info.subtitle)
    figure.update_layout(
        height=460,
        margin={"l": 80, "r": 30, "t": 90, "b": 60},
        showlegend=False,
        hovermode="closest",
        dragmode="pan",
    )
    figure.update_xaxes(title="steps of training", tickformat=",", type="log" if info.logarithmic else None)
    if info.ticks:
        figure.update_xaxes(tickvals=list(info.ticks), ticktext=[f"{step:,}" for step in info.ticks])
    figure.update_yaxes(title=info.axis_title, tickformat=".3~f")
    return figure


def _on_front(result: SearchResult) -> set[int]:
    return {record.number for record in frontier(result)}


def _front_last(lines: Iterable[TrainingLine]) -> tuple[TrainingLine, ...]:
    return tuple(sorted(lines, key=lambda line: (line.on_frontier, -line.trial)))


def _is_wide(steps: Sequence[int]) -> bool:
    return bool(steps) and steps[-1] > _WIDE * steps[0]


def _apart(ends: Sequence[int]) -> tuple[int, ...]:
    """Return the steps to print, without those so near to the next that they would overlap."""
    return tuple(e for e, after in zip(ends, (*ends[1:], inf), strict=False) if after > _TICKS_APART * e)


def _subtitle(result: SearchResult, lines: Sequence[TrainingLine], remark: str) -> str:
    drawn = f"{len(lines)} models, the frontier's in blue"
    return f"study {escape(result.study)} · {drawn} · {remark}{of_proxies(result)}"


def _hover(record: TrialRecord) -> str:
    shape = f"{shape_text(record.candidate.architecture)}, {record.candidate.format}"
    return f"<b>trial {record.number}</b><br>{escape(shape)}"


def _line(line: TrainingLine) -> go.Scatter:
    front = line.on_frontier
    bars = {"type": "data", "array": list(line.errors), "thickness": 1, "width": 3, "color": GREY}
    return go.Scatter(
        x=list(line.steps),
        y=list(line.values),
        mode="lines+markers" if line.errors else "lines",
        line={"color": BLUE if front else GREY, "width": 2.5 if front else 1.2},
        marker={"size": 8 if front else 6},
        opacity=1 if front else 0.7,
        error_y=bars if line.errors and front else None,
        customdata=[line.trial] * len(line.steps),
        hovertemplate=f"{line.hover}<br>%{{y:.4f}} after %{{x:,}} steps<extra></extra>",
        name=f"trial {line.trial}",
    )
