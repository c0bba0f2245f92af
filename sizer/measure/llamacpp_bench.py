"""Times GGUF files in llama.cpp on this machine: a process per file, rounds over all files, medians."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any, NamedTuple

from sizer.errors import InvalidQuantity, MeasurementError, shown
from sizer.measure.speed_fit import ModelWork, Sample

PACKAGE = "xllamacpp"
_WORKER = Path(__file__).with_name("llamacpp_worker.py")
# One file takes seconds; a runtime that hangs is as broken as one that crashes.
_TIMEOUT_S = 120.0
# llama.cpp's threads wait for each other at every matrix: one that has to share its core holds up all, so a
# little company costs a lot. Timings with more are left out where there are others.
_QUIET_SHARE = 0.05
_MAX_THREADS = 512  # GGML_MAX_N_THREADS


class Task(NamedTuple):
    """A file to time: its work, and the prompt and answer to time it with."""

    path: Path
    model: ModelWork
    prompt_tokens: int = 128
    generated_tokens: int = 24
    repeats: int = 3

    @property
    def context_tokens(self) -> int:
        """Context that holds prompt and answer, as llama.cpp rounds it."""
        return -(-(self.prompt_tokens + self.generated_tokens + 8) // 256) * 256


class Timing(NamedTuple):
    """What one process measured; memory is its share (PSS) in bytes, None where the system does not say."""

    load_s: float
    prefill_s: tuple[float, ...]
    decode_s: tuple[float, ...]  # per token
    resident_bytes: int | None = None  # more than before the model was loaded
    anonymous_bytes: int | None = None  # of these, not pages of the file
    others_share: float = 0.0  # share of all processor time that other programs took meanwhile

    @property
    def is_quiet(self) -> bool:
        """Whether other programs were too quiet to disturb it."""
        return self.others_share <= _QUIET_SHARE


class Progress(NamedTuple):
    """How far a measurement is."""

    done: int
    total: int
    elapsed_s: float
    model: str

    @property
    def left_s(self) -> float:
        """Seconds that the rest takes at the pace so far."""
        return self.elapsed_s / max(self.done, 1) * (self.total - self.done)


Measure = Callable[[Task, int], Timing]


def require_runtime() -> str:
    """Version of the runtime's package; MeasurementError in one line where it is not installed."""
    try:
        if find_spec(PACKAGE) is None:
            raise PackageNotFoundError(PACKAGE)
        return version(PACKAGE)
    except (PackageNotFoundError, ValueError):
        raise MeasurementError(
            f"calibrate: needs the package {PACKAGE} (llama.cpp; extra `calibrate`), which is not installed; "
            'accepted: pip install "sizer[calibrate]", or --from-llama-bench with a file from llama-bench'
        ) from None


def physical_cores() -> int:
    """Cores this process may use, hyper-threads of one core counted once."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    siblings = set()
    for cpu in allowed:
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings")
        try:
            siblings.add(path.read_text(encoding="ascii").strip())
        except OSError:
            return len(allowed)
    return len(siblings)


def check_threads(threads: int | None) -> int:
    """The number of threads asked for, by default one per physical core."""
    if threads is None:
        return physical_cores()
    if not 1 <= threads <= _MAX_THREADS:
        raise InvalidQuantity(f"threads: must be from 1 to {_MAX_THREADS}, got {shown(threads)}")
    return threads


def measure_in_process(task: Task, threads: int) -> Timing:
    """Time one file in a process of its own; MeasurementError in one line when that crashes or hangs."""
    request = {
        "model": str(task.path),
        "threads": threads,
        "context_tokens": task.context_tokens,
        "prompt_tokens": task.prompt_tokens,
        "generated_tokens": task.generated_tokens,
        "repeats": task.repeats,
    }
    # -P: the worker's own folder is no place to import from
    command = [sys.executable, "-P", str(_WORKER), json.dumps(request)]
    before = _processor_times()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise _failed(task, f"no answer within {_TIMEOUT_S:g} s") from None
    if done.returncode != 0:
        raise _failed(task, _why(done.returncode, done.stderr))
    try:
        timing = _timing(json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise _failed(task, f"its answer cannot be read ({type(error).__name__})") from None
    return timing._replace(others_share=_others_share(before, _processor_times()))


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


def _timing(answer: dict[str, Any]) -> Timing:
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
    if not timing.decode_s or not all(0 < s < _TIMEOUT_S for s in seconds):
        raise ValueError(seconds)
    return timing


def _why(code: int, errors: str) -> str:
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


def _failed(task: Task, reason: str) -> MeasurementError:
    return MeasurementError(f"calibrate: llama.cpp ({PACKAGE}) failed on {task.path.name}: {reason}")


def time_models(
    tasks: Sequence[Task],
    *,
    threads: int,
    budget_s: float,
    rounds: int = 3,
    measure: Measure = measure_in_process,
    report: Callable[[Progress], None] = lambda progress: None,
    clock: Callable[[], float] = monotonic,
) -> list[tuple[Task, list[Timing]]]:
    """Timings of every file, up to `rounds` each; a later round starts only if it will end in `budget_s`.

    Each round goes over all files in another order, so that what drifts (heat, other programs) does not fall
    on one kind of model.
    """
    begin = clock()
    found: list[tuple[Task, list[Timing]]] = [(task, []) for task in tasks]
    order = random.Random(0)
    for number in range(rounds):
        spent = clock() - begin
        if number and spent * (number + 1) / number > budget_s:
            break
        for position, index in enumerate(order.sample(range(len(tasks)), len(tasks))):
            task, timings = found[index]
            timings.append(measure(task, threads))
            elapsed = clock() - begin
            done = number * len(tasks) + position + 1
            planned = _planned_rounds(elapsed, done / len(tasks), rounds, budget_s)
            report(Progress(done, planned * len(tasks), elapsed, task.model.name))
    return found


def _planned_rounds(elapsed_s: float, rounds_done: float, rounds: int, budget_s: float) -> int:
    """Rounds that will be run, as far as the pace so far tells."""
    per_round = elapsed_s / rounds_done
    return max(1, -int(-rounds_done // 1), min(rounds, int(budget_s / per_round) if per_round else rounds))


def undisturbed(timings: Sequence[Timing]) -> list[Timing]:
    """The timings made beside quiet programs; the least disturbed one where there is none."""
    return [t for t in timings if t.is_quiet] or [min(timings, key=lambda t: t.others_share)]


def sample_of(task: Task, timings: Sequence[Timing]) -> Sample:
    """Medians over all repeats of all undisturbed rounds."""
    timings = undisturbed(timings)
    return Sample(
        model=task.model,
        depth_tokens=task.prompt_tokens + task.generated_tokens / 2,
        decode_s=median(s for t in timings for s in t.decode_s),
        prompt_tokens=task.prompt_tokens,
        prefill_s=median(s for t in timings for s in t.prefill_s),
        load_s=median(t.load_s for t in timings),
    )
