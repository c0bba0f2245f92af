"""Stacked bars: memory against what the device gives, and where a decoding step's time goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from reports.palette import BLUE, GREEN, GREY, VERMILION
from reports.wording import STEP_NAMES, fit_text, share_text
from sizer.units import format_bytes_binary, format_seconds

if TYPE_CHECKING:
    from sizer.estimate import Estimate
    from sizer.step_time import StepTime

_STEP_PARTS = {"weights": BLUE, "layers": GREEN, "kv_cache": VERMILION, "fixed": GREY}


class StackPart(NamedTuple):
    """One part of every bar of a stack: its name, its colour, and its value and words in each bar."""

    name: str
    colour: str
    values: tuple[float, ...]
    texts: tuple[str, ...]


class StackInfo(NamedTuple):
    """Every decision about a figure of stacked bars; `limit` is in the unit of the values."""

    title: str
    subtitle: str
    bars: tuple[str, ...]
    totals: tuple[str, ...]
    parts: tuple[StackPart, ...]
    limit: float | None
    limit_text: str


def memory_stack_info(sized: Estimate) -> StackInfo:
    """Decisions about memory by part, in bytes, against what the device lets one application use."""
    m = sized.memory
    parts = {
        "weights": (BLUE, m.weights_bytes),
        "KV cache": (VERMILION, m.kv_cache_bytes),
        "compute buffer": (GREEN, m.compute_bytes),
        "output, overhead": (GREY, m.output_bytes + m.overhead_bytes),
    }
    budget = m.budget_bytes
    return StackInfo(
        title="Memory against the device" if budget else "Memory",
        subtitle=fit_text(m.total_bytes, budget) if budget else "no budget known: choose a device",
        bars=("needed",),
        totals=(format_bytes_binary(m.total_bytes),),
        parts=tuple(
            StackPart(
                name,
                colour,
                (float(size),),
                (f"{format_bytes_binary(size)}, {share_text(size, m.total_bytes)}",),
            )
            for name, (colour, size) in parts.items()
        ),
        limit=float(budget) if budget else None,
        limit_text=f"dashed: usable, {format_bytes_binary(budget)}" if budget else "",
    )


def step_stack_info(now: StepTime, full: StepTime | None, context_tokens: int) -> StackInfo:
    """Decisions about the seconds of a decoding step by part, as estimated and with the context full."""
    bars = {"estimated": now} | ({f"at {context_tokens:,} tokens": full} if full else {})
    names = {name: STEP_NAMES[name] for name in _STEP_PARTS}
    return StackInfo(
        title=f"A decoding step: {format_seconds(now.total_s)}",
        subtitle=f"{names[now.binds]} takes {share_text(now.to_dict()[f'{now.binds}_s'], now.total_s)}",
        bars=tuple(bars),
        totals=tuple(format_seconds(step.total_s) for step in bars.values()),
        parts=tuple(
            StackPart(
                names[name],
                colour,
                tuple(step.to_dict()[f"{name}_s"] for step in bars.values()),
                tuple(format_seconds(step.to_dict()[f"{name}_s"]) for step in bars.values()),
            )
            for name, colour in _STEP_PARTS.items()
        ),
        limit=None,
        limit_text="",
    )
