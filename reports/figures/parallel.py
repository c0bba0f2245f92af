"""Parallel coordinates: every model a line through its shape, its cost and its score.

Drawn as ordinary lines: plotly.js's own parallel coordinates need WebGL, which a printer or a browser
without a graphics card does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from math import log10
from typing import NamedTuple

import plotly.graph_objects as go

from reports.figures.hover import hover_text
from reports.figures.style import blank, style
from reports.palette import BLUE, GREY, VERMILION
from reports.text.scaled_proxies import of_proxies
from reports.text.wording import rate_text
from search.analysis.cohorts import Cohort
from search.analysis.frontier import frontier
from search.config.axes import AXES
from search.quality.features import trial_features
from search.store.results import ProxyResult, SearchResult, TrialRecord
from sizer.units import format_bytes, format_bytes_binary

# An axis over more than this ratio is logarithmic.
_WIDE = 8.0
_FEWEST = 2  # models
_TICKS = (0.0, 0.5, 1.0)


class ParallelAxis(NamedTuple):
    """One axis: its name with unit, and its ticks (height from 0 to 1, text)."""

    name: str
    ticks: tuple[tuple[float, str], ...]


class ParallelLine(NamedTuple):
    """One model: its height on each axis."""

    trial: int
    heights: tuple[float, ...]
    on_frontier: bool
    hover: str


class ParallelInfo(NamedTuple):
    """Every decision about the figure; without lines `notice` is the reason."""

    axes: tuple[ParallelAxis, ...]
    lines: tuple[ParallelLine, ...]  # the frontier's last, to be drawn on top
    best: int | None  # trial with the lowest score among them
    subtitle: str
    notice: str


class _Measure(NamedTuple):
    name: str
    of: Callable[[TrialRecord, ProxyResult], float | None]
    wording: Callable[[float], str]


def _measures(result: SearchResult) -> tuple[_Measure, ...]:
    def bits(record: TrialRecord, run: ProxyResult) -> float:
        return trial_features(record, runtime=result.runtime).bits_per_weight

    return (
        _Measure(
            AXES["executed_layers"].label, lambda r, _: r.candidate.architecture.executed_layers, rate_text
        ),
        _Measure("hidden size", lambda r, _: r.candidate.architecture.hidden_size, rate_text),
        _Measure("bits per weight", bits, lambda value: f"{value:.3g}"),
        _Measure("file", lambda r, _: r.file_bytes, format_bytes),
        _Measure("memory", lambda r, _: r.memory_bytes, format_bytes_binary),
        _Measure("decode tokens/s", lambda r, _: _speed(r), rate_text),
        _Measure("bits per byte", lambda _, run: run.val_bits_per_byte, lambda value: f"{value:.3f}"),
    )


def _speed(record: TrialRecord) -> float | None:
    return record.decode_tokens_per_s.value if record.decode_tokens_per_s else None


def parallel_info(result: SearchResult, cohort: Cohort | None) -> ParallelInfo:
    """Decide what the figure of these models shows; axes on which all models are equal are left out."""
    members = cohort.members if cohort else ()
    if cohort is None or len(members) < _FEWEST:
        return ParallelInfo((), (), None, "", "Fewer than two models were trained for as long as each other.")
    axes, columns = [], []
    for measure in _measures(result):
        values = [measure.of(record, run) for record, run in members]
        known = [value for value in values if value is not None]
        if len(known) == len(values) and max(known) > min(known):
            axis, heights = _axis(measure, known)
            axes.append(axis)
            columns.append(heights)
    on_front = {record.number for record in frontier(result)}
    lines = [
        ParallelLine(
            trial=record.number,
            heights=tuple(column[place] for column in columns),
            on_frontier=record.number in on_front,
            hover=hover_text(record, ", on the frontier" if record.number in on_front else ""),
        )
        for place, (record, _) in enumerate(members)
    ]
    best = min(members, key=lambda member: member[1].val_bits_per_byte or 0.0)[0].number
    return ParallelInfo(
        axes=tuple(axes),
        lines=tuple(sorted(lines, key=lambda line: (line.on_frontier, line.trial == best))),
        best=best,
        subtitle=f"study {escape(result.study)} · {len(lines)} models after {cohort.steps:,} steps · "
        f"the frontier's in blue, trial {best}, the most accurate of these, dashed{of_proxies(result)}",
        notice="",
    )


def _axis(measure: _Measure, values: list[float]) -> tuple[ParallelAxis, list[float]]:
    low, high = min(values), max(values)
    logarithmic = low > 0 and high / low > _WIDE

    def height(value: float) -> float:
        if logarithmic:
            return log10(value / low) / log10(high / low)
        return (value - low) / (high - low)

    def at(place: float) -> float:
        return float(low * (high / low) ** place if logarithmic else low + place * (high - low))

    ticks = tuple((place, measure.wording(at(place))) for place in _TICKS)
    return ParallelAxis(measure.name, ticks), [height(value) for value in values]


def parallel_figure(info: ParallelInfo) -> go.Figure:
    """Draw a line for each model over vertical axes; customdata of a point is its trial."""
    figure = blank(info.notice)
    places = list(range(len(info.axes)))
    for line in info.lines:
        figure.add_trace(_line(line, places, info.best))
    for place, axis in enumerate(info.axes):
        figure.add_vline(x=place, line={"color": GREY, "width": 1})
        for height, text in axis.ticks:
            figure.add_annotation(
                x=place, y=height, text=text, showarrow=False, xanchor="left", xshift=5, font={"size": 12}
            )
    style(figure, title="Shape, cost and score of every model", subtitle=info.subtitle)
    figure.update_layout(
        height=460, margin={"l": 20, "r": 70, "t": 110, "b": 20}, showlegend=False, hovermode="closest"
    )
    figure.update_layout(dragmode=False)
    figure.update_xaxes(
        tickvals=places,
        ticktext=[axis.name.replace(" ", "<br>", 1) for axis in info.axes],
        tickangle=0,
        side="top",
        showgrid=False,
        range=[-0.15, max(places, default=1) + 0.45],
    )
    figure.update_yaxes(visible=False, range=[-0.05, 1.05])
    return figure


def _line(line: ParallelLine, places: list[int], best: int | None) -> go.Scatter:
    front = line.on_frontier
    return go.Scatter(
        x=places,
        y=list(line.heights),
        mode="lines+markers",
        line={
            "color": BLUE if front else GREY,
            "width": 3 if front else 1.2,
            "dash": "dash" if line.trial == best else "solid",
        },
        marker={"size": 8 if front else 5, "color": VERMILION if line.trial == best else None},
        opacity=1 if front else 0.6,
        hovertext=[line.hover] * len(places),
        hoverinfo="text",
        customdata=[line.trial] * len(places),
        name=f"trial {line.trial}",
    )
