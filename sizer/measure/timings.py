"""Times model files on this machine: rounds over all files in changing order, medians of undisturbed ones."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from time import monotonic
from typing import NamedTuple

from sizer.errors import InvalidQuantity, shown
from sizer.measure.speed_fit import ModelWork, Sample

# Threads wait for each other at every matrix: one that has to share its core holds up all, so a little
# company costs a lot. Timings with more are left out where there are others.
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
    what: str = "timings"
    expected_left_s: float | None = None  # where more is known than the pace so far

    @property
    def left_s(self) -> float:
        """Seconds that the rest takes, at the pace so far where nothing else is known."""
        if self.expected_left_s is not None:
            return self.expected_left_s
        return self.elapsed_s / max(self.done, 1) * (self.total - self.done)


Measure = Callable[[Task, int], Timing]


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


def time_models(
    tasks: Sequence[Task],
    *,
    threads: int,
    budget_s: float,
    rounds: int = 3,
    measure: Measure,
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


def sample_of(task: Task, timings: Sequence[Timing]) -> Sample:
    """Medians over all repeats of all undisturbed rounds; the fastest repeat where every round was disturbed.

    What other programs take only adds to a time: of disturbed ones the least is nearest to the device's own.
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
