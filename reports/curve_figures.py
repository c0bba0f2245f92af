"""Figures of an estimate made again and again: over the context's length and over a runtime's formats."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import plotly.graph_objects as go

from reports.breakdowns import BINARY_UNITS, DECIMAL_UNITS, round_ticks
from reports.figures.style import AXIS, look
from reports.palette import BLUE, GREY, VERMILION
from reports.wording import range_text, rate_text
from sizer.units import format_bytes, format_bytes_binary

if TYPE_CHECKING:
    from sizer.curves import ContextPoint, FormatPoint
    from sizer.estimate import Estimate

# Most formats lie between 2 and 8 bits: on a linear axis they would lie on each other.
_BIT_TICKS = tuple((float(bits), str(bits)) for bits in (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32))
_BAND = "rgba(0, 114, 178, 0.18)"  # BLUE, faint


class Curve(NamedTuple):
    """A figure of one number over another: points joined by a line, some with a range; one of them marked."""

    title: str
    subtitle: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]  # empty: no range
    high: tuple[float, ...]
    hover: tuple[str, ...]
    marked: int | None  # index of the point that is on the page now
    x_title: str
    y_title: str
    x_ticks: tuple[tuple[float, str], ...]  # empty: plotly's own
    y_ticks: tuple[tuple[float, str], ...]
    log_x: bool
    joined: bool
    limit: float | None
    limit_text: str


def context_curves(points: Sequence[ContextPoint], sized: Estimate) -> tuple[Curve, ...]:
    """Memory and, with a device, decoding speed over the context's length."""
    contexts = tuple(float(p.context_tokens) for p in points)
    marked = next(
        (i for i, p in enumerate(points) if p.context_tokens == sized.workload.context_tokens), None
    )
    budget = sized.memory.budget_bytes
    memories = tuple(float(p.memory_bytes) for p in points)
    near = budget is not None and budget <= 2 * max(memories)
    memory = _curve(
        title="Memory over context",
        subtitle="at full context",
        x=contexts,
        y=memories,
        hover=tuple(
            f"{p.context_tokens:,} tokens: {format_bytes_binary(p.memory_bytes)}, KV cache "
            f"{format_bytes_binary(p.kv_cache_bytes)}"
            for p in points
        ),
        marked=marked,
        x_title="context (tokens)",
        y_title="memory",
        x_ticks=_context_ticks(points),
        y_ticks=round_ticks(
            max((*memories, float(budget)) if near and budget else memories),
            BINARY_UNITS,
            format_bytes_binary,
            intervals=5,
        ),
        log_x=True,
    )
    if near and budget is not None:
        memory = memory._replace(limit=float(budget), limit_text=f"usable {format_bytes_binary(budget)}")
    speeds = [p.decode_tokens_per_s for p in points if p.decode_tokens_per_s is not None]
    if len(speeds) < len(points):
        return (memory,)
    decode = _curve(
        title="Decoding speed over context",
        subtitle="of the last tokens of a full context",
        x=contexts,
        y=tuple(s.value for s in speeds),
        hover=tuple(
            f"{p.context_tokens:,} tokens: {rate_text(s.value)} tokens/s ({range_text(s, rate_text)})"
            for p, s in zip(points, speeds, strict=True)
        ),
        marked=marked,
        x_title="context (tokens)",
        y_title="decode (tokens/s)",
        x_ticks=_context_ticks(points),
        log_x=True,
    )
    return memory, decode._replace(low=tuple(s.low for s in speeds), high=tuple(s.high for s in speeds))


def format_curves(points: Sequence[FormatPoint], sized: Estimate) -> tuple[Curve, ...]:
    """File bytes and, with a device, decoding speed over the bits per weight of every format."""
    bits = tuple(p.bits_per_weight for p in points)
    marked = next((i for i, p in enumerate(points) if p.format == sized.format), None)
    files = tuple(float(p.file_bytes) for p in points)
    file = _curve(
        title="File over bits per weight",
        subtitle=f"{len(points)} formats of {sized.runtime}",
        x=bits,
        y=files,
        hover=tuple(
            f"{p.format}: {format_bytes(p.file_bytes)}, {p.bits_per_weight:.2f} bits per weight"
            for p in points
        ),
        marked=marked,
        x_title="bits per weight",
        x_ticks=_BIT_TICKS,
        log_x=True,
        y_title="file",
        y_ticks=round_ticks(max(files), DECIMAL_UNITS, format_bytes, intervals=5),
    )
    speeds = [p.decode_tokens_per_s for p in points if p.decode_tokens_per_s is not None]
    if len(speeds) < len(points):
        return (file,)
    decode = _curve(
        title="Decoding speed over bits per weight",
        subtitle="bars: ranges",
        x=bits,
        y=tuple(s.value for s in speeds),
        hover=tuple(
            f"{p.format}: {rate_text(s.value)} tokens/s ({range_text(s, rate_text)})"
            for p, s in zip(points, speeds, strict=True)
        ),
        marked=marked,
        x_title="bits per weight",
        x_ticks=_BIT_TICKS,
        log_x=True,
        y_title="decode (tokens/s)",
    )
    low, high = tuple(s.low for s in speeds), tuple(s.high for s in speeds)
    return file, decode._replace(low=low, high=high, joined=False)


def _curve(
    *,
    title: str,
    subtitle: str,
    x: tuple[float, ...],
    y: tuple[float, ...],
    hover: tuple[str, ...],
    marked: int | None,
    x_title: str,
    y_title: str,
    x_ticks: tuple[tuple[float, str], ...] = (),
    y_ticks: tuple[tuple[float, str], ...] = (),
    log_x: bool = False,
) -> Curve:
    return Curve(
        title=title,
        subtitle=subtitle,
        x=x,
        y=y,
        low=(),
        high=(),
        hover=tuple(escape(text) for text in hover),
        marked=marked,
        x_title=x_title,
        y_title=y_title,
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        log_x=log_x,
        joined=True,
        limit=None,
        limit_text="",
    )


def _context_ticks(points: Sequence[ContextPoint]) -> tuple[tuple[float, str], ...]:
    powers = [p.context_tokens for p in points if p.context_tokens & (p.context_tokens - 1) == 0]
    every = 1 if len(powers) <= 7 else 2
    return tuple((float(c), f"{c // 1024}K" if c >= 1024 else f"{c}") for c in powers[::-1][::every])


def curve_figure(curve: Curve) -> go.Figure:
    """A line with its range as a band, or points with bars; what is on the page now is a diamond.

    Made in one go: plotly checks a figure anew, slowly, each time that something is added to it.
    """
    title_font = {"size": 13}
    return go.Figure(
        data=[*_band(curve), _points(curve)],
        layout={
            **look(title=curve.title, subtitle=curve.subtitle),
            "template": "none",
            "height": 360,
            "showlegend": False,
            "margin": {"l": 10, "r": 20, "t": 80, "b": 55},
            "dragmode": False,
            "xaxis": {
                **AXIS,
                **_ticks(curve.x_ticks),
                "title": {"text": curve.x_title, "font": title_font},
                "tickangle": 0,
                "type": "log" if curve.log_x else "linear",
            },
            "yaxis": {
                **AXIS,
                **_ticks(curve.y_ticks),
                "title": {"text": curve.y_title, "font": title_font},
                "rangemode": "tozero",
            },
            **_limit(curve),
        },
    )


def _band(curve: Curve) -> list[dict[str, Any]]:
    if not (curve.low and curve.joined):
        return []
    return [
        {
            "type": "scatter",
            "x": [*curve.x, *reversed(curve.x)],
            "y": [*curve.high, *reversed(curve.low)],
            "mode": "lines",
            "fill": "toself",
            "fillcolor": _BAND,
            "line": {"width": 0},
            "hoverinfo": "skip",
        }
    ]


def _points(curve: Curve) -> dict[str, Any]:
    places = range(len(curve.x))
    points: dict[str, Any] = {
        "type": "scatter",
        "x": list(curve.x),
        "y": list(curve.y),
        "mode": "lines+markers" if curve.joined else "markers",
        "line": {"color": BLUE, "width": 2},
        "marker": {
            "color": [VERMILION if i == curve.marked else BLUE for i in places],
            "size": [13 if i == curve.marked else 8 for i in places],
            "opacity": 1,
            "symbol": ["diamond" if i == curve.marked else "circle" for i in places],
        },
        "hovertext": list(curve.hover),
        "hoverinfo": "text",
    }
    if curve.low and not curve.joined:
        points["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": [high - y for y, high in zip(curve.y, curve.high, strict=True)],
            "arrayminus": [y - low for y, low in zip(curve.y, curve.low, strict=True)],
            "color": GREY,
            "thickness": 1,
            "width": 2,
        }
    return points


def _limit(curve: Curve) -> dict[str, Any]:
    """A dashed line across the figure, and its words above it at the left."""
    if curve.limit is None:
        return {}
    across = {"xref": "x domain", "yref": "y"}
    line = {"type": "line", "x0": 0, "x1": 1, "y0": curve.limit, "y1": curve.limit, **across}
    words = {"text": curve.limit_text, "font": {"size": 12.5}, "showarrow": False, "x": 0, "y": curve.limit}
    return {
        "shapes": [{**line, "line": {"color": GREY, "dash": "dash", "width": 2}}],
        "annotations": [{**words, **across, "xanchor": "left", "yanchor": "bottom"}],
    }


def _ticks(ticks: Sequence[tuple[float, str]]) -> dict[str, Any]:
    if not ticks:
        return {}
    return {"tickvals": [position for position, _ in ticks], "ticktext": [text for _, text in ticks]}
