"""Figures of searches under way and side by side: learning curves, and the frontiers of several studies."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from html import escape
from typing import NamedTuple

import plotly.graph_objects as go

from reports.figures import style
from reports.figures.axes import byte_ticks
from reports.figures.style import LEGEND_BELOW
from reports.palette import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION
from reports.text.scaled_proxies import EXTRAPOLATED_AXIS, SCORE_AXIS, ranked_text, ranks_extrapolated
from reports.text.wording import shape_text
from search.analysis.frontier import frontier
from search.analysis.ranking import ranking
from search.run.learning_curves import LearningCurve
from search.store.results import SearchResult
from sizer.units import format_bytes

# Colours, symbols and dashes distinguish studies together, also for readers who see no colours.
_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star", "hexagon")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MOST_STUDIES = len(_COLOURS)
# Every run falls steeply at first; what is above its loss there is left out of the picture.
_STEEP_SHARE = 0.02
_X_MARGIN = 0.06
_MIXED_AXIS = "bits per byte, of some studies extrapolated<br>by the quality law (lower is better)"


class CurveLine(NamedTuple):
    """One learning curve as it is drawn."""

    number: int
    steps: tuple[int, ...]
    losses: tuple[float, ...]  # nats per token
    name: str  # safe HTML; empty: one of the others
    colour: str
    dash: str


class WatchedCurvesInfo(NamedTuple):
    """Every decision about the figure of learning curves."""

    others: tuple[CurveLine, ...]
    named: tuple[CurveLine, ...]
    top: float | None  # upper end of the loss axis; None: as it comes
    rung_ends: tuple[int, ...]  # steps, inside the picture
    subtitle: str
    notice: str  # shown in place of curves; empty when there are some


class Front(NamedTuple):
    """One study's frontier as it is drawn; texts are safe HTML."""

    study: str
    sizes: tuple[int, ...]  # bytes
    bits: tuple[float, ...]  # per byte
    errors: tuple[float, ...]
    hovers: tuple[str, ...]
    points: tuple[tuple[str, int], ...]  # the study's own name and the trial, for who clicks


class FrontsInfo(NamedTuple):
    """Every decision about the figure of several frontiers."""

    fronts: tuple[Front, ...]
    size_range_bytes: tuple[float, float]
    subtitle: str
    notice: str
    score_axis: str  # title of the vertical axis


def watched_curves_info(
    curves: Sequence[LearningCurve],
    *,
    chosen: int | None,
    in_training: Collection[tuple[int, int]] = (),
    rung_steps: Sequence[int] = (),
) -> WatchedCurvesInfo:
    """Decide which learning curves of a watched study show: one trial named, those in training, all faint.

    `in_training` is trial and seed of each, `rung_steps` where rungs end.
    """
    named, others = [], []
    for curve in curves:
        steps, losses = tuple(p.step for p in curve.points), tuple(p.loss for p in curve.points)
        line = CurveLine(curve.number, steps, losses, "", GREY, "solid")
        seed = f", seed {curve.seed} more" if curve.seed else ""
        training = (curve.number, curve.seed) in in_training
        if curve.number == chosen:
            name = f"trial {curve.number}{seed}{', in training' if training else ''}"
            dash = _DASHES[curve.seed % len(_DASHES)]
            named.append(line._replace(name=name, colour=BLUE, dash=dash))
        elif training:
            named.append(
                line._replace(name=f"trial {curve.number}{seed}, in training", colour=GREEN, dash="dot")
            )
        else:
            others.append(line)
    longest = max((line.steps[-1] for line in (*named, *others)), default=0)
    ends = tuple(step for step in rung_steps if step < longest)
    dotted = f" · dotted: rungs end at {', '.join(f'{step:,}' for step in ends)}" if ends else ""
    return WatchedCurvesInfo(
        others=tuple(others),
        named=tuple(named),
        top=_top((*named, *others), longest),
        rung_ends=ends,
        subtitle=f"{len(curves)} run{'' if len(curves) == 1 else 's'}{dotted}",
        notice="" if curves else "No learning curve has been written yet.",
    )


def watched_curves_figure(info: WatchedCurvesInfo) -> go.Figure:
    """Draw training loss against steps; customdata of a point is its trial."""
    figure = go.Figure(layout={"template": "none"})
    for line in info.others:
        figure.add_trace(_curve(line, width=1, opacity=0.45))
    for line in info.named:
        figure.add_trace(_curve(line, width=2.5, opacity=1))
    for step in info.rung_ends:
        figure.add_vline(x=step, line={"color": GREY, "dash": "dot", "width": 1.5})
    _finish(figure, "Learning curves", info.subtitle, info.notice)
    figure.update_layout(height=380)
    figure.update_xaxes(title="training step", tickformat=",d", rangemode="tozero")
    figure.update_yaxes(title="training loss (nats per token)", tickformat=".3~f")
    if info.top is not None:
        figure.update_yaxes(range=[None, info.top])
    return figure


def fronts_info(results: Sequence[SearchResult]) -> FrontsInfo:
    """Decide what the figure of several studies' frontiers shows."""
    fronts = tuple(_front(result) for result in results if result.trained)
    sizes = [float(size) for front in fronts for size in front.sizes]
    low, high = min(sizes, default=0.0), max(sizes, default=1e6)
    margin = _X_MARGIN * (high - low) or 0.2 * high
    same = len({r.corpus_digest for r in results}) <= 1
    carried = {ranks_extrapolated(result) for result in results if result.trained}
    return FrontsInfo(
        fronts=fronts,
        size_range_bytes=(low - margin, high + margin),
        subtitle="on one text" if same else "on different texts: the scores cannot be compared",
        notice="" if fronts else "No model of these studies has been trained yet.",
        score_axis=EXTRAPOLATED_AXIS if carried == {True} else _MIXED_AXIS if True in carried else SCORE_AXIS,
    )


def fronts_figure(info: FrontsInfo) -> go.Figure:
    """Draw frontiers as step lines, each study in its own colour, symbol and dash."""
    figure = go.Figure(layout={"template": "none"})
    for place, front in enumerate(info.fronts):
        figure.add_trace(_front_line(front, place, info.size_range_bytes[1]))
    _finish(figure, "Frontiers side by side", info.subtitle, info.notice)
    figure.update_layout(height=480, clickmode="event+select")
    figure.update_xaxes(title="deployed file size (bytes)", range=list(info.size_range_bytes))
    figure.update_xaxes(**byte_ticks(*info.size_range_bytes))
    figure.update_yaxes(title=info.score_axis, tickformat=".3~f")
    return figure


def _finish(figure: go.Figure, title: str, subtitle: str, notice: str) -> None:
    if notice:
        figure.add_annotation(text=notice, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
    style(figure, title=title, subtitle=subtitle)
    figure.update_layout(
        margin={"l": 70, "r": 20, "t": 80, "b": 60},
        legend=LEGEND_BELOW,
        dragmode="pan",
        hovermode="closest",
    )


def _top(lines: Iterable[CurveLine], longest: int) -> float | None:
    """Return the highest loss after the steep first steps; None if there are no later steps."""
    after = [
        loss
        for line in lines
        for step, loss in zip(line.steps, line.losses, strict=True)
        if step > _STEEP_SHARE * longest
    ]
    return 1.02 * max(after) if after else None


def _curve(line: CurveLine, *, width: float, opacity: float) -> go.Scatter:
    return go.Scatter(
        x=list(line.steps),
        y=list(line.losses),
        mode="lines+markers" if len(line.steps) == 1 else "lines",
        line={"color": line.colour, "width": width, "dash": line.dash},
        opacity=opacity,
        name=line.name,
        showlegend=bool(line.name),
        hovertemplate=f"trial {line.number}, step %{{x:,}}<br>%{{y:.4f}} nats per token<extra></extra>",
        customdata=[line.number] * len(line.steps),
    )


def _front(result: SearchResult) -> Front:
    ranked = ranking(result)
    records = frontier(result, by=ranked)
    scores = [ranked.scores[record.number] for record in records]
    study = escape(result.study)
    hovers = []
    for r in records:
        assert r.proxy is not None, r.number
        hovers.append(
            f"<b>{study}, trial {r.number}</b><br>{escape(shape_text(r.candidate.architecture))}<br>"
            f"{escape(r.candidate.format)}, {format_bytes(r.file_bytes)} file<br>"
            f"{ranked_text(result, r)} after {r.proxy.steps:,} steps"
        )
    return Front(
        study=study,
        sizes=tuple(r.file_bytes for r in records),
        bits=tuple(score.bits_per_byte for score in scores),
        errors=tuple(score.error for score in scores),
        hovers=tuple(hovers),
        points=tuple((result.study, r.number) for r in records),
    )


def _front_line(front: Front, place: int, right: float) -> go.Scatter:
    colour = _COLOURS[place % MOST_STUDIES]
    # the last point again at the right end, unseen: what the best model of at most that size reaches
    last = len(front.sizes)
    return go.Scatter(
        x=[*map(float, front.sizes), right],
        y=[*front.bits, front.bits[-1]],
        mode="lines+markers",
        line={"shape": "hv", "color": colour, "width": 2, "dash": _DASHES[place % MOST_STUDIES]},
        marker={
            "symbol": _SYMBOLS[place % MOST_STUDIES],
            "size": [12] * last + [0],
            "color": colour,
            "line": {"color": GREY, "width": 1},
        },
        error_y={"type": "data", "array": [*front.errors, 0], "color": GREY, "thickness": 1, "width": 3},
        hovertext=[*front.hovers, ""],
        hoverinfo="text",
        customdata=[*map(list, front.points), None],
        name=front.study,
    )
