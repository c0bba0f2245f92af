"""One run of a search: what to train next, and what came of it; all of its state is the study's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from itertools import takewhile
from math import isfinite
from pathlib import Path
from typing import Any

import optuna

from search.config.axes import Suggestion
from search.config.config import SearchConfig
from search.run.history import Asked, History, Tally
from search.run.progress import InTraining, ProgressHook, SearchProgress
from search.run.record_shelf import KnownCandidates, RecordShelf
from search.run.tasks import Executor, TrainingTask
from search.schedule.plan import (
    PlannedRun,
    Stage,
    expected_steps,
    final_rung,
    rung_steps,
    stage,
    steps_of,
    steps_of_more_seeds,
    warmup_steps,
)
from search.space.deployment import deployments, trial_record, violations
from search.space.resolve import resolve
from search.space.sampling import encoding_of, next_params
from search.space.space import suggest
from search.store.results import Candidate, ProxyResult, TrialRecord, TrialStatus, combined
from search.store.study import OpenStudy
from search.training.kept_weights import keep_weights
from search.training.low_bit import any_few_bits
from search.training.scaled_proxy import proxy_of
from search.training.train_step import ProductPrecision
from search.training.training_run import StepReport, TrainConfig
from sizer.architecture import Architecture
from sizer.errors import InvalidFile, NoFit
from sizer.model_estimate import Estimate

# So many proposals in a row that break the budget, or were trained before, mean that the space is the reason.
MAX_MISSES_IN_A_ROW = 200


@unique
class LoopEnding(StrEnum):
    """Why the loop ended."""

    DONE = "done"
    STOPPED = "stopped"  # by a signal; can be resumed
    EXHAUSTED = "exhausted"  # the space holds no more models that fit and are new


@dataclass(slots=True, eq=False)
class Loop:
    """State of one run of the loop; all of it can be read off the study again."""

    study: OpenStudy
    hook: ProgressHook
    should_stop: Callable[[], bool]
    executor: Executor = field(init=False)
    records: RecordShelf = field(default_factory=RecordShelf)
    known: KnownCandidates = field(default_factory=KnownCandidates)
    in_first_rung: dict[int, tuple[Candidate, tuple[Estimate, ...]]] = field(default_factory=dict)
    orphaned_trials: list[optuna.Trial] = field(default_factory=list)
    running: dict[PlannedRun, TrainingTask] = field(default_factory=dict)
    reports: dict[PlannedRun, StepReport] = field(default_factory=dict)
    done_steps: int = 0
    asked: dict[int, Asked] = field(default_factory=dict)  # parameters of trials in the first rung
    queued: frozenset[int] = frozenset()  # trials that an earlier version put into the queue
    num_asked: int = 0  # trials, whatever became of them
    history: History = field(init=False)
    tally: Tally = field(default_factory=Tally)
    current: Stage | None = None  # until all of its runs have ended
    misses: int = 0
    stopped: bool = False

    @property
    def config(self) -> SearchConfig:
        """What was asked."""
        return self.study.config

    @property
    def _cools_aside(self) -> bool:
        return any_few_bits(self.config.space.formats, self.config.budget.runtime)

    def load_state(self) -> None:
        """Load what the study already holds."""
        self.history, self.num_asked = History(self.config), self.study.num_asked
        self.orphaned_trials, self.queued = list(self.study.orphaned_trials()), self.study.queued
        # before these no trial is missing any more, so that samplers need no longer hold what is too old
        whole = min(
            (self.num_asked - self.config.training.workers, *(t.number for t in self.orphaned_trials))
        )
        for trial, first, record in self.study.stored():
            self.records[record.number] = record
            self.done_steps += sum(self._steps_added(record.runs, run) for run in record.runs)
            self.tally.count(record)
            self._remember(Asked(trial.params, trial.distributions), first)
            self.history.before(min(record.number, whole))
        ended = (self.records[number] for number in sorted(self.records, reverse=True))
        self.misses = sum(1 for _ in takewhile(lambda r: r.violations or r.repeats is not None, ended))
        self._check_misses()
        self.report()

    def go(self) -> None:
        """Train until nothing is left to train or to wait for, or until asked to stop."""
        while not self.should_stop():
            while self.executor.free and not self.should_stop():
                task = self._next_task()
                if task is None:
                    break
                self.running[_key(task, self.config)] = task
                self.report()
                self.executor.start(task)
            if not self.running:
                return
            for task, result in self.executor.finished():
                self._ended(task, result)
        self.stopped = bool(self.running) or self._next_task_exists()

    def ending(self) -> LoopEnding:
        """Return why the loop ended."""
        if self.stopped:
            return LoopEnding.STOPPED
        if self.tally.trained < self.config.training.trials:
            return LoopEnding.EXHAUSTED
        return LoopEnding.DONE

    # What is next

    def _next_task_exists(self) -> bool:
        return self._wants_more or bool(stage(self.config, self.records.values()).missing)

    @property
    def _wants_more(self) -> bool:
        return (
            self.tally.trained + len(self.in_first_rung) < self.config.training.trials
            and self.misses < MAX_MISSES_IN_A_ROW
        )

    def _next_task(self) -> TrainingTask | None:
        """Return the next task that can start now; None to wait for running ones, or when all is done."""
        if self.orphaned_trials:
            trial = self.orphaned_trials.pop(0)
            task = self._begin(trial)
            return task if task is not None else self._next_task()
        while self._wants_more and not self.should_stop():
            number = self.num_asked
            # A proposal may use the results of all but the last few trials, as many as there are workers:
            # with any more the order in which they happen to end would decide what is asked next.
            if any(started <= number - self.config.training.workers for started in self.in_first_rung):
                return None
            before = self.history.before(number - self.config.training.workers + 1)
            params = next_params(self.config, number, before, self._fits)
            fixed = optuna.trial.FixedTrial(params, number)
            suggestion = suggest(fixed, self.config, encoding_of(self.config))
            self.num_asked += 1
            if number in self.queued:
                task = self._begin(self.study.begin(params, number=number))
            else:
                task = self._try(number, suggestion, Asked(params, fixed.distributions), is_new=True)
            if task is not None:
                return task
            self._check_misses()
        if self.in_first_rung or self.should_stop():
            return None
        if self.current is None:
            self.current = stage(self.config, self.records.values())
            if self.current.rung:
                self.tidy(self.current.cohort)
        waiting = (run for run in self.current.missing if run not in self.running)
        run = next(waiting, None)
        return None if run is None else self.task(run, self.records[run.number].candidate)

    def _begin(self, trial: optuna.Trial) -> TrainingTask | None:
        """Return the task of a trial that is stored, None if it ends at once."""
        config = self.config
        suggestion = self.study.patiently(lambda: suggest(trial, config, encoding_of(config)))
        return self._try(trial.number, suggestion, Asked(trial.params, trial.distributions))

    def _try(
        self, number: int, suggestion: Suggestion, asked: Asked, *, is_new: bool = False
    ) -> TrainingTask | None:
        """Return the first task of a trial; None if it ends at once: over budget, or a repeat.

        `is_new` if the storage does not have the trial yet.
        """
        config = self.config
        resolved = resolve(suggestion, config)
        candidate, sized = resolved.candidate, deployments(resolved.candidate, config)
        self.asked[number] = asked
        broken = (resolved.reason,) if resolved.reason else violations(sized, config)
        first = None if broken else self.known.trial_of(candidate)
        if broken or first not in (None, number):
            record = trial_record(number, candidate, sized, config, broken=broken, repeats=first)
            if is_new:
                self.study.start(number, dict(asked.params), asked.distributions, record)
                self._take_in(record)
            else:
                self._finish(record)
            self.misses += 1
            return None
        if is_new:
            self.study.start(number, dict(asked.params), asked.distributions)
        self.misses = 0
        self.known.add(candidate, number)
        self.in_first_rung[number] = (candidate, sized)
        return self.task(PlannedRun(number, 0, 0), candidate)

    def _check_misses(self) -> None:
        if self.misses >= MAX_MISSES_IN_A_ROW and not self.tally.trained and not self.in_first_rung:
            last = self.records[max(self.records)]
            raise NoFit(
                f"budget: {self.misses} proposals in a row do not fit; the last: {'; '.join(last.violations)}"
            )

    def task(self, run: PlannedRun, candidate: Candidate) -> TrainingTask:
        """Return the training of a candidate up to a rung with a seed, as the study trains."""
        config = self.config
        steps, cooldown = steps_of(config, run.rung)
        settings = self.study.settings
        training = TrainConfig(
            dtype=ProductPrecision(str(settings["dtype"])),
            fused=settings.get("engine") == "fused",
            train_on=config.training.train_on,
            warmup_steps=warmup_steps(config),
            steps=steps,
            cooldown_steps=cooldown,
            batch_size=config.training.batch_size,
            seq_len=config.training.seq_len,
            val_chunks=config.training.val_chunks,
            seed=config.training.seed + run.seed,
            runtime=config.budget.runtime,
            teacher=None if config.training.teacher is None else Path(config.training.teacher),
            score_on_copy=self._cools_aside,
        )
        if config.training.learning_rate is not None:
            training = replace(training, learning_rate=config.training.learning_rate)
        checkpoint = self.study.checkpoints / f"{run.number}-{run.seed}.npz"
        return TrainingTask(
            number=run.number,
            rung=run.rung,
            candidate=candidate,
            training=training,
            checkpoint=checkpoint,
            scaled=proxy_of(candidate.architecture, config),
        )

    def store_trained(
        self, params: dict[str, Any], candidate: Candidate, result: ProxyResult, scaled: Architecture | None
    ) -> None:
        """Store a model that was trained outside the loop as a new trial."""
        number, fixed = self.num_asked, optuna.trial.FixedTrial(params)
        suggest(fixed, self.config, encoding_of(self.config))
        self.study.begin(params, number=number, distributions=fixed.distributions)
        self.num_asked, self.asked[number] = number + 1, Asked(params, fixed.distributions)
        sized = deployments(candidate, self.config)
        record = trial_record(number, candidate, sized, self.config, proxy=result, scaled=scaled)
        self._finish(record)

    def _fits(self, candidate: Candidate) -> bool:
        return not violations(deployments(candidate, self.config), self.config)

    # What came of it

    def stepped(self, task: TrainingTask, step: StepReport) -> None:
        """Receive a step's report."""
        self.reports[_key(task, self.config)] = step
        self.report(task, step)

    def _ended(self, task: TrainingTask, result: ProxyResult) -> None:
        key = _key(task, self.config)
        del self.running[key]
        self.reports.pop(key, None)
        if result.status is TrialStatus.STOPPED:
            self.in_first_rung.pop(task.number, None)
            self.stopped = True
            return
        result = replace(result, rung=task.rung)
        if key.rung == 0 and key.seed == 0:
            candidate, sized = self.in_first_rung.pop(task.number)
            record = self._finish(
                trial_record(task.number, candidate, sized, self.config, proxy=result, scaled=task.scaled)
            )
        else:
            self.study.tell_run(task.number, result)
            stored = self.records[task.number]
            runs = (*stored.runs, result)
            record = replace(stored, runs=runs, proxy=combined(runs))
            self.records[task.number] = record
            self.tally.changed(record, self.records.values())
            if self.current is not None:  # what is next depends on all of its runs
                left = tuple(run for run in self.current.missing if run != key)
                self.current = self.current._replace(missing=left) if left else None
        self.done_steps += self._steps_added(record.runs, result)
        if task.checkpoint is not None and task.rung == final_rung(self.config):
            if self.config.training.keep_finalists and result.status is TrialStatus.COMPLETE:
                # A full disk kept no checkpoint, or keeps no weights: they are lost, their score is not.
                with suppress(OSError, InvalidFile):
                    keep_weights(task.checkpoint, self.study.finalists / task.checkpoint.stem)
            task.checkpoint.unlink(missing_ok=True)
        self.report()

    def _steps_added(self, runs: tuple[ProxyResult, ...], run: ProxyResult) -> int:
        """Return the steps a run adds to those of the same seed before it, cool-down copies included."""
        before = [r.steps for r in runs if r.seed == run.seed and r.rung < run.rung]
        aside = run.aside_tokens // (self.config.training.batch_size * self.config.training.seq_len)
        return max(0, run.steps - max(before, default=0)) + aside

    def _finish(self, record: TrialRecord) -> TrialRecord:
        """Store a trial that has ended; return its record with its runs."""
        self.study.tell(record)
        return self._take_in(record)

    def _take_in(self, record: TrialRecord) -> TrialRecord:
        """Add a trial that has ended to what is known; return its record with its runs."""
        runs = (record.proxy,) if record.proxy and record.repeats is None else ()
        finished = replace(record, runs=runs)
        self.records[record.number] = finished
        self.tally.count(finished)
        self._remember(self.asked.pop(record.number), record)
        return finished

    def _remember(self, asked: Asked, record: TrialRecord) -> None:
        if record.repeats is None and not record.violations:
            self.known.add(record.candidate, record.number)
        self.history.add(record, asked)

    def tidy(self, cohort: tuple[int, ...]) -> None:
        """Remove checkpoints that nothing resumes from."""
        for path in self.study.checkpoints.glob("*.npz"):
            if int(path.stem.split("-")[0]) not in cohort:
                path.unlink(missing_ok=True)
        if not self.running:  # a worker may be about to write into the folder it has just made
            with suppress(OSError):  # not empty, or never made
                self.study.checkpoints.rmdir()

    @property
    def _total_steps(self) -> int:
        left = None if self.current is None else steps_of_more_seeds(self.config, self.current)
        expected = expected_steps(self.config, aside=self._cools_aside)
        return expected if left is None else self.done_steps + left

    def report(self, task: TrainingTask | None = None, step: StepReport | None = None) -> None:
        """Tell the caller where the search stands."""
        task = task or next(iter(self.running.values()), None)
        under_way = sum(
            max(0, report.step - _steps_before(self.config, run.rung)) + report.copy_steps
            for run, report in self.reports.items()
        )
        self.hook(
            SearchProgress(
                study=self.study.name,
                trained=self.tally.trained,
                wanted=self.config.training.trials,
                infeasible=self.tally.infeasible,
                candidate=task.candidate if task else None,
                rung=task.rung if task else 0,
                rungs=len(rung_steps(self.config)),
                step=step.step if step else 0,
                steps=task.training.steps if task else self.config.training.steps,
                done_steps=self.done_steps + under_way,
                total_steps=self._total_steps,
                tokens_per_s=sum(report.tokens_per_s for report in self.reports.values()),
                best=self.tally.best,
                in_training=tuple(
                    _in_training(run, task, self.reports.get(run)) for run, task in self.running.items()
                ),
            )
        )


def _key(task: TrainingTask, config: SearchConfig) -> PlannedRun:
    return PlannedRun(task.number, task.rung, task.training.seed - config.training.seed)


def _in_training(run: PlannedRun, task: TrainingTask, report: StepReport | None) -> InTraining:
    return InTraining(
        number=run.number,
        seed=run.seed,
        rung=run.rung,
        step=report.step if report else 0,
        steps=task.training.steps,
        loss=report.loss if report and isfinite(report.loss) else None,
        tokens_per_s=report.tokens_per_s if report else 0.0,
        model=task.candidate.architecture.name,
        format=task.candidate.format,
    )


def _steps_before(config: SearchConfig, rung: int) -> int:
    return steps_of(config, rung - 1)[0] if rung else 0
