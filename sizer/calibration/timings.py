"""Timing of model files on this machine: rounds in changing order, medians of the undisturbed timings."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from time import monotonic
from typing import NamedTuple

from sizer.calibration.samples import Sample, TimedModel
from sizer.errors import InvalidQuantity, shown

# Threads wait for each other at every matrix, so other programs on one core slow down all of them. Timings
# with a higher share are left out where there are others.
_QUIET_SHARE = 0.05
_MAX_THREADS = 512  # GGML_MAX_N_THREADS


class TimingTask(NamedTuple):
    """A file to time, with its model, and the prompt and answer to time it with."""

    path: Path
    model: TimedModel
    prompt_tokens: int = 128
    generated_tokens: int = 24
    repeats: int = 3

    @property
    def context_tokens(self) -> int:
        """Return the context that holds prompt and answer, as llama.cpp rounds it."""
        return -(-(self.prompt_tokens + self.generated_tokens + 8) // 256) * 256


class Timing(NamedTuple):
    """Timings of one process; memory is its share (PSS) in bytes, None where the system has none."""

    load_s: float
    prefill_s: tuple[float, ...]
    decode_s: tuple[float, ...]  # per token
    resident_bytes: int | None = None  # more than before the model was loaded
    anonymous_bytes: int | None = None  # of these, not pages of the file
    # share of all processor time that other programs took meanwhile; None where the system has no such times
    others_share: float | None = None

    @property
    def is_quiet(self) -> bool:
        """True if other programs took too little processor time to disturb it, as far as known."""
        return self.others_share is None or self.others_share <= _QUIET_SHARE


class TimingProgress(NamedTuple):
    """How far a measurement is."""

    done: int
    total: int
    elapsed_s: float
    model: str
    what: str = "timings"
    expected_left_s: float | None = None  # where more is known than the pace so far

    @property
    def left_s(self) -> float:
        """Return the expected seconds left, at the pace so far where nothing else is known."""
        if self.expected_left_s is not None:
            return self.expected_left_s
        return self.elapsed_s / max(self.done, 1) * (self.total - self.done)


Measure = Callable[[TimingTask, int], Timing]


def physical_cores() -> int:
    """Return the number of cores this process may use, hyper-threads of one core counted once."""
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
    """Return the number of threads asked for, by default one per physical core."""
    if threads is None:
        return physical_cores()
    if not 1 <= threads <= _MAX_THREADS:
        raise InvalidQuantity(f"threads: must be from 1 to {_MAX_THREADS}, got {shown(threads)}")
    return threads


def time_models(
    tasks: Sequence[TimingTask],
    *,
    threads: int,
    budget_s: float,
    rounds: int = 3,
    whole_round: bool = True,
    measure: Measure,
    report: Callable[[TimingProgress], None] = lambda progress: None,
    clock: Callable[[], float] = monotonic,
) -> list[tuple[TimingTask, list[Timing]]]:
    """Time every file, up to `rounds` times; a later round starts only if it will end in `budget_s`.

    Without `whole_round` the first round ends in time, too, and files that it has no time for are left out.
    Each round takes all files in another order, so that drift (heat, other programs) does not affect one kind
    of model.
    """
    begin = clock()
    found: list[tuple[TimingTask, list[Timing]]] = [(task, []) for task in tasks]
    order = random.Random(0)
    for number in range(rounds):
        spent = clock() - begin
        if number and spent * (number + 1) / number > budget_s:
            break
        for position, index in enumerate(order.sample(range(len(tasks)), len(tasks))):
            task, timings = found[index]
            spent = clock() - begin
            if not whole_round and position and not number and spent * (position + 1) / position > budget_s:
                return [(task, timings) for task, timings in found if timings]
            timings.append(measure(task, threads))
            elapsed = clock() - begin
            done = number * len(tasks) + position + 1
            planned = _planned_rounds(elapsed, done / len(tasks), rounds, budget_s)
            report(TimingProgress(done, planned * len(tasks), elapsed, task.model.name))
    return found


def _planned_rounds(elapsed_s: float, rounds_done: float, rounds: int, budget_s: float) -> int:
    """Return the number of rounds that fit in the budget at the pace so far."""
    per_round = elapsed_s / rounds_done
    return max(1, -int(-rounds_done // 1), min(rounds, int(budget_s / per_round) if per_round else rounds))


def sample_of(task: TimingTask, timings: Sequence[Timing]) -> Sample:
    """Return medians over the repeats of all undisturbed rounds, or the fastest repeat where there are none.

    Other programs only add to a time: the shortest disturbed time is nearest to the device's own.
    """
    quiet = [t for t in timings if t.is_quiet]
    middle: Callable[[Iterable[float]], float] = median if quiet else min
    timings = quiet or timings
    return Sample(
        model=task.model,
        depth_tokens=task.prompt_tokens + task.generated_tokens / 2,
        decode_s=middle(s for t in timings for s in t.decode_s),
        prompt_tokens=task.prompt_tokens,
        prefill_s=middle(s for t in timings for s in t.prefill_s),
        load_s=middle(t.load_s for t in timings),
    )
