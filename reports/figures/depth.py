"""The figure of depth against width: at one size a deeper model is a narrower one."""

from __future__ import annotations

from html import escape
from typing import NamedTuple

import plotly.graph_objects as go

from reports.figures.hover import hover_text
from reports.figures.style import LEGEND_BELOW, SYMBOLS, blank, style
from reports.palette import GREY, GROUPS
from reports.text.scaled_proxies import of_proxies
from search.analysis.cohorts import Cohort
from search.schedule.rungs import RungEntry, size_bins
from search.store.results import SearchResult
from sizer.units import format_bytes

# As many bins of size as rungs use by default (search/config/config.py, size_bins).
_BINS = 4


class DepthPoint(NamedTuple):
    """One model: layers executed against bits per byte."""

    trial: int
    layers: int
    width: int
    val_bits_per_byte: float
    standard_error: float
    hover: str


class DepthGroup(NamedTuple):
    """Models of about one size, shallowest first."""

    label: str
    points: tuple[DepthPoint, ...]
    colour: str
    symbol: str


class DepthInfo(NamedTuple):
    """Every decision about the figure; without groups `notice` is the reason."""

    groups: tuple[DepthGroup, ...]  # smallest files first
    subtitle: str
    notice: str


def depth_info(result: SearchResult, cohort: Cohort | None) -> DepthInfo:
    """Decide what the figure shows; bins of size in which all models have one depth are left out."""
    nothing = DepthInfo((), "", "No two models of about one size differ in depth.")
    if cohort is None:
        return nothing
    by_number = {record.number: (record, run) for record, run in cohort.members}
    bins = size_bins(
        [
            RungEntry(
                id=record.number,
                costs=(float(record.file_bytes),),
                depth=record.candidate.architecture.executed_layers,
                loss=run.val_bits_per_byte or 0.0,
            )
            for record, run in cohort.members
        ],
        result.config.training.size_bins if result.config else _BINS,
    )
    kept = [inside for inside in bins if len({entry.depth for entry in inside}) > 1]
    groups = []
    for place, inside in enumerate(kept):
        sizes = sorted(entry.costs[0] for entry in inside)
        points = []
        for entry in sorted(inside, key=lambda e: (e.depth, e.id)):
            record, run = by_number[entry.id]
            points.append(
                DepthPoint(
                    trial=entry.id,
                    layers=entry.depth,
                    width=record.candidate.architecture.hidden_size,
                    val_bits_per_byte=entry.loss,
                    standard_error=run.val_bits_per_byte_sd or 0.0,
                    hover=hover_text(record),
                )
            )
        groups.append(
            DepthGroup(
                label=f"{format_bytes(sizes[0])} to {format_bytes(sizes[-1])}",
                points=tuple(points),
                colour=GROUPS[place % len(GROUPS)],
                symbol=SYMBOLS[place % len(SYMBOLS)],
            )
        )
    if not groups:
        return nothing
    return DepthInfo(
        groups=tuple(groups),
        subtitle=f"study {escape(result.study)} · {sum(len(g.points) for g in groups)} models after "
        f"{cohort.steps:,} steps · numbers: hidden size{of_proxies(result)}",
        notice="",
    )


def depth_figure(info: DepthInfo) -> go.Figure:
    """Draw layers against bits per byte, models of one size joined; customdata of a point is its trial."""
    figure = blank(info.notice)
    for group in info.groups:
        figure.add_trace(_group(group))
    style(figure, title="Depth vs width at one size", subtitle=info.subtitle)
    figure.update_layout(
        height=480,
        margin={"l": 80, "r": 40, "t": 90, "b": 90},
        showlegend=True,
        legend=LEGEND_BELOW,
        hovermode="closest",
        dragmode="pan",
    )
    figure.update_xaxes(title="layers executed (deeper is narrower at one size)", tickformat="d")
    figure.update_yaxes(title="validation bits per byte (lower is better)", tickformat=".3~f")
    return figure


def _group(group: DepthGroup) -> go.Scatter:
    return go.Scatter(
        x=[p.layers for p in group.points],
        y=[p.val_bits_per_byte for p in group.points],
        mode="lines+markers+text",
        line={"color": group.colour, "dash": "dot", "width": 1.5},
        marker={"symbol": group.symbol, "size": 11, "color": group.colour},
        text=[f" {p.width}" for p in group.points],
        textposition="top right",
        textfont={"size": 12},
        cliponaxis=False,
        error_y={
            "type": "data",
            "array": [p.standard_error for p in group.points],
            "color": GREY,
            "thickness": 0.8,
            "width": 3,
        },
        hovertext=[p.hover for p in group.points],
        hoverinfo="text",
        customdata=[p.trial for p in group.points],
        name=group.label,
    )
