"""Runs a worker in a process of its own: JSON in, JSON out; a crash or a hang becomes one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from sizer.errors import MeasurementError
from sizer.measure.timings import Task, Timing


def command_of(script: Path, request: dict[str, Any]) -> list[str]:
    """The command that runs a worker's script on a request."""
    # -P: the worker's own folder is no place to import from
    return [sys.executable, "-P", str(script), json.dumps(request)]


def time_in_process(
    task: Task, request: dict[str, Any], *, script: Path, engine: str, timeout_s: float
) -> Timing:
    """Time one file in a process of its own; MeasurementError in one line when that crashes or hangs."""
    before = _processor_times()
    try:
        done = subprocess.run(
            command_of(script, request),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise failed(engine, task.path, f"no answer within {timeout_s:g} s") from None
    if done.returncode != 0:
        raise failed(engine, task.path, why(done.returncode, done.stderr))
    try:
        timing = _timing(json.loads(done.stdout.splitlines()[-1]), timeout_s)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise failed(engine, task.path, f"its answer cannot be read ({type(error).__name__})") from None
    return timing._replace(others_share=_others_share(before, _processor_times()))


def failed(engine: str, path: Path, reason: str) -> MeasurementError:
    """The error of an engine that failed on a file, in one line."""
    return MeasurementError(f"calibrate: {engine} failed on {path.name}: {reason}")


def why(code: int, errors: str) -> str:
    """What ended a process, from its exit code and what it said."""
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"it was ended by {name}"
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    # llama.cpp's own first error says more than the exception that follows it
    first = next((line for line in lines if " E " in line), lines[-1] if lines else "it said nothing")
    return f"exit code {code}: {first[:200]}"


class _Times(NamedTuple):
    """Processor seconds since the start: all there are, those used, those this program's children used."""

    all_s: float
    used_s: float
    ours_s: float


def _processor_times() -> _Times | None:
    """Where the system says; None elsewhere."""
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()
        user, nice, system, idle, iowait, irq, softirq, steal, *_ = (int(x) for x in first[1:])
    except (OSError, ValueError, IndexError):
        return None
    ticks = os.sysconf("SC_CLK_TCK")
    used = user + nice + system + irq + softirq + steal
    ours = os.times()
    mine = ours.user + ours.system + ours.children_user + ours.children_system
    return _Times((used + idle + iowait) / ticks, used / ticks, mine)


def _others_share(before: _Times | None, after: _Times | None) -> float:
    """Share of the processors that neither this program nor its children used, and that was not idle."""
    if before is None or after is None or after.all_s <= before.all_s:
        return 0.0
    others = after.used_s - before.used_s - (after.ours_s - before.ours_s)
    return min(1.0, max(0.0, others / (after.all_s - before.all_s)))


def _timing(answer: dict[str, Any], timeout_s: float) -> Timing:
    before, after = answer["memory_before"], answer["memory_after"]
    known = before is not None and after is not None
    timing = Timing(
        load_s=float(answer["load_s"]),
        prefill_s=tuple(map(float, answer["prefill_s"])),
        decode_s=tuple(map(float, answer["decode_s"])),
        resident_bytes=after["total"] - before["total"] if known else None,
        anonymous_bytes=after["anonymous"] - before["anonymous"] if known else None,
    )
    seconds = (timing.load_s, *timing.prefill_s, *timing.decode_s)
    if not timing.decode_s or not all(0 < s < timeout_s for s in seconds):
        raise ValueError(seconds)
    return timing
