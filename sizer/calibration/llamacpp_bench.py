"""Timing of GGUF files in llama.cpp on this machine: a process per file."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from sizer.calibration.timings import Timing, TimingTask
from sizer.calibration.worker import time_in_process
from sizer.errors import MeasurementError

PACKAGE = "xllamacpp"
_WORKER = Path(__file__).with_name("llamacpp_worker.py")
# One file takes seconds; a runtime that hangs is as broken as one that crashes.
_TIMEOUT_S = 120.0


def require_runtime() -> str:
    """Return the version of the runtime's package; MeasurementError if it is not installed."""
    try:
        if find_spec(PACKAGE) is None:
            raise PackageNotFoundError(PACKAGE)
        return version(PACKAGE)
    except (PackageNotFoundError, ValueError):
        raise MeasurementError(
            f"calibrate: needs the package {PACKAGE} (llama.cpp; extra `calibrate`), which is not installed; "
            'accepted: pip install "sizer[calibrate]", or --from-llama-bench with a file from llama-bench'
        ) from None


def measure_in_process(task: TimingTask, threads: int) -> Timing:
    """Time one file in a separate process; MeasurementError if that crashes or hangs."""
    request = {
        "model": str(task.path),
        "threads": threads,
        "context_tokens": task.context_tokens,
        "prompt_tokens": task.prompt_tokens,
        "generated_tokens": task.generated_tokens,
        "repeats": task.repeats,
    }
    return time_in_process(
        task, request, script=_WORKER, engine=f"llama.cpp ({PACKAGE})", timeout_s=_TIMEOUT_S
    )
