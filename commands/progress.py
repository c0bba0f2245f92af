"""A search's progress for people: one bar over all steps of all trials, ETA, tokens/s, best so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from rich.console import Console

    from search.run.loop import Progress as SearchProgress

# Without a terminal there is no bar to redraw: a line now and then instead.
_LINE_EVERY_S = 15.0
# The ETA looks at the speed of about the last model or two.
_ETA_WINDOW_S = 60.0


@contextmanager
def search_progress(console: Console) -> Iterator[Callable[[SearchProgress], None]]:
    """A hook for the runner that draws a bar on a terminal and prints lines elsewhere."""
    if not console.is_terminal:
        yield _lines(console)
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        speed_estimate_period=_ETA_WINDOW_S,
    )
    with bar:
        task = bar.add_task("measuring this machine", total=None, note="")

        def hook(progress: SearchProgress) -> None:
            bar.update(
                task,
                description=f"[bold]{progress.study}[/] {_stage(progress)}",
                total=max(progress.total_steps, progress.done_steps),
                completed=progress.done_steps,
                note=_note(progress),
            )

        yield hook


def _note(progress: SearchProgress) -> str:
    parts = []
    if progress.candidate is not None:
        parts.append(f"{progress.candidate.architecture.name} {progress.candidate.format}")
    if progress.tokens_per_s:
        parts.append(f"{progress.tokens_per_s / 1000:.1f}k tokens/s")
    best = progress.best
    if best is not None and best.proxy is not None:
        whose = "best" if best.scaled is None else "best proxy"
        parts.append(f"{whose} {best.proxy.val_bits_per_byte:.3f} bits/byte (trial {best.number})")
    if progress.infeasible:
        parts.append(f"{progress.infeasible} over budget")
    return "  ".join(parts)


def _stage(progress: SearchProgress) -> str:
    """Models trained of those wanted; in later rungs which one."""
    if progress.rung == 0 or progress.candidate is None:
        return f"{progress.trained}/{progress.wanted}"
    return f"rung {progress.rung + 1}/{progress.rungs}"


def _lines(console: Console) -> Callable[[SearchProgress], None]:
    started = time.monotonic()
    state = {"at": 0.0, "first": -1.0}
    told = {"stage": ""}

    def hook(progress: SearchProgress) -> None:
        now = time.monotonic()
        if _stage(progress) == told["stage"] and now - state["at"] < _LINE_EVERY_S:
            return
        if state["first"] < 0:
            state["first"] = progress.done_steps
        told["stage"], state["at"] = _stage(progress), now
        done, left = progress.done_steps - state["first"], progress.total_steps - progress.done_steps
        eta = f"eta {_clock((now - started) / done * left)}" if done > 0 else "eta unknown"
        console.print(f"{progress.study} {_stage(progress)}  {eta}  {_note(progress)}", soft_wrap=True)

    return hook


def _clock(seconds: float) -> str:
    from sizer.units import format_seconds

    return format_seconds(max(0.0, seconds))
