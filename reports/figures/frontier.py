"""The figure of a study's frontier: accuracy against what a model costs to deploy, models that tie joined."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from math import log10
from typing import NamedTuple

import plotly.graph_objects as go

from reports.figures.axes import axis_range, log_ticks
from reports.figures.cost_scales import SCALES, cost_ticks
from reports.figures.frontier_labels import Label, Spot, label_text, placed_sides
from reports.figures.hover import hover_text
from reports.figures.style import LEGEND_BELOW, SYMBOLS, blank, style
from reports.palette import BLUE, GREY, VERMILION
from reports.text.scaled_proxies import EXTRAPOLATED_AXIS, SCORE_AXIS, ranked_text
from reports.text.wording import limit_bytes_text, rate_text
from search.analysis.frontier import frontier
from search.analysis.ranking import RankedBy, Ranking, ranking
from search.analysis.ties import all_comparisons
from search.config.objectives import Objective
from search.schedule.finalists import CLEAR
from search.store.results import SearchResult, TrialRecord
from sizer.prediction import Prediction

# A limit further than this many times from the last point would squeeze the points into a corner.
_LIMIT_IN_VIEW = 1.5
# Share of the colour bar, on its logarithmic scale, that a tick keeps from the ends.
_TICK_GAP = 0.11
# Of the scores' span, room for labels above and below.
_LABEL_ROOM = 0.12
_BARS = "bars: two standard errors of the paired difference from the next cheaper model of the frontier"
_ANY_SIDE = "top right"  # of a point without a label: plotly wants a word


# Costs that are predictions with a range.
_PREDICTED: dict[Objective, Callable[[TrialRecord], Prediction | None]] = {
    Objective.DECODE: lambda record: record.decode_tokens_per_s,
    Objective.TTFT: lambda record: record.time_to_first_token_s,
    Objective.ENERGY: lambda record: record.joules_per_token,
}


class FrontierPoint(NamedTuple):
    """One trained model as it is drawn; `hover` is already safe HTML."""

    trial: int
    cost: float
    cost_low: float  # of a predicted speed; for bytes all three are the same
    cost_high: float
    val_bits_per_byte: float  # by the score that ranks
    bar: float | None  # half of the vertical bar; None: no other model that it is compared with
    decode_tokens_per_s: float | None
    format: str
    hover: str
    label: Label


class FrontierInfo(NamedTuple):
    """Every decision about the frontier figure."""

    cost: Objective
    front: tuple[FrontierPoint, ...]  # lowest cost first
    dominated: tuple[FrontierPoint, ...]
    stopped: tuple[FrontierPoint, ...]  # after a shorter training than the others: no worse for it
    ties: tuple[tuple[FrontierPoint, FrontierPoint], ...]  # differ by less than two standard errors
    symbols: tuple[tuple[str, str], ...]  # (format, marker symbol), formats in order of their names
    cost_range: tuple[float, float]
    colour_ticks_tokens_per_s: tuple[float, ...]  # ends and round values between; empty: no colours
    limit: float | None  # of the cost; None: no limit, or it lies far outside the view
    subtitle: str
    score_range: tuple[float, float]
    notice: str  # shown in place of points; empty when there are some
    score_axis: str  # title of the vertical axis


def frontier_info(result: SearchResult, cost: Objective = Objective.BYTES) -> FrontierInfo:
    """Decide what the figure of one cost against bits per byte shows, by the score that ranks."""
    ranked = ranking(result)
    on_front = frontier(result, cost, by=ranked)
    numbers = {record.number for record in on_front}
    compared = {record.number for record in ranked.records}
    others = [r for r in result.trained if r.number not in numbers and r.cost(cost) is not None]

    pairs = all_comparisons(result, cost)
    bars: dict[int, float | None] = {pair.second: CLEAR * pair.standard_error for pair in pairs}
    if ranked.by is RankedBy.CARRIED_OVER:
        bars = {number: score.error for number, score in ranked.scores.items()}

    def drawn(records: Iterable[TrialRecord], remark: str = "") -> tuple[FrontierPoint, ...]:
        return tuple(
            _point(r, cost, ranked, bar=bars.get(r.number), hover=_hover(result, r, remark)) for r in records
        )

    front = drawn(on_front, ", on the frontier")
    dominated = drawn(r for r in others if r.number in compared)
    stopped = drawn(r for r in others if r.number not in compared)
    points = (*front, *dominated)
    limit = result.budget.get(SCALES[cost].limit)
    shown = limit if limit is not None and points and _in_view(limit, points, cost) else None
    cost_range, score_range = _cost_range(points, shown), _score_range(points)
    spots = {p.trial: _spot(p, cost_range, score_range) for p in points}
    sides = placed_sides(
        [spots[p.trial] for p in front],
        [spots[p.trial] for p in dominated],
        limit=None if shown is None else (shown - cost_range[0]) / (cost_range[1] - cost_range[0]),
        cheap_is_right=cost is Objective.DECODE,
    )
    texts = [label_text(r.candidate.architecture, r.file_bytes) for r in on_front]
    front = tuple(
        point._replace(label=Label(text, side)) if side else point
        for point, text, side in zip(front, texts, sides, strict=True)
    )
    by_trial = {point.trial: point for point in (*front, *dominated)}
    ties = tuple((by_trial[c.first], by_trial[c.second]) for c in pairs if c.tied)
    return FrontierInfo(
        cost=cost,
        front=front,
        dominated=dominated,
        stopped=stopped,
        ties=ties,
        symbols=_symbols(p.format for p in points),
        cost_range=cost_range,
        score_range=score_range,
        colour_ticks_tokens_per_s=() if cost is Objective.DECODE else _colour_ticks(points),
        limit=shown,
        subtitle=" · ".join(
            (
                f"study {escape(result.study)}",
                *((f"on {escape(result.device)}",) if result.device else ()),
                f"{len(front)} on the frontier, {len(dominated)} dominated (faint)",
                *((f"{len(stopped)} stopped earlier (see the legend)",) if stopped else ()),
                *((f"{len(ties)} {'tie' if len(ties) == 1 else 'ties'} (dotted)",) if ties else ()),
                *_hidden_limit(cost, limit if shown is None else None),
                "bars: 80 % ranges" if ranked.by is RankedBy.CARRIED_OVER else _BARS,
            )
        ),
        notice="" if points else _nothing(result, cost),
        score_axis=EXTRAPOLATED_AXIS if ranked.by is RankedBy.CARRIED_OVER else SCORE_AXIS,
    )


def frontier_figure(info: FrontierInfo) -> go.Figure:
    """Draw trained models, the frontier joined by a step line; customdata of a point is its trial."""
    scale = SCALES[info.cost]
    figure = blank(info.notice)
    if info.front:
        figure.add_trace(_step_line(info))
    if info.ties:
        figure.add_trace(_tie_lines(info))
    for name, symbol in info.symbols:
        for points, on_frontier in ((info.dominated, False), (info.front, True)):
            group = [p for p in points if p.format == name]
            if group:
                figure.add_trace(_markers(group, symbol, info, on_frontier))
        figure.add_trace(_legend_entry(name, symbol))
    if info.stopped:
        figure.add_trace(_stopped_markers(info.stopped))
    if info.limit is not None:
        figure.add_vline(
            x=info.limit,
            line={"color": VERMILION, "dash": "dash", "width": 2},
            annotation={"text": f"budget {_cost_text(info.cost, info.limit)}", "font": {"color": VERMILION}},
            annotation_position="top right" if info.cost is Objective.DECODE else "top left",
        )
    style(figure, title=scale.title, subtitle=info.subtitle)
    figure.update_layout(
        height=540,
        margin={"l": 80, "r": 30, "t": 95, "b": 70},
        legend=LEGEND_BELOW,
        clickmode="event+select",
        dragmode="pan",
        hovermode="closest",
    )
    figure.update_xaxes(
        title=scale.axis_title,
        range=list(info.cost_range),
        nticks=4,  # more would lie on one another on a phone
        **cost_ticks(info.cost, *info.cost_range),
    )
    figure.update_yaxes(title=info.score_axis, tickformat=".3~f", range=list(info.score_range))
    if info.colour_ticks_tokens_per_s:
        figure.update_layout(coloraxis=_colour_axis(info.colour_ticks_tokens_per_s))
    return figure


def _point(
    record: TrialRecord, cost: Objective, ranked: Ranking, *, bar: float | None, hover: str
) -> FrontierPoint:
    decode, value, score = record.decode_tokens_per_s, record.cost(cost), ranked.scores[record.number]
    assert value is not None, record.number
    predicted = _PREDICTED[cost](record) if cost in _PREDICTED else None
    return FrontierPoint(
        trial=record.number,
        cost=value,
        cost_low=predicted.low if predicted else value,
        cost_high=predicted.high if predicted else value,
        val_bits_per_byte=score.bits_per_byte,
        bar=bar,
        decode_tokens_per_s=decode.value if decode else None,
        format=record.candidate.format,
        hover=hover,
        label=Label(),
    )


def _hover(result: SearchResult, record: TrialRecord, remark: str) -> str:
    return hover_text(record, remark, score=ranked_text(result, record))


def _cost_text(cost: Objective, value: float) -> str:
    """Return a limit as it was typed: 200 MB stays 200 MB, also of memory, whose figures are in MiB."""
    if cost is Objective.MEMORY:
        return limit_bytes_text(value)
    if cost is Objective.DECODE:
        return f"{rate_text(value)} tokens/s"
    return cost.text(value)


def _nothing(result: SearchResult, cost: Objective) -> str:
    if result.trained and cost is Objective.DECODE:
        return "No speed was predicted: the study names no device."
    if result.trained:
        return f"No {cost.label} was recorded."
    return "No model has been trained yet."


def _symbols(formats: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, SYMBOLS[i % len(SYMBOLS)]) for i, name in enumerate(sorted(set(formats))))


def _colour_ticks(points: Iterable[FrontierPoint]) -> tuple[float, ...]:
    speeds = [p.decode_tokens_per_s for p in points if p.decode_tokens_per_s is not None]
    if not speeds:
        return ()
    low, high = min(speeds), max(speeds)
    # a round value next to an end would be printed over it
    between = log_ticks(low, high, gap=(high / low) ** _TICK_GAP)
    return (low, *between, *((high,) if high > low else ()))


def _in_view(limit: float, points: tuple[FrontierPoint, ...], cost: Objective) -> bool:
    if cost is Objective.DECODE:
        return limit * _LIMIT_IN_VIEW >= min(p.cost for p in points)
    return limit <= _LIMIT_IN_VIEW * max(p.cost for p in points)


def _cost_range(points: tuple[FrontierPoint, ...], limit: float | None) -> tuple[float, float]:
    costs = [cost for p in points for cost in (p.cost_low, p.cost_high)]
    if not costs:
        return (0.0, 1e6)
    return axis_range(costs if limit is None else [*costs, limit])


def _score_range(points: tuple[FrontierPoint, ...]) -> tuple[float, float]:
    """Return the ends of the vertical axis, with room for labels above the points and below them."""
    scores = [p.val_bits_per_byte + sign * (p.bar or 0.0) for p in points for sign in (-1, 1)]
    low, high = axis_range(scores)
    room = _LABEL_ROOM * (high - low)
    return (low - room, high + room)


def _spot(point: FrontierPoint, cost_range: tuple[float, float], score_range: tuple[float, float]) -> Spot:
    (left, right), (low, high) = cost_range, score_range
    return Spot((point.cost - left) / (right - left), (point.val_bits_per_byte - low) / (high - low))


def _hidden_limit(cost: Objective, limit: float | None) -> tuple[str, ...]:
    return () if limit is None else (f"{SCALES[cost].limit_name} {_cost_text(cost, limit)}",)


def _step_line(info: FrontierInfo) -> go.Scatter:
    """Return the step line of the best score at each cost, extended to the edge of the view."""
    xs, ys = [p.cost for p in info.front], [p.val_bits_per_byte for p in info.front]
    edge = info.cost_range[0] if info.cost is Objective.DECODE else info.cost_range[1]
    return go.Scatter(
        x=[*xs, edge],
        y=[*ys, ys[-1]],
        mode="lines",
        line={"shape": "hv", "color": GREY, "width": 2},
        name="frontier",
        hoverinfo="skip",
    )


def _tie_lines(info: FrontierInfo) -> go.Scatter:
    # a gap after each pair: one trace, one entry in the legend
    xs: list[float | None] = []
    ys: list[float | None] = []
    for first, second in info.ties:
        xs += [first.cost, second.cost, None]
        ys += [first.val_bits_per_byte, second.val_bits_per_byte, None]
    return go.Scatter(
        x=xs,
        y=ys,
        mode="lines",
        line={"dash": "dot", "color": VERMILION, "width": 2},
        name="tie",
        hoverinfo="skip",
    )


def _markers(points: list[FrontierPoint], symbol: str, info: FrontierInfo, on_frontier: bool) -> go.Scatter:
    coloured = bool(info.colour_ticks_tokens_per_s)
    speeds = [p.decode_tokens_per_s for p in points]
    plain = BLUE if on_frontier else GREY
    colours = [None if speed is None else log10(speed) for speed in speeds] if coloured else plain
    marker = {
        "symbol": symbol,
        "size": 14 if on_frontier else 10,
        "opacity": 1 if on_frontier else 0.55,
        "color": colours,
        "line": {"color": GREY, "width": 1.5},
        **({"coloraxis": "coloraxis"} if coloured else {}),
    }
    bars = {"color": GREY, "thickness": 1.5 if on_frontier else 0.8, "width": 4}
    across = {
        "type": "data",
        "symmetric": False,
        "array": [p.cost_high - p.cost for p in points],
        "arrayminus": [p.cost - p.cost_low for p in points],
        **bars,
    }
    return go.Scatter(
        x=[p.cost for p in points],
        y=[p.val_bits_per_byte for p in points],
        mode="markers+text" if any(p.label.text for p in points) else "markers",
        text=[p.label.text for p in points],
        textposition=[p.label.side or _ANY_SIDE for p in points],
        textfont={"size": 12},
        marker=marker,
        error_x=across if info.cost in _PREDICTED else None,
        error_y={"type": "data", "array": [p.bar for p in points], **bars},
        hovertext=[p.hover for p in points],
        hoverinfo="text",
        customdata=[p.trial for p in points],
        legendgroup=points[0].format,
        name=points[0].format,
        showlegend=False,
    )


def _stopped_markers(points: tuple[FrontierPoint, ...]) -> go.Scatter:
    return go.Scatter(
        x=[p.cost for p in points],
        y=[p.val_bits_per_byte for p in points],
        mode="markers",
        marker={"symbol": "circle-open", "size": 10, "color": GREY},
        hovertext=[p.hover for p in points],
        hoverinfo="text",
        customdata=[p.trial for p in points],
        name="stopped earlier",
        visible="legendonly",
    )


def _colour_axis(ticks: tuple[float, ...]) -> dict[str, object]:
    """Return a logarithmic colour axis: on a linear one all but the small, fast models would look alike."""
    low, high = log10(ticks[0]), log10(ticks[-1])
    return {
        "colorscale": "Viridis",
        "cmin": low if high > low else low - 1,  # a single speed has no span
        "cmax": high,
        "colorbar": {
            "title": {"text": "decode<br>tokens/s<br>&nbsp;"},
            "tickvals": [log10(tick) for tick in ticks],
            "ticktext": [rate_text(tick) for tick in ticks],
            "thickness": 16,
            "outlinewidth": 0,
        },
    }


def _legend_entry(name: str, symbol: str) -> go.Scatter:
    # the points take their colour from their speed, so the legend shows each format's symbol in grey
    marker = {"symbol": symbol, "size": 12, "color": GREY}
    return go.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        marker=marker,
        name=escape(name),
        legendgroup=name,
        hoverinfo="skip",
    )
