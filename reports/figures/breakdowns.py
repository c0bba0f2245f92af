"""What is drawn of one model's parts: parameters, file bytes, memory against the budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from reports.figures.axes import linear_ticks
from reports.palette import BLUE, GREEN, VERMILION
from reports.text.wording import fit_text, limit_bytes_text, share_text
from sizer.units import format_bytes, format_bytes_binary, format_count, parse_bytes, parse_count

if TYPE_CHECKING:
    from sizer.model_estimate import Estimate

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
    """Every decision about one breakdown figure."""

    title: str
    subtitle: str
    bars: tuple[Bar, ...]
    colour: str
    axis_title: str
    axis_end: float
    ticks: tuple[tuple[float, str], ...]  # (position, text)
    budget: int | None  # None: no budget, or it lies far outside the view
    budget_text: str


def known_breakdowns(estimate: Estimate) -> dict[str, BreakdownInfo]:
    """Return what the figures of the known parts show: parameters, and file and memory where they are."""
    infos = {"parameters": parameters_info(estimate)}
    if estimate.weights is not None:
        infos["file"] = bytes_info(estimate)
    if estimate.held is not None:
        infos["memory"] = memory_info(estimate)
    return infos


def parameters_info(estimate: Estimate) -> BreakdownInfo:
    """Decide what the figure of parameters by part shows."""
    p = estimate.parameters
    parts = {
        "embedding": p.embedding,
        "attention": p.attention,
        "FFN": p.mlp,
        "norm": p.norm,
        "head": p.head,
    }
    tied = estimate.shape is not None and estimate.shape.tie_embeddings
    return _info(
        title=f"Parameters: {format_count(p.total)}",
        subtitle="head tied to the embedding" if tied else "head not tied to the embedding",
        parts=parts,
        colour=BLUE,
        axis_title="number of parameters",
        wording=format_count,
        units=_COUNT_UNITS,
    )


def bytes_info(estimate: Estimate) -> BreakdownInfo:
    """Decide what the figure of file bytes shows: block types, tokenizer, directory."""
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
    """Decide what the figure of memory by part at full context shows, with the device's limit."""
    m = estimate.memory
    parts = {
        "weights": m.weights_bytes,
        "KV cache": m.kv_cache_bytes,
        "compute buffer": m.compute_bytes,
        "output buffer": m.output_bytes,
        "overhead": m.overhead_bytes,
        **m.companions,
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
    info = info._replace(subtitle=fit_text(m.limited_bytes, m.budget_bytes))
    if m.budget_bytes > _BUDGET_IN_VIEW * m.total_bytes:
        return info
    end = max(info.axis_end, 1.1 * m.budget_bytes)
    return info._replace(
        budget=m.budget_bytes,
        budget_text=f"memory limit {limit_bytes_text(m.budget_bytes)}",
        axis_end=end,
        ticks=linear_ticks(end, format_bytes_binary, BINARY_UNITS, _TICK_INTERVALS),
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
        colour=colour,
        axis_title=axis_title,
        axis_end=end,
        ticks=linear_ticks(end, wording, units, _TICK_INTERVALS),
        budget=None,
        budget_text="",
    )
