"""Simulate a large search: the real loop and storage with many slots, without training.

    python benchmarks/scale.py --trials 2000 [--slots 1000] [--last 300]
    python benchmarks/scale.py --write

A task ends at once with a loss that its size and depth give, plus noise from its number. All trials but the
last go into the database in bulk, as copies of simulated ones with other widths; the head resumes that study,
and the last go through its loop. Measured: milliseconds of a proposal (from asking for a task to having it)
and of storing a result, seconds to resume, resident memory and the size of the database. A run adds its line
to benchmarks/scale.jsonl; `--write` writes docs/scale.md from the last line of each number of trials.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from search.config.config import SearchConfig
from search.run.loop import Loop
from search.run.progress import SearchProgress
from search.run.tasks import TrainingTask
from search.store.records import record_to_json
from search.store.results import ProxyResult, TrialRecord, TrialStatus
from search.store.study import OpenStudy, create_study
from sizer.tensors import tensor_specs

ROOT = Path(__file__).resolve().parents[1]
PAGE, RECORD = ROOT / "docs" / "scale.md", Path(__file__).with_suffix(".jsonl")
_TEMPLATES, _TEMPLATE_SLOTS = 150, 20  # simulated trials that are copied, and the slots that they had
_LARGE = 100_000  # trials asked for: the sampler of a search of many


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
    """The search at a number of trials: medians of the last, which went through the loop."""

    trials: int
    slots: int
    last: int
    loaded_s: float  # to read the study
    proposal_ms: float  # of processor time, and of the clock
    proposal_wall_ms: float
    result_ms: float
    result_wall_ms: float
    memory_mb: float
    database_mb: float
    load: float


Times = tuple[float, float]  # milliseconds of this process's processor time, and of the clock


def _now_ms() -> Times:
    return 1e3 * time.process_time(), 1e3 * time.perf_counter()


def _since(began: Times) -> Times:
    now = _now_ms()
    return now[0] - began[0], now[1] - began[1]


class Timed(Loop):
    """The loop, with its two halves timed."""

    def measure(self) -> None:
        """Begin to time."""
        self.loaded_s = 0.0
        self.proposals: list[Times] = []
        self.results: list[Times] = []

    def _next_task(self) -> TrainingTask | None:
        began = _now_ms()
        task = super()._next_task()
        if task is not None:
            self.proposals.append(_since(began))
        return task

    def _ended(self, task: TrainingTask, result: ProxyResult) -> None:
        began = _now_ms()
        super()._ended(task, result)
        self.results.append(_since(began))


def _study(folder: Path, slots: int) -> OpenStudy:
    folder.mkdir()
    config = SearchConfig.build(
        trials=_LARGE, workers=slots, steps=1000, rungs=1, final_seeds=1, max_size_bytes=4_000_000
    )
    return create_study(
        config,
        name="scale",
        storage=f"sqlite:///{folder}/runs/sizer.db",
        settings={"dtype": "fp32", "engine": "eager"},
        corpus={"name": "none", "digest": "none"},
    )


def _run(study: OpenStudy, slots: int, last: int) -> Timed:
    """Resume the study and run the loop until that many tasks have ended."""
    executor = Simulated(slots=slots)
    loop = Timed(study=study, hook=_quiet, should_stop=lambda: executor.ended >= last)
    loop.executor = executor
    loop.measure()
    began = time.perf_counter()
    loop.load_state()
    loop.loaded_s = time.perf_counter() - began
    loop.go()
    return loop


class Bulk:
    """Copies of simulated trials with other widths, written without the loop."""

    def __init__(self, templates: Sequence[TrialRecord], rows: Path, count: int) -> None:
        self._templates, self._rows, self._count = templates, rows, count
        self._documents = [json.loads(record_to_json(record)) for record in templates]

    def _text(self, number: int) -> str:
        """Return the record of trial `number` as it is stored."""
        document = dict(self._documents[number % len(self._documents)])
        config = dict(document["config"])
        config["intermediate_size"] += 1 + number // len(self._documents)
        return json.dumps({**document, "number": number, "config": config})

    def write(self, database: Path) -> None:
        """Put the trials into a study's database, with the rows that the simulated ones have."""
        with closing(sqlite3.connect(database)) as file:
            file.execute("ATTACH ? AS made", (str(self._rows),))
            ids = [
                row[0]
                for record in self._templates
                for row in file.execute("SELECT trial_id FROM made.trials WHERE number = ?", (record.number,))
            ]
            for number in range(self._count):
                trial = number + 1
                made = ids[number % len(ids)]
                file.execute(
                    "INSERT INTO trials SELECT ?, ?, study_id, state, datetime_start, datetime_complete "
                    "FROM made.trials WHERE trial_id = ?",
                    (trial, number, made),
                )
                for table, columns in _COPIED.items():
                    file.execute(
                        f"INSERT INTO {table} (trial_id, {columns}) SELECT ?, {columns} FROM made.{table} "
                        "WHERE trial_id = ?",
                        (trial, made),
                    )
                file.execute(
                    "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (?, ?, ?)",
                    (trial, "sizer_record", json.dumps(self._text(number))),
                )
            file.commit()


_COPIED = {
    "trial_params": "param_name, param_value, distribution_json",
    "trial_system_attributes": "key, value_json",
    "trial_values": "objective, value, value_type",
}


def simulate(trials: int, slots: int, last: int, folder: Path) -> Measured:
    """Measure the loop at a number of trials."""
    made = _run(_study(folder / "made", _TEMPLATE_SLOTS), _TEMPLATE_SLOTS, _TEMPLATES)
    templates = [record for record in made.records.values() if record.proxy and record.repeats is None]
    home = folder / "measured"
    study = _study(home, slots)
    bulk = Bulk(templates, folder / "made" / "runs" / "sizer.db", max(0, trials - slots - last))
    bulk.write(home / "runs" / "sizer.db")
    del made, bulk, templates
    loop = _run(study, slots, last)
    return Measured(
        trials=loop.num_asked,
        slots=slots,
        last=last,
        loaded_s=loop.loaded_s,
        proposal_ms=_median(loop.proposals[-last:], 0),
        proposal_wall_ms=_median(loop.proposals[-last:], 1),
        result_ms=_median(loop.results[-last:], 0),
        result_wall_ms=_median(loop.results[-last:], 1),
        memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        database_mb=(home / "runs" / "sizer.db").stat().st_size / 1e6,
        load=os.getloadavg()[0],
    )


def _median(values: Sequence[Times], which: int) -> float:
    return sorted(times[which] for times in values)[len(values) // 2] if values else 0.0


def _quiet(progress: SearchProgress) -> None:
    pass


_PAGE = """# A search of many trials

Written by `python benchmarks/scale.py --write` from what `python benchmarks/scale.py --trials N` measured:
the search's own loop and an SQLite storage, with {slots:,} slots whose tasks end at once with a loss by
formula. Nothing is trained. The last trials were proposed by the loop, and {last:,} of them ended; those
before were put into the database in bulk, as copies of simulated trials with other widths, and the search
was resumed from it. Medians of the last {last:,} in milliseconds of processor time, with the clock's in
brackets; two cores, shared with other work: the load is in the last column. Memory is the process's
largest, torch included. The database was in memory (`TMPDIR=/dev/shm`): a disk adds its time to each
commit.

| trials | proposal, ms | result, ms | decisions per s | resuming, s | memory, MB | database, MB | load |
|---:|---:|---:|---:|---:|---:|---:|---:|
{rows}

A trial is stored in one write when it starts, or when it ends untrained: over the budget, or a repeat.
Records are kept packed and candidates as digests; evolution looks at the last thousand scored trials; a
resumed search reads its trials a page at a time. What grows with the number of trials: memory by the packed
records, the database, and the time to resume, since every trial is read once. Reading a whole study to
report on it, as a search does when it has ended, holds all of its trials as objects and is not in the
table.
"""


def page(found: Sequence[Measured]) -> str:
    """Return docs/scale.md."""
    rows = [
        f"| {m.trials:,} | {m.proposal_ms:.1f} ({m.proposal_wall_ms:.0f}) | {m.result_ms:.1f} "
        f"({m.result_wall_ms:.0f}) | {_per_s(m):.0f} | {m.loaded_s:.0f} | {m.memory_mb:.0f} | "
        f"{m.database_mb:.0f} | {m.load:.1f} |"
        for m in found
    ]
    return _PAGE.format(slots=found[-1].slots, last=found[-1].last, rows="\n".join(rows))


def _per_s(measured: Measured) -> float:
    return 1000 / (measured.proposal_ms + measured.result_ms)


def _recorded() -> list[Measured]:
    """Return the last line of each number of trials, smallest first."""
    lines = RECORD.read_text(encoding="utf-8").splitlines()
    of_trials = {found["trials"]: Measured(**found) for found in map(json.loads, lines)}
    return [of_trials[trials] for trials in sorted(of_trials)]


def main() -> None:
    """Simulate, print and record; write the page where asked to."""
    parser = argparse.ArgumentParser(description="Simulate a large search.")
    parser.add_argument("--trials", type=int, default=None)
    parser.add_argument("--slots", type=int, default=1000)
    parser.add_argument("--last", type=int, default=300)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    if given.trials is not None:
        with tempfile.TemporaryDirectory(prefix="sizer-scale-") as folder:
            found = simulate(given.trials, given.slots, given.last, Path(folder))
        print(found)
        with RECORD.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(found)) + "\n")
    if given.write:
        PAGE.write_text(page(_recorded()), encoding="utf-8")


if __name__ == "__main__":
    main()
