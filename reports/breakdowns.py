"""What is drawn of one model's parts: parameters, file bytes, memory against the budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, log10
from typing import TYPE_CHECKING, NamedTuple

from reports.palette import BLUE, GREEN, VERMILION
from reports.wording import fit_text, share_text
from sizer.units import format_bytes, format_bytes_binary, format_count, parse_bytes, parse_count

if TYPE_CHECKING:
    from sizer.estimate import Estimate

_COUNT_UNITS = tuple(parse_count(text) for text in ("1B", "1M", "1K", "1"))
DECIMAL_UNITS = tuple(parse_bytes(text) for text in ("1GB", "1MB", "1KB", "1B"))
BINARY_UNITS = tuple(parse_bytes(text) for text in ("1GiB", "1MiB", "1KiB", "1B"))

_TICK_INTERVALS = 3
# A budget further right than this many times the total would flatten every bar.
_BUDGET_IN_VIEW = 2.0
# Room to the right of the longest bar for its text.
_TEXT_ROOM = 1.75


class Bar(NamedTuple):
    """One part: its name, its size, and the text at the end of its bar."""

    label: str
    value: int
    text: str
    share: str


class BreakdownInfo(NamedTuple):
    """Every decision about one breakdown figure; the bars sum to `total`."""

    title: str
    subtitle: str
    bars: tuple[Bar, ...]
    total: int
    colour: str
    axis_title: str
    axis_end: float
    ticks: tuple[tuple[float, str], ...]  # (position, text)
    budget: int | None  # None: no budget, or it lies far outside the view
    budget_text: str


def parameters_info(estimate: Estimate) -> BreakdownInfo:
    """Decisions about the figure of parameters by part of the model."""
    p = estimate.parameters
    parts = {
        "embedding": p.embedding,
        "attention": p.attention,
        "feed-forward": p.mlp,
        "norm": p.norm,
        "head": p.head,
    }
    tied = estimate.architecture.tie_embeddings
    return _info(
        title=f"Parameters: {format_count(p.total)}",
        subtitle="head tied to the embedding" if tied else "head apart from the embedding",
        parts=parts,
        colour=BLUE,
        axis_title="number of parameters",
        wording=format_count,
        units=_COUNT_UNITS,
    )


def bytes_info(estimate: Estimate) -> BreakdownInfo:
    """Decisions about the figure of the file's bytes by block type, and what surrounds the tensors."""
    file = estimate.file
    parts = dict(sorted(estimate.bytes_by_type.items(), key=lambda item: -item[1]))
    parts["tokenizer"] = file.tokenizer_bytes
    parts["directory"] = file.directory_bytes + file.padding_bytes
    return _info(
        title=f"File: {format_bytes(file.total)}",
        subtitle=f"{estimate.format}, {estimate.bits_per_weight:.2f} bits per weight",
        parts=parts,
        colour=GREEN,
        axis_title="bytes in the file",
        wording=format_bytes,
        units=DECIMAL_UNITS,
    )


def memory_info(estimate: Estimate) -> BreakdownInfo:
    """Decisions about the figure of memory by part at full context, against the device's budget."""
    m = estimate.memory
    parts = {
        "weights": m.weights_bytes,
        "KV cache": m.kv_cache_bytes,
        "compute buffer": m.compute_bytes,
        "output buffer": m.output_bytes,
        "overhead": m.overhead_bytes,
    }
    info = _info(
        title=f"Memory: {format_bytes_binary(m.total_bytes)}",
        subtitle=f"context {m.context_tokens:,} tokens",
        parts=parts,
        colour=VERMILION,
        axis_title="bytes of memory",
        wording=format_bytes_binary,
        units=BINARY_UNITS,
        total_bar=True,
    )
    if m.budget_bytes is None:
        return info
    info = info._replace(subtitle=fit_text(m.total_bytes, m.budget_bytes))
    if m.budget_bytes > _BUDGET_IN_VIEW * m.total_bytes:
        return info
    end = max(info.axis_end, 1.1 * m.budget_bytes)
    return info._replace(
        budget=m.budget_bytes,
        budget_text=f"budget {format_bytes_binary(m.budget_bytes)}",
        axis_end=end,
        ticks=round_ticks(end, BINARY_UNITS, format_bytes_binary),
    )


def _info(
    *,
    title: str,
    subtitle: str,
    parts: Mapping[str, int],
    colour: str,
    axis_title: str,
    wording: Callable[[int], str],
    units: tuple[int, ...],
    total_bar: bool = False,
) -> BreakdownInfo:
    total = sum(parts.values())
    bars = [Bar(label, value, wording(value), share_text(value, total)) for label, value in parts.items()]
    if total_bar:
        bars.append(Bar("total", total, wording(total), "all"))
    end = _TEXT_ROOM * max(bar.value for bar in bars)
    return BreakdownInfo(
        title=title,
        subtitle=subtitle,
        bars=tuple(bars),
        total=total,
        colour=colour,
        axis_title=axis_title,
        axis_end=end,
        ticks=round_ticks(end, units, wording),
        budget=None,
        budget_text="",
    )


def round_ticks(
    end: float, units: tuple[int, ...], wording: Callable[[int], str], intervals: int = _TICK_INTERVALS
) -> tuple[tuple[float, str], ...]:
    """About so many round positions from 0, round in the unit they are printed in (5 MiB, not 5.24 MB)."""
    unit = next((u for u in units if u <= end / 2), 1)
    rough = max(end / intervals / unit, 1e-9)
    power = 10.0 ** (ceil(log10(rough)) - 1)
    step = max(1, round(next(m for m in (1, 2, 5, 10) if m * power >= 0.8 * rough) * power * unit))
    return tuple((position, wording(position)) for position in range(0, int(end) + 1, step))
