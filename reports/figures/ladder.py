"""The bit-width ladder: what a format scores, what its rounding costs, and how many bytes it makes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from html import escape
from typing import NamedTuple

import plotly.graph_objects as go

from reports.figures.axes import byte_ticks
from reports.figures.hover import hover_text
from reports.figures.style import blank, style
from reports.palette import BLUE, GREEN, GREY
from reports.text.scaled_proxies import of_proxies
from search.analysis.cohorts import Cohort
from search.analysis.frontier import frontier
from search.quality.features import stored_bits_per_weight, trial_features
from search.store.results import ProxyResult, SearchResult, TrialRecord
from sizer.errors import SizerError
from sizer.runtimes import runtime
from sizer.units import format_bytes

# Columns of a small figure whose names and values are level; of more they would overlap and are turned.
_MOST_LEVEL = 5


class LadderPoint(NamedTuple):
    """One model in its format."""

    trial: int
    format: str
    bits_per_weight: float
    val_bits_per_byte: float
    rounding: float | None  # bits per byte that rounding added; None where the model was trained rounded
    on_frontier: bool
    hover: str


class LadderBar(NamedTuple):
    """One format of one shape: bytes of its file."""

    format: str
    bits_per_weight: float
    file_bytes: int


class LadderInfo(NamedTuple):
    """Every decision about the ladder's figures; without points `notice` is the reason."""

    formats: tuple[str, ...]  # fewest bits first, as they stand on the axes
    points: tuple[LadderPoint, ...]
    bars: tuple[LadderBar, ...]  # of one shape, fewest bits first
    shape: str  # the shape of the bars
    subtitle: str
    notice: str


def ladder_info(result: SearchResult, cohort: Cohort | None) -> LadderInfo:
    """Decide what the figures of formats show: the cohort's models by format, one shape's file in each."""
    if cohort is None:
        return LadderInfo((), (), (), "", "", "Too few models were trained for as long as each other.")
    on_front = {record.number for record in frontier(result)}
    points = [_point(result, record, run, record.number in on_front) for record, run in cohort.members]
    bits = {name: _mean(p.bits_per_weight for p in points if p.format == name) for name in _formats(points)}
    formats = tuple(sorted(bits, key=bits.__getitem__))
    best = min(cohort.members, key=lambda member: member[1].val_bits_per_byte or 0.0)[0]
    asked = result.config.space.formats if result.config else formats
    return LadderInfo(
        formats=formats,
        points=tuple(points),
        bars=_bars(result, best, asked),
        shape=f"trial {best.number}",
        subtitle=f"study {escape(result.study)} · {len(points)} models after {cohort.steps:,} steps"
        f"{of_proxies(result)}",
        notice="",
    )


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _formats(points: Iterable[LadderPoint]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(p.format for p in points))


def _point(result: SearchResult, record: TrialRecord, run: ProxyResult, on_frontier: bool) -> LadderPoint:
    score, full = run.val_bits_per_byte or 0.0, run.val_bits_per_byte_full
    bits = trial_features(record, runtime=result.runtime).bits_per_weight
    # what was trained rounded is worse without the rounding, so the difference does not show its cost
    cost = score - full if full is not None and full <= score else None
    text = "trained rounded" if cost is None else f"rounding added {cost:.4f} bits per byte"
    return LadderPoint(
        trial=record.number,
        format=record.candidate.format,
        bits_per_weight=bits,
        val_bits_per_byte=score,
        rounding=cost,
        on_frontier=on_frontier,
        hover=f"{hover_text(record)}<br>{bits:.2f} bits per weight, {text}",
    )


def _bars(result: SearchResult, record: TrialRecord, formats: Iterable[str]) -> tuple[LadderBar, ...]:
    """One shape's file in each format; formats that the engine or the shape does not allow are left out."""
    candidate, engine = record.candidate, result.runtime
    bars = []
    for name in dict.fromkeys(runtime(engine).format_name(name) for name in formats):
        try:
            bits = stored_bits_per_weight(candidate.architecture, format=name, runtime=engine)
            sized = result.deployment(replace(record, candidate=replace(candidate, format=name)))
        except SizerError:
            continue
        bars.append(LadderBar(name, bits, sized.file.total))
    return tuple(sorted(bars, key=lambda bar: (bar.bits_per_weight, bar.file_bytes)))


def format_score_figure(info: LadderInfo) -> go.Figure:
    """Draw bits per byte of every model by format; customdata of a point is its trial."""
    return _by_format(
        info,
        [p.val_bits_per_byte for p in info.points],
        list(info.points),
        title="Score by format",
        axis_title="validation bits per byte",
        tickformat=".3~f",
    )


def rounding_figure(info: LadderInfo) -> go.Figure:
    """Draw bits per byte that rounding to the format added; models trained rounded are left out."""
    points = [p for p in info.points if p.rounding is not None]
    return _by_format(
        info,
        [p.rounding or 0.0 for p in points],
        points,
        title="Cost of rounding",
        axis_title="bits per byte added",
        tickformat=".4~f",
    )


def _by_format(
    info: LadderInfo,
    values: list[float],
    points: list[LadderPoint],
    *,
    title: str,
    axis_title: str,
    tickformat: str,
) -> go.Figure:
    figure = blank(info.notice)
    figure.add_trace(
        go.Scatter(
            x=[p.format for p in points],
            y=values,
            mode="markers",
            marker={
                "size": [12 if p.on_frontier else 9 for p in points],
                "color": [BLUE if p.on_frontier else GREY for p in points],
                "opacity": 0.85,
            },
            hovertext=[p.hover for p in points],
            hoverinfo="text",
            customdata=[p.trial for p in points],
        )
    )
    style(figure, title=title, subtitle=info.subtitle)
    _columns(figure, list(info.formats))
    figure.update_yaxes(title=axis_title, tickformat=tickformat, title_font={"size": 13})
    return figure


def format_bytes_figure(info: LadderInfo) -> go.Figure:
    """Draw file bytes of one shape in each of the study's formats."""
    figure = blank(info.notice)
    is_crowded = len(info.bars) > _MOST_LEVEL
    figure.add_trace(
        go.Bar(
            x=[bar.format for bar in info.bars],
            y=[bar.file_bytes for bar in info.bars],
            marker={"color": GREEN},
            text=[format_bytes(bar.file_bytes) for bar in info.bars],
            textposition="outside",
            textfont={"size": 12},
            constraintext="none",  # else plotly.js shrinks a text to its bar
            textangle=-90 if is_crowded else 0,
            cliponaxis=False,
            customdata=[f"{bar.bits_per_weight:.2f}" for bar in info.bars],
            hovertemplate="%{x}: %{y:,} bytes, %{customdata} bits per weight<extra></extra>",
        )
    )
    style(figure, title="Bytes by format", subtitle=f"the shape of {info.shape} in each format")
    _columns(figure, [bar.format for bar in info.bars])
    most = max((bar.file_bytes for bar in info.bars), default=1)
    top = (1.4 if is_crowded else 1.15) * most
    figure.update_yaxes(title="bytes of the file", title_font={"size": 13}, range=[0, top])
    figure.update_yaxes(**byte_ticks(0, top))
    return figure


def _columns(figure: go.Figure, names: list[str]) -> None:
    is_crowded = len(names) > _MOST_LEVEL
    bottom = 110 if is_crowded else 60  # the axis title stands below the turned names
    figure.update_layout(
        height=300 + bottom, margin={"l": 70, "r": 20, "t": 80, "b": bottom}, showlegend=False, dragmode=False
    )
    figure.update_xaxes(
        title="format, fewest bits first",
        title_font={"size": 13},
        type="category",
        categoryorder="array",
        categoryarray=names,
        range=[-0.5, max(len(names), 1) - 0.5],
        tickangle=-90 if is_crowded else None,
        title_standoff=30 if is_crowded else None,
    )
