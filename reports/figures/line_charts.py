"""What is drawn of an estimate made again and again: over the context's length and a runtime's formats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from reports.figures.axes import linear_ticks
from reports.figures.breakdowns import BINARY_UNITS, DECIMAL_UNITS
from reports.text.wording import range_text, rate_text
from sizer.units import format_bytes, format_bytes_binary

if TYPE_CHECKING:
    from sizer.model_estimate import Estimate
    from sizer.sweeps import ContextPoint, FormatPoint

# Most formats lie between 2 and 8 bits: on a linear axis they would lie on each other.
_BIT_TICKS = tuple((float(bits), str(bits)) for bits in (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32))


class LineChart(NamedTuple):
    """A figure of one number over another: points joined by a line, some with a range; one of them marked."""

    title: str
    subtitle: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    hover: tuple[str, ...]
    marked: int | None  # index of the point that is on the page now
    x_title: str
    y_title: str
    x_ticks: tuple[tuple[float, str], ...]  # on a logarithmic axis
    y_ticks: tuple[tuple[float, str], ...]  # from 0
    low: tuple[float, ...] = ()  # empty: no range
    high: tuple[float, ...] = ()
    joined: bool = True
    limit: float | None = None
    limit_text: str = ""


def context_curves(points: Sequence[ContextPoint], sized: Estimate) -> tuple[LineChart, ...]:
    """Decide on memory and, with a device, decoding speed over the context's length."""
    contexts = tuple(float(p.context_tokens) for p in points)
    marked = next(
        (i for i, p in enumerate(points) if p.context_tokens == sized.workload.context_tokens), None
    )
    budget = sized.memory.budget_bytes
    memories = tuple(float(p.memory_bytes) for p in points)
    near = budget is not None and budget <= 2 * max(memories)
    memory = LineChart(
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
        y_ticks=linear_ticks(
            max((*memories, float(budget)) if near and budget else memories),
            format_bytes_binary,
            BINARY_UNITS,
        ),
    )
    if near and budget is not None:
        memory = memory._replace(limit=float(budget), limit_text=f"usable {format_bytes_binary(budget)}")
    # a context that does not fit has no speed
    fitting = [(p, s) for p in points if (s := p.decode_tokens_per_s) is not None]
    if not fitting:
        return (memory,)
    speeds = [s for _, s in fitting]
    decode = LineChart(
        title="Decoding speed over context",
        subtitle="of the last tokens of a full context",
        x=tuple(float(p.context_tokens) for p, _ in fitting),
        y=tuple(s.value for s in speeds),
        hover=tuple(
            f"{p.context_tokens:,} tokens: {rate_text(s.value)} tokens/s ({range_text(s, rate_text)})"
            for p, s in fitting
        ),
        marked=next(
            (i for i, (p, _) in enumerate(fitting) if p.context_tokens == sized.workload.context_tokens), None
        ),
        x_title="context (tokens)",
        y_title="decode (tokens/s)",
        x_ticks=_context_ticks(points),
        y_ticks=linear_ticks(max(s.high for s in speeds), lambda rate: f"{rate:,.10g}"),
    )
    return memory, decode._replace(low=tuple(s.low for s in speeds), high=tuple(s.high for s in speeds))


def format_curves(points: Sequence[FormatPoint], sized: Estimate) -> tuple[LineChart, ...]:
    """Decide on file bytes and, with a device, decoding speed over the bits per weight of every format."""
    bits = tuple(p.bits_per_weight for p in points)
    marked = next((i for i, p in enumerate(points) if p.format == sized.format), None)
    files = tuple(float(p.file_bytes) for p in points)
    file = LineChart(
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
        y_title="file",
        y_ticks=linear_ticks(max(files), format_bytes, DECIMAL_UNITS),
    )
    fitting = [(p, s) for p in points if (s := p.decode_tokens_per_s) is not None]
    if not fitting:
        return (file,)
    speeds = [s for _, s in fitting]
    decode = LineChart(
        title="Decoding speed over bits per weight",
        subtitle="bars: ranges",
        x=tuple(p.bits_per_weight for p, _ in fitting),
        y=tuple(s.value for s in speeds),
        hover=tuple(
            f"{p.format}: {rate_text(s.value)} tokens/s ({range_text(s, rate_text)})" for p, s in fitting
        ),
        marked=next((i for i, (p, _) in enumerate(fitting) if p.format == sized.format), None),
        x_title="bits per weight",
        x_ticks=_BIT_TICKS,
        y_title="decode (tokens/s)",
        y_ticks=linear_ticks(max(s.high for s in speeds), lambda rate: f"{rate:,.10g}"),
    )
    low, high = tuple(s.low for s in speeds), tuple(s.high for s in speeds)
    return file, decode._replace(low=low, high=high, joined=False)


def _context_ticks(points: Sequence[ContextPoint]) -> tuple[tuple[float, str], ...]:
    powers = [p.context_tokens for p in points if p.context_tokens & (p.context_tokens - 1) == 0]
    every = 1 if len(powers) <= 7 else 2
    return tuple((float(c), f"{c // 1024}K" if c >= 1024 else f"{c}") for c in powers[::-1][::every])
