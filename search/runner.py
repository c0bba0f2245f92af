"""The loop: ask for a candidate, size it, train it if it fits, store what came of it; resumable."""

from __future__ import annotations

import platform
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum, unique
from types import FrameType

from search.config import SearchConfig
from search.corpus import Corpus, load_corpus
from search.deployed import deployed_estimate
from search.quantize import supported_mixes
from search.resolve import resolve_or_say_why
from search.results import Candidate, ProxyResult, SearchResult, TrialRecord, TrialStatus
from search.space import suggest
from search.starts import starting_points
from search.stepper import Precision, choose_engine
from search.study import OpenStudy, corpus_digest, create_study, open_study
from search.train import StepReport, TrainConfig, train_proxy
from sizer.budget import Budget
from sizer.errors import NoFit, StudyError, UnknownName
from sizer.estimate import Estimate
from sizer.runtimes import runtime as runtime_by_name

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
    trained: int  # trials trained or ended otherwise after training began
    wanted: int
    infeasible: int
    candidate: Candidate | None  # the one in training
    step: int
    steps: int
    tokens_per_s: float
    best: TrialRecord | None


ProgressHook = Callable[[Progress], None]


@dataclass(slots=True)
class _Loop:
    """State of one run of the loop."""

    study: OpenStudy
    corpus: Corpus
    hook: ProgressHook
    should_stop: Callable[[], bool]
    finished: dict[Candidate, TrialRecord]
    dtype: Precision
    fused: bool
    trained: int = 0
    infeasible: int = 0
    best: TrialRecord | None = None

    def report(self, candidate: Candidate | None = None, step: StepReport | None = None) -> None:
        self.hook(
            Progress(
                study=self.study.name,
                trained=self.trained,
                wanted=self.study.config.trials,
                infeasible=self.infeasible,
                candidate=candidate,
                step=step.step if step else 0,
                steps=self.study.config.steps,
                tokens_per_s=step.tokens_per_s if step else 0.0,
                best=self.best,
            )
        )

    def count(self, record: TrialRecord) -> None:
        if record.repeats is not None:
            return
        self.finished[record.candidate] = record
        if record.status is TrialStatus.INFEASIBLE:
            self.infeasible += 1
            return
        self.trained += 1
        if _bits(record) < _bits(self.best):
            self.best = record


def _bits(record: TrialRecord | None) -> float:
    value = record.proxy.val_bits_per_byte if record and record.proxy else None
    return float("inf") if value is None else value


def run(
    config: SearchConfig, *, name: str | None, storage: str, hook: ProgressHook
) -> tuple[SearchResult, Ending]:
    """Start a study and run it to its number of trials. Returns (result, why it ended).

    Raises SizerError kinds: InvalidFile for the corpus, StudyError for the storage, NoFit when nothing in
    the space fits the budget.
    """
    _check_formats(config)
    corpus = load_corpus(config.corpus)
    study = create_study(
        config,
        name=name,
        storage=storage,
        settings=_settings(config),
        corpus={"name": corpus.name, "digest": corpus.digest},
    )
    for point in starting_points(config):
        study.enqueue(point)
    return _run(study, corpus, hook)


def resume(name: str, *, storage: str, trials: int | None, hook: ProgressHook) -> tuple[SearchResult, Ending]:
    """Go on with a study; finished trials are kept, interrupted ones run again. `trials` raises the number.

    Raises StudyError when the study is not there or its corpus is no longer the same text.
    """
    study = open_study(name, storage)
    if trials is not None:
        study = replace(study, config=replace(study.config, trials=trials))
    corpus = load_corpus(study.config.corpus)
    if corpus.digest != corpus_digest(study):
        raise StudyError(
            f"corpus: {study.config.corpus!r} has changed since the study began (digest "
            f"{corpus.digest[:12]}, was {corpus_digest(study)[:12]}); accepted: the same text, or a new study"
        )
    study.recover()
    return _run(study, corpus, hook)


def _check_formats(config: SearchConfig) -> None:
    """A format that proxies cannot be scored in must be refused before anything is trained."""
    engine = runtime_by_name(config.runtime)
    for name in config.formats:
        if engine.format_name(name) not in supported_mixes():
            raise UnknownName.of("format to score proxies in", name, supported_mixes())


def _settings(config: SearchConfig) -> dict[str, str | int | float]:
    timing = choose_engine()
    return {
        "steps": config.steps,
        "context_tokens": config.context_tokens,
        "batch_size": config.batch_size,
        "seq_len": config.seq_len,
        "val_chunks": config.val_chunks,
        "seed": config.seed,
        # fixed for the whole study: a resume on a busier machine must not train in another way
        "dtype": timing.precision.value,
        "engine": "fused" if timing.fused else "eager",
        **{f"{way.replace(' ', '_')}_step_s": seconds for way, seconds in timing.step_s.items()},
        "machine": f"{platform.machine()} {platform.system()}, Python {platform.python_version()}",
    }


def _run(study: OpenStudy, corpus: Corpus, hook: ProgressHook) -> tuple[SearchResult, Ending]:
    with _stop_on_signal() as should_stop:
        before = study.result()
        loop = _Loop(
            study=study,
            corpus=corpus,
            hook=hook,
            should_stop=should_stop,
            finished={},
            dtype=Precision(str(before.settings["dtype"])),
            fused=before.settings.get("engine") == "fused",
        )
        for record in before.records:
            loop.count(record)
        loop.report()
        misses = 0
        while loop.trained < study.config.trials and not should_stop():
            ended = _one_trial(loop)
            if ended is None:
                break
            loop.count(ended)
            loop.report()
            missed = ended.status is TrialStatus.INFEASIBLE or ended.repeats is not None
            misses = misses + 1 if missed else 0
            if misses < MAX_MISSES_IN_A_ROW:
                continue
            if loop.trained:
                return study.result(), Ending.EXHAUSTED
            raise NoFit(
                f"budget: {misses} proposals in a row do not fit; the last: {'; '.join(ended.violations)}"
            )
        done = loop.trained >= study.config.trials
        return study.result(), Ending.DONE if done else Ending.STOPPED


def _one_trial(loop: _Loop) -> TrialRecord | None:
    """Ask, size, train, store one trial; None if it was stopped from outside and given back."""
    study, config = loop.study, loop.study.config
    trial = study.ask()
    resolved = resolve_or_say_why(suggest(trial, config), config)
    candidate = resolved.candidate
    sized = deployed_estimate(
        candidate, runtime=config.runtime, device=config.device, context_tokens=config.context_tokens
    )
    violations = (resolved.reason,) if resolved.reason else _budget(config).violations(sized)
    known = loop.finished.get(candidate)
    if violations:
        record = _record(trial.number, candidate, sized, violations=violations)
    elif known is not None and known.proxy is not None:
        # The same model under another set of parameters: its score is known, training it again is not news.
        record = _record(trial.number, candidate, sized, proxy=known.proxy, repeats=known.number)
    else:
        loop.report(candidate)
        proxy = train_proxy(
            candidate,
            loop.corpus,
            _training(loop),
            on_step=lambda step: loop.report(candidate, step),
            should_stop=loop.should_stop,
        )
        if loop.should_stop() and proxy.steps < config.steps:
            study.release(trial)
            return None
        record = _record(trial.number, candidate, sized, proxy=proxy)
    study.tell(record)
    return record


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
    )


def _training(loop: _Loop) -> TrainConfig:
    config = loop.study.config
    training = TrainConfig(
        dtype=loop.dtype,
        fused=loop.fused,
        # a short run must not spend itself warming up
        warmup_steps=min(50, config.steps // 10),
        steps=config.steps,
        batch_size=config.batch_size,
        seq_len=config.seq_len,
        val_chunks=config.val_chunks,
        seed=config.seed,
    )
    rate = config.learning_rate
    return training if rate is None else replace(training, learning_rate=rate)


@contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a flag: the first ends after this step, a second SIGINT at once."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped.is_set
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
