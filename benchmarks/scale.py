"""Simulate a large search: the real loop and storage with many slots, without training; write docs/scale.md.

    python benchmarks/scale.py [--trials 100000] [--slots 512] [--limit-minutes 60] [--write]

A task ends at once with a loss that its size and depth give, plus noise from its number. Printed as the
search grows: milliseconds of a proposal (from asking for a task to having it, all included) and of storing a
result, largest resident memory and the size of the database.
"""

from __future__ import annotations

import argparse
import math
import random
import resource
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from search.config.config import SearchConfig
from search.run.loop import Loop
from search.run.progress import SearchProgress
from search.run.tasks import TrainingTask
from search.store.results import ProxyResult, TrialStatus
from search.store.study import create_study
from sizer.tensors import tensor_specs

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "scale.md"
_MARKS = {100, 300, 1000, 3000, *range(10_000, 100_001, 10_000)}
_MOST_SLOTS = 512  # what a search accepts


@dataclass(slots=True, eq=False)
class Simulated:
    """Slots whose tasks end in a random order, with losses by formula."""

    slots: int
    running: list[TrainingTask] = field(default_factory=list)
    ended: int = 0
    moments: random.Random = field(default_factory=lambda: random.Random(0))

    @property
    def free(self) -> int:
        """Slots without a task."""
        return self.slots - len(self.running)

    def start(self, task: TrainingTask) -> None:
        """Take a task."""
        self.running.append(task)

    def finished(self) -> list[tuple[TrainingTask, ProxyResult]]:
        """End one of the first tasks."""
        task = self.running.pop(self.moments.randrange(min(len(self.running), 50)))
        self.ended += 1
        return [(task, _result(task))]

    def close(self) -> None:
        """Do nothing."""


def _result(task: TrainingTask) -> ProxyResult:
    architecture = task.candidate.architecture
    parameters = sum(spec.num_elements for spec in tensor_specs(architecture))
    noise = random.Random(task.number).gauss(0, 0.02)
    loss = 1.2 + 30 * parameters**-0.3 + 0.2 / architecture.num_layers + noise
    return ProxyResult(
        status=TrialStatus.COMPLETE,
        val_bits_per_byte=loss,
        val_bits_per_byte_sd=0.01,
        val_bits_per_byte_full=loss - 0.01,
        num_parameters=parameters,
        steps=task.training.steps,
        trained_tokens=task.training.steps * 1024,
        wall_s=1.0,
        seed=task.training.seed,
        rung=task.rung,
        val_chunk_bits=tuple(round(loss + 0.01 * math.sin(i + task.number), 5) for i in range(64)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The search after some trials: means over the last thousandth part."""

    trials: int
    proposal_ms: float
    result_ms: float
    memory_mb: float
    database_mb: float


def simulate(trials: int, slots: int, folder: Path, limit_s: float) -> list[Measured]:
    """Run the loop until the trials are used up, or the time is."""
    config = SearchConfig.build(
        trials=trials,
        workers=min(slots, _MOST_SLOTS),
        steps=1000,
        rungs=1,
        final_seeds=1,
        max_size_bytes=4_000_000,
    )
    storage = f"sqlite:///{folder}/runs/sizer.db"
    study = create_study(
        config,
        name="scale",
        storage=storage,
        settings={"dtype": "fp32", "engine": "eager"},
        corpus={"name": "none", "digest": "none"},
    )
    executor = Simulated(slots=min(slots, _MOST_SLOTS))
    end = time.monotonic() + limit_s
    found: list[Measured] = []
    proposals: list[float] = []
    results: list[float] = []

    class Timed(Loop):
        """The loop, with its two halves timed."""

        def _next_task(self) -> TrainingTask | None:
            began = time.perf_counter()
            task = super()._next_task()
            if task is not None:
                proposals.append(1e3 * (time.perf_counter() - began))
            return task

        def _ended(self, task: TrainingTask, result: ProxyResult) -> None:
            began = time.perf_counter()
            super()._ended(task, result)
            results.append(1e3 * (time.perf_counter() - began))
            if executor.ended in _MARKS:
                found.append(_measured(executor.ended, proposals, results, folder))
                print(found[-1], flush=True)

    loop = Timed(study=study, hook=_quiet, should_stop=lambda: time.monotonic() > end)
    loop.executor = executor
    loop.load_state()
    loop.go()
    if not found or found[-1].trials != executor.ended:
        found.append(_measured(executor.ended, proposals, results, folder))
        print(found[-1], flush=True)
    return found


def _measured(trials: int, proposals: list[float], results: list[float], folder: Path) -> Measured:
    last = max(50, trials // 100)
    return Measured(
        trials=trials,
        proposal_ms=_median(proposals[-last:]),
        result_ms=_median(results[-last:]),
        memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        database_mb=(folder / "runs" / "sizer.db").stat().st_size / 1e6,
    )


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0


def _quiet(progress: SearchProgress) -> None:
    pass


def page(found: list[Measured], slots: int) -> str:
    """Return docs/scale.md."""
    rows = [
        f"| {m.trials:,} | {m.proposal_ms:.1f} | {m.result_ms:.1f} | {m.memory_mb:.0f} "
        f"| {m.database_mb:.1f} |"
        for m in found
    ]
    return "\n".join(
        [
            "# A search of many trials",
            "",
            "Written by `python benchmarks/scale.py --write`: the search's own loop and an SQLite storage,",
            f"with {slots:,} slots whose tasks end at once with a loss by formula. Nothing is trained.",
            "Medians of the last hundredth of the trials; memory is the process's largest, torch included.",
            "",
            "| trials | a proposal (ms) | storing a result (ms) | memory (MB) | database (MB) |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def main() -> None:
    """Simulate and print; write the page where asked to."""
    parser = argparse.ArgumentParser(description="Simulate a large search.")
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--slots", type=int, default=512)
    parser.add_argument("--limit-minutes", type=float, default=60.0)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sizer-scale-") as folder:
        found = simulate(given.trials, given.slots, Path(folder), 60 * given.limit_minutes)
    if given.write:
        PAGE.write_text(page(found, given.slots), encoding="utf-8")


if __name__ == "__main__":
    main()
