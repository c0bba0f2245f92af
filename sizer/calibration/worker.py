"""Runs a worker script in a separate process: JSON in, JSON out; a crash or a hang is a MeasurementError."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from sizer.calibration.timings import Timing, TimingTask
from sizer.errors import MeasurementError


def command_of(script: Path, request: dict[str, Any]) -> list[str]:
    """Return the command that runs a worker's script on a request."""
    # -P: nothing is imported from the worker's folder
    return [sys.executable, "-P", str(script), json.dumps(request)]


def answer_in_process(
    path: Path, request: dict[str, Any], *, script: Path, what: str, timeout_s: float | None = None
) -> dict[str, Any]:
    """Return a worker's answer to a request; MeasurementError beginning with `what` if it fails or hangs."""
    try:
        done = subprocess.run(
            command_of(script, request),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            reason = why(done.returncode, done.stderr)
        else:
            found = json.loads(done.stdout.splitlines()[-1])
            if isinstance(found, dict):
                return found
            reason = "its answer cannot be read"
    except subprocess.TimeoutExpired:
        reason = f"no answer within {timeout_s:g} s"
    except (IndexError, ValueError) as error:
        reason = f"its answer cannot be read ({type(error).__name__})"
    raise MeasurementError(f"{what} failed on {path.name}: {reason}")


def time_in_process(
    task: TimingTask, request: dict[str, Any], *, script: Path, engine: str, timeout_s: float
) -> Timing:
    """Time one file in a separate process; MeasurementError if that crashes or hangs."""
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
    """Return the error of a runtime that failed on a file, in one line."""
    return MeasurementError(f"calibrate: {engine} failed on {path.name}: {reason}")


def why(code: int, errors: str) -> str:
    """Return why a process ended, from its exit code and error output."""
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"it was ended by {name}"
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    # llama.cpp's first error is more specific than the exception that follows it
    first = next((line for line in lines if " E " in line), lines[-1] if lines else "it said nothing")
    return f"exit code {code}: {first[:200]}"


class _Times(NamedTuple):
    """Processor seconds since the start: in total, in use, and of this program with its children."""

    all_s: float
    used_s: float
    ours_s: float


def _processor_times() -> _Times | None:
    """Read the processor times; None where the system has no /proc/stat."""
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


def _others_share(before: _Times | None, after: _Times | None) -> float | None:
    """Return the share of processor time that other programs used; None where that is not known."""
    if before is None or after is None or after.all_s <= before.all_s:
        return None
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
