"""Stacked bars: memory against what the device gives, and where a decoding step's time goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from reports.palette import BLUE, GREEN, GREY, VERMILION
from reports.text.wording import STEP_NAMES, fit_text, limit_bytes_text, share_text
from sizer.units import format_bytes_binary, format_seconds

if TYPE_CHECKING:
    from sizer.devices.step_time import StepTime
    from sizer.model_estimate import Estimate
    from sizer.workload import Workload

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


def _no_limit(sized: Estimate) -> str:
    """Return why there is no limit to draw."""
    return "no memory limit known" + ("" if sized.device else ": choose a device")


def memory_stack_info(sized: Estimate) -> StackInfo:
    """Decide what the figure of memory by part shows, with the device's limit for an application."""
    m = sized.memory
    # the limit is that of a card where there is one: so are the parts
    held = next((share for share in m.devices if share.device == "gpu"), m)
    rest = 0 if m.devices else m.output_bytes + m.overhead_bytes
    parts = {
        "weights": (BLUE, held.weights_bytes),
        "KV cache": (VERMILION, held.kv_cache_bytes),
        "compute buffer": (GREEN, held.compute_bytes),
        "output, overhead": (GREY, rest),
        **{label: (GREY, size) for label, size in m.companions.items()},
    }
    budget = m.budget_bytes
    return StackInfo(
        title="Memory against the device" if budget else "Memory",
        subtitle=fit_text(m.limited_bytes, budget) if budget else _no_limit(sized),
        bars=("needed",),
        totals=(format_bytes_binary(m.limited_bytes),),
        parts=tuple(
            StackPart(
                name,
                colour,
                (float(size),),
                (f"{format_bytes_binary(size)}, {share_text(size, m.limited_bytes)}",),
            )
            for name, (colour, size) in parts.items()
        ),
        limit=float(budget) if budget else None,
        limit_text=f"dashed: usable, {limit_bytes_text(budget)}" if budget else "",
    )


def step_stack_info(now: StepTime, full: StepTime | None, workload: Workload) -> StackInfo:
    """Decide on the seconds of a decoding step by part: averaged over the answer, and at full context."""
    answered = workload.prompt_tokens + workload.generated_tokens
    bars = {f"up to {answered:,} tokens": now}
    bars |= {f"at full context ({workload.context_tokens:,})": full} if full else {}
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
