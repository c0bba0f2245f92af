"""One run of a search: what to train next, and what came of it; all of its state is the study's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from itertools import takewhile
from math import isfinite
from pathlib import Path

import optuna

from search.law.shapes import law_row
from search.proxy.few_bits import any_few_bits
from search.proxy.scaled import proxy_of
from search.proxy.stepper import Precision
from search.proxy.training import StepReport, TrainConfig
from search.run.executors import Executor, Task
from search.run.live import InTraining
from search.run.plan import Run, expected_steps, final_rung, rung_steps, stage, steps_of, warmup_steps
from search.space.config import SearchConfig
from search.space.deployed import deployed_estimate
from search.space.resolve import resolve_or_say_why
from search.space.sampling import Told, encoding_of, next_point
from search.space.space import suggest
from search.store.results import Candidate, ProxyResult, TrialRecord, TrialStatus, combined
from search.store.study import OpenStudy
from sizer.architecture import Architecture
from sizer.budget import Budget
from sizer.errors import NoFit
from sizer.estimate import Estimate

# So many proposals in a row that break the budget, or were trained before, mean that the space is the reason.
MAX_MISSES_IN_A_ROW = 200


@unique
class Ending(StrEnum):
    """Why the loop ended."""

    DONE = "done"
    STOPPED = "stopped"  # by a signal; resume goes on
    EXHAUSTED = "exhausted"  # the space holds no more models that fit and are new


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a running search stands; handed to the caller after every event."""

    study: str
    trained: int  # trials that have been to the first rung
    wanted: int
    infeasible: int
    candidate: Candidate | None  # the one in training that was heard of last
    rung: int  # of the run in training, from 0
    rungs: int
    step: int
    steps: int
    done_steps: int  # of all runs, those under way included
    total_steps: int  # as expected from the settings
    tokens_per_s: float  # of all runs under way
    best: TrialRecord | None
    in_training: tuple[InTraining, ...]


ProgressHook = Callable[[Progress], None]


@dataclass(slots=True, eq=False)
class Loop:
    """State of one run of the loop; all of it can be read off the study again."""

    study: OpenStudy
    hook: ProgressHook
    should_stop: Callable[[], bool]
    executor: Executor = field(init=False)
    records: dict[int, TrialRecord] = field(default_factory=dict)
    told: dict[int, Told] = field(default_factory=dict)
    known: dict[Candidate, int] = field(default_factory=dict)  # trials that trained or are training it
    begun: dict[int, tuple[Candidate, Estimate]] = field(default_factory=dict)  # in the first rung now
    left_behind: list[optuna.Trial] = field(default_factory=list)
    running: dict[Run, Task] = field(default_factory=dict)
    reports: dict[Run, StepReport] = field(default_factory=dict)
    done_steps: int = 0
    misses: int = 0
    stopped: bool = False

    @property
    def config(self) -> SearchConfig:
        """What was asked."""
        return self.study.config

    @property
    def _cools_aside(self) -> bool:
        return any_few_bits(self.config.formats, self.config.runtime)

    def take_stock(self) -> None:
        """What the study holds already."""
        for record in self.study.result().records:
            self.records[record.number] = record
            self.done_steps += sum(self._steps_added(record.runs, run) for run in record.runs)
        for trial, record in self.study.finished():
            self._remember(trial, record)
        self.left_behind = list(self.study.left_behind())
        ended = (r for _, r in sorted(self.records.items(), reverse=True))
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

    def ending(self) -> Ending:
        """Why `go` came back."""
        if self.stopped:
            return Ending.STOPPED
        if self._trained < self.config.trials:
            return Ending.EXHAUSTED
        return Ending.DONE

    # What is next

    def _next_task_exists(self) -> bool:
        return self._wants_more or bool(stage(self.config, self.records.values()).missing)

    @property
    def _trained(self) -> int:
        return sum(r.repeats is None and not r.violations for r in self.records.values())

    @property
    def _wants_more(self) -> bool:
        return self._trained + len(self.begun) < self.config.trials and self.misses < MAX_MISSES_IN_A_ROW

    def _next_task(self) -> Task | None:
        """The next task that can begin now; None: wait for those under way, or all is done."""
        if self.left_behind:
            trial = self.left_behind.pop(0)
            task = self._begin(trial)
            return task if task is not None else self._next_task()
        while self._wants_more and not self.should_stop():
            number = self.study.num_asked
            # A proposal may use the results of all but the last few trials, as many as there are workers:
            # with any more the order in which they happen to end would decide what is asked next.
            if any(begun <= number - self.config.workers for begun in self.begun):
                return None
            before = [t for n, t in sorted(self.told.items()) if n <= number - self.config.workers]
            task = self._begin(self.study.begin(next_point(self.config, number, before, self._fits)))
            if task is not None:
                return task
            self._check_misses()
        if self.begun or self.should_stop():
            return None
        at = stage(self.config, self.records.values())
        if at.rung:
            self.tidy(at.cohort)
        waiting = (run for run in at.missing if run not in self.running)
        run = next(waiting, None)
        return None if run is None else self._task(run, self.records[run.number].candidate)

    def _begin(self, trial: optuna.Trial) -> Task | None:
        """A trial's first task; None where it ends without one: over budget, or the same as an earlier."""
        config = self.config
        resolved = resolve_or_say_why(suggest(trial, config, encoding_of(config)), config)
        candidate, sized = resolved.candidate, self._sized(resolved.candidate)
        violations = (resolved.reason,) if resolved.reason else _budget(config).violations(sized)
        if violations or self.known.get(candidate, trial.number) != trial.number:
            self._finish(
                _record(
                    trial.number,
                    candidate,
                    sized,
                    violations=violations,
                    repeats=None if violations else self.known[candidate],
                )
            )
            self.misses += 1
            return None
        self.misses = 0
        self.known[candidate] = trial.number
        self.begun[trial.number] = (candidate, sized)
        return self._task(Run(trial.number, 0, 0), candidate)

    def _check_misses(self) -> None:
        if self.misses >= MAX_MISSES_IN_A_ROW and not self._trained and not self.begun:
            last = self.records[max(self.records)]
            raise NoFit(
                f"budget: {self.misses} proposals in a row do not fit; the last: {'; '.join(last.violations)}"
            )

    def _task(self, run: Run, candidate: Candidate) -> Task:
        config = self.config
        steps, cooldown = steps_of(config, run.rung)
        settings = self.study.settings
        training = TrainConfig(
            dtype=Precision(str(settings["dtype"])),
            fused=settings.get("engine") == "fused",
            train_on=config.train_on,
            warmup_steps=warmup_steps(config),
            steps=steps,
            cooldown_steps=cooldown,
            batch_size=config.batch_size,
            seq_len=config.seq_len,
            val_chunks=config.val_chunks,
            seed=config.seed + run.seed,
            runtime=config.runtime,
            teacher=None if config.teacher is None else Path(config.teacher),
            cool_aside=self._cools_aside,
        )
        if config.learning_rate is not None:
            training = replace(training, learning_rate=config.learning_rate)
        checkpoint = self.study.checkpoints / f"{run.number}-{run.seed}.npz"
        return Task(
            number=run.number,
            rung=run.rung,
            candidate=candidate,
            training=training,
            checkpoint=checkpoint,
            scaled=proxy_of(candidate.architecture, config),
        )

    def _fits(self, candidate: Candidate) -> bool:
        return not _budget(self.config).violations(self._sized(candidate))

    def _sized(self, candidate: Candidate) -> Estimate:
        c = self.config
        return deployed_estimate(
            candidate, runtime=c.runtime, device=c.device, context_tokens=c.context_tokens
        )

    # What came of it

    def stepped(self, task: Task, step: StepReport) -> None:
        """Hear of a step."""
        self.reports[_key(task, self.config)] = step
        self.report(task, step)

    def _ended(self, task: Task, result: ProxyResult) -> None:
        key = _key(task, self.config)
        del self.running[key]
        self.reports.pop(key, None)
        if result.status is TrialStatus.STOPPED:
            self.begun.pop(task.number, None)
            self.stopped = True
            return
        result = replace(result, rung=task.rung)
        if key.rung == 0 and key.seed == 0:
            candidate, sized = self.begun.pop(task.number)
            self._finish(_record(task.number, candidate, sized, proxy=result, scaled=task.scaled))
        else:
            self.study.tell_run(task.number, result)
            record = self.records[task.number]
            runs = (*record.runs, result)
            self.records[task.number] = replace(record, runs=runs, proxy=combined(runs))
        self.done_steps += self._steps_added(self.records[task.number].runs, result)
        if task.checkpoint is not None and task.rung == final_rung(self.config):
            if self.config.keep_finalists and result.status is TrialStatus.COMPLETE:
                self.study.finalists.mkdir(parents=True, exist_ok=True)
                task.checkpoint.replace(self.study.finalists / task.checkpoint.name)
            else:
                task.checkpoint.unlink(missing_ok=True)
        self.report()

    def _steps_added(self, runs: tuple[ProxyResult, ...], run: ProxyResult) -> int:
        """Steps a run added to those of the same seed before it, those on a copy included."""
        before = [r.steps for r in runs if r.seed == run.seed and r.rung < run.rung]
        aside = run.aside_tokens // (self.config.batch_size * self.config.seq_len)
        return max(0, run.steps - max(before, default=0)) + aside

    def _finish(self, record: TrialRecord) -> None:
        self.study.tell(record)
        runs = (record.proxy,) if record.proxy and record.repeats is None else ()
        self.records[record.number] = replace(record, runs=runs)
        self._remember(self.study.optuna_trial(record.number), record)

    def _remember(self, trial: optuna.trial.FrozenTrial, record: TrialRecord) -> None:
        if record.repeats is None and not record.violations:
            self.known.setdefault(record.candidate, record.number)
        row = law_row(record, runtime=self.config.runtime) if record.repeats is None else None
        self.told[record.number] = Told(trial=trial, row=row, candidate=record.candidate)

    def tidy(self, cohort: tuple[int, ...]) -> None:
        """Remove checkpoints that nothing goes on from."""
        for path in self.study.checkpoints.glob("*.npz"):
            if int(path.stem.split("-")[0]) not in cohort:
                path.unlink(missing_ok=True)
        with suppress(OSError):  # not empty, or never made
            self.study.checkpoints.rmdir()

    def report(self, task: Task | None = None, step: StepReport | None = None) -> None:
        """Tell the caller where the search stands."""
        task = task or next(iter(self.running.values()), None)
        under_way = sum(
            max(0, report.step - _steps_before(self.config, run.rung)) + report.aside_steps
            for run, report in self.reports.items()
        )
        best = min(self.records.values(), key=_bits, default=None)
        self.hook(
            Progress(
                study=self.study.name,
                trained=self._trained,
                wanted=self.config.trials,
                infeasible=sum(bool(r.violations) for r in self.records.values()),
                candidate=task.candidate if task else None,
                rung=task.rung if task else 0,
                rungs=len(rung_steps(self.config)),
                step=step.step if step else 0,
                steps=task.training.steps if task else self.config.steps,
                done_steps=self.done_steps + under_way,
                total_steps=expected_steps(self.config, aside=self._cools_aside),
                tokens_per_s=sum(report.tokens_per_s for report in self.reports.values()),
                best=best if best is not None and _bits(best) < float("inf") else None,
                in_training=tuple(
                    _in_training(run, task, self.reports.get(run)) for run, task in self.running.items()
                ),
            )
        )


def _key(task: Task, config: SearchConfig) -> Run:
    return Run(task.number, task.rung, task.training.seed - config.seed)


def _in_training(run: Run, task: Task, report: StepReport | None) -> InTraining:
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


def _bits(record: TrialRecord) -> float:
    value = record.proxy.val_bits_per_byte if record.proxy and record.repeats is None else None
    return float("inf") if value is None else value


def _budget(config: SearchConfig) -> Budget:
    return Budget(
        max_size_bytes=config.max_size_bytes,
        max_memory_bytes=config.max_memory_bytes,
        min_decode_tokens_per_s=config.min_decode_tokens_per_s,
    )


def _record(
    number: int,
    candidate: Candidate,
    sized: Estimate,
    *,
    proxy: ProxyResult | None = None,
    violations: tuple[str, ...] = (),
    repeats: int | None = None,
    scaled: Architecture | None = None,
) -> TrialRecord:
    return TrialRecord(
        number=number,
        candidate=candidate,
        num_parameters=sized.parameters.total,
        file_bytes=sized.file.total,
        memory_bytes=sized.memory.total_bytes,
        decode_tokens_per_s=sized.latency.decode_tokens_per_s if sized.latency else None,
        proxy=proxy,
        violations=violations,
        repeats=repeats,
        scaled=scaled,
    )
