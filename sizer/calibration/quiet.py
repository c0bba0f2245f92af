"""Whether a machine is quiet while it is measured: load, processor time of others, spread of repeats."""

from __future__ import annotations

import os
from collections.abc import Sequence
from statistics import fmean, median

from sizer.calibration.timings import Timing, TimingTask

# Other programs on that share of the processors slow down llama.cpp's threads, which wait for each other.
_BUSY_LOAD = 0.5
# Share of the models that may lack an undisturbed timing.
_DISTURBED_MODELS = 0.1
# Repeats of one model on a quiet machine differ by 1 to 5 %.
_STEADY_SPREAD = 0.1
# Median absolute deviation -> standard deviation of normal noise
_DEVIATION = 1.4826


def load_now() -> float | None:
    """Return how many programs want a processor, over the last minute, per processor; None if not known."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (AttributeError, OSError):
        return None


def busy_note(load: float | None) -> str | None:
    """Return the warning of a machine that is busy before the timings; None for a quiet one."""
    if load is None or load < _BUSY_LOAD:
        return None
    return f"other programs are running (a load of {load:.1f} per processor): close them, they slow it down"


def timing_doubts(
    timed: Sequence[tuple[TimingTask, Sequence[Timing]]], load: float | None
) -> tuple[str, ...]:
    """Return why the timings are not those of a quiet machine, in words; nothing for a quiet one.

    `load` per processor, before the timings, decides only where the system has no processor times.
    """
    shares = [t.others_share for _, timings in timed for t in timings if t.others_share is not None]
    disturbed = sum(not any(t.is_quiet for t in timings) for _, timings in timed)
    found = []
    if disturbed > _DISTURBED_MODELS * len(timed):
        found.append(
            f"other programs took {fmean(shares):.0%} of the processors, and {disturbed} of {len(timed)} "
            "models were never timed without them"
        )
    elif not shares and load is not None and load >= _BUSY_LOAD:
        found.append(f"other programs ran (a load of {load:.1f} per processor)")
    spread = median(_spread([t for t in timings if t.is_quiet] or timings) for _, timings in timed)
    if spread > _STEADY_SPREAD:
        found.append(f"the same model's speed varied by {spread:.0%} from run to run")
    return tuple(found)


def _spread(timings: Sequence[Timing]) -> float:
    """Return the relative standard deviation of a model's seconds per token, without outliers."""
    seconds = [s for t in timings for s in t.decode_s]
    middle = median(seconds)
    return _DEVIATION * median(abs(s - middle) for s in seconds) / middle
