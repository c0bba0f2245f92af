"""Train what repeats a published comparison; every finished run is kept, so that it can go on later.

Runs are seeds of arms, all arms of a seed before the next seed: whenever it stops, the arms are about as far
as each other. Arms of one seed read the same batches and are scored on the same text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from search.reproductions.effort import Effort, expected_seconds, run_seconds
from search.reproductions.reproduction_runs import (
    append_row,
    read_rows,
    row_of,
    runs_path,
    setting_of,
    stored_runs,
)
from search.reproductions.reproductions import Reproduction
from search.run.executors import InProcess, WorkerPool
from search.run.forecast import threads_of
from search.run.signals import stop_on_signal
from search.run.tasks import Executor, TrainingTask
from search.store.lock import study_lock
from search.store.results import ProxyResult, TrialStatus
from search.text.corpus import BUILTIN, Corpus, load_corpus
from search.training.train_step import ProductPrecision, choose_engine
from search.training.training_run import StepReport, TrainConfig
from sizer.errors import StudyError

DEFAULT_FOLDER = Path("runs") / "reproductions"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproductionProgress:
    """Where a reproduction stands; sent every few steps and after each run."""

    name: str
    finished_runs: int
    total_runs: int
    label: str
    seed: int
    step: int
    steps: int
    tokens_per_s: float | None
    done_s: float  # expected seconds of training behind it and in all
    total_s: float


Hook = Callable[[ReproductionProgress], None]


def corpus_loader(reproduction: Reproduction, folder: Path) -> Callable[[], Corpus]:
    """Return a function that loads the text here or in a worker; tokens are kept for all reproductions."""
    return partial(
        load_corpus,
        BUILTIN,
        tokenizer=reproduction.tokenizer,
        vocab_size=reproduction.vocab_size,
        cache=folder / "corpora",
    )


@dataclass(slots=True, kw_only=True)
class _Stand:
    """Progress of the runs, reported to the hook."""

    reproduction: Reproduction
    hook: Hook
    step_s: dict[str, float]
    effort: Effort
    finished: int
    done_s: float
    under_way: dict[tuple[int, int], float]  # expected seconds behind each run, by arm and seed

    def stepped(self, task: TrainingTask, report: StepReport) -> None:
        arm = self.reproduction.arms[task.number]
        self.under_way[task.number, task.training.seed] = (
            self.cost(task.number) * report.step / self.effort.steps
        )
        self.report(arm.label, task.training.seed, report.step, report.tokens_per_s)

    def ended(self, task: TrainingTask, result: ProxyResult) -> None:
        self.under_way.pop((task.number, task.training.seed), None)
        self.finished += 1
        self.done_s += self.cost(task.number)
        label = self.reproduction.arms[task.number].label
        self.report(label, task.training.seed, self.effort.steps, result.tokens_per_s)

    def cost(self, number: int) -> float:
        return run_seconds(self.step_s[self.reproduction.arms[number].label], self.effort.steps)

    def report(self, label: str, seed: int, step: int, tokens_per_s: float | None) -> None:
        self.hook(
            ReproductionProgress(
                name=self.reproduction.name,
                finished_runs=self.finished,
                total_runs=len(self.reproduction.arms) * self.effort.seeds,
                label=label,
                seed=seed,
                step=step,
                steps=self.effort.steps,
                tokens_per_s=tokens_per_s,
                done_s=self.done_s + sum(self.under_way.values()),
                total_s=expected_seconds(self.step_s, self.effort),
            )
        )


def reproduce(
    reproduction: Reproduction,
    effort: Effort,
    *,
    folder: Path,
    step_s: dict[str, float],
    hook: Hook,
    workers: int = 1,
) -> bool:
    """Train every run that is not stored yet; whether all are there in the end (not where it was stopped).

    Raises StudyError where another process is at it, where the stored runs are of another text, and where a
    model cannot be trained for want of memory.
    """
    home = folder / reproduction.name
    with study_lock(home, reproduction.name), stop_on_signal() as should_stop:
        load = corpus_loader(reproduction, folder)
        corpus = load()
        path = runs_path(reproduction, folder)
        engine = _engine(path, reproduction, corpus)
        done = {(run.label, run.seed) for run in stored_runs(reproduction, folder, effort.steps)}
        waiting = [
            TrainingTask(
                number=number,
                rung=0,
                candidate=arm.candidate,
                training=_training(reproduction, effort, seed, engine),
                checkpoint=None,
            )
            for seed in range(effort.seeds)
            for number, arm in enumerate(reproduction.arms)
            if (arm.label, seed) not in done
        ]
        if not waiting:
            return True
        total = len(reproduction.arms) * effort.seeds
        stand = _Stand(
            reproduction=reproduction,
            hook=hook,
            step_s=step_s,
            effort=effort,
            finished=total - len(waiting),
            done_s=0.0,
            under_way={},
        )
        stand.done_s = expected_seconds(step_s, effort) - sum(stand.cost(t.number) for t in waiting)
        executor: Executor
        if workers == 1:
            executor = InProcess(corpus, on_step=stand.stepped, should_stop=should_stop)
        else:
            executor = WorkerPool(workers, load, on_step=stand.stepped, should_stop=should_stop)
        threads = threads_of(workers)
        try:
            left = _train(waiting, executor, should_stop, stand, path, corpus, threads)
        finally:
            executor.close()
        return left == 0


def _train(
    waiting: Sequence[TrainingTask],
    executor: Executor,
    should_stop: Callable[[], bool],
    stand: _Stand,
    path: Path,
    corpus: Corpus,
    threads: int,
) -> int:
    """Run the tasks and store what comes of each; how many did not come to their end."""
    queue, left, busy = list(waiting), len(waiting), 0
    while busy or (queue and not should_stop()):
        while queue and executor.free and not should_stop():
            executor.start(queue.pop(0))
            busy += 1
        if not busy:
            break
        began = time.process_time()
        try:
            ended = executor.finished()
        except StudyError:
            if should_stop():  # a worker that is stopped before its task starts ends without an answer
                break
            raise
        cpu_s = time.process_time() - began if isinstance(executor, InProcess) else None
        for task, result in ended:
            busy -= 1
            if result.status in (TrialStatus.COMPLETE, TrialStatus.DIVERGED):
                r = stand.reproduction
                row = row_of(
                    r.arms[task.number],
                    setting_of(r),
                    task.training,
                    result,
                    corpus_digest=corpus.digest,
                    threads=threads,
                    cpu_s=cpu_s,
                )
                append_row(path, row)
                stand.ended(task, result)
                left -= 1
            elif not should_stop():
                label = stand.reproduction.arms[task.number].label
                raise StudyError(f"{stand.reproduction.name}: {label!r} cannot be trained: {result.reason}")
    return left


def _engine(path: Path, reproduction: Reproduction, corpus: Corpus) -> tuple[bool, ProductPrecision]:
    """Return how the stored runs were trained, which later ones must match; else the fastest way here."""
    for row in read_rows(path):
        if row["corpus_digest"] != corpus.digest and row["setting"]["tokenizer"] == corpus.tokenizer:
            raise StudyError(
                f"corpus: {str(path)!r} has runs of another text (digest {row['corpus_digest'][:12]}, now "
                f"{corpus.digest[:12]}); accepted: the same Python, or another --folder"
            )
        if row["setting"] == setting_of(reproduction):
            return row["fused"], ProductPrecision(row["dtype"])
    engine = choose_engine()
    fused = engine.fused if reproduction.fused is None else reproduction.fused
    return fused, engine.precision


def _training(
    reproduction: Reproduction, effort: Effort, seed: int, engine: tuple[bool, ProductPrecision]
) -> TrainConfig:
    fused, dtype = engine
    return TrainConfig(
        steps=effort.steps,
        batch_size=reproduction.batch_size,
        seq_len=reproduction.seq_len,
        val_chunks=reproduction.val_chunks,
        seed=seed,
        fused=fused,
        dtype=dtype,
    )
