"""Start a search or go on with one: corpus, study, lock, signals, and the loop between them."""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from search.proxy.accelerator import PROCESSOR, training_device
from search.proxy.quantize import supported_formats
from search.proxy.stepper import choose_engine
from search.proxy.teacher import load_teacher
from search.proxy.training import TRAINER_REVISION, TrainConfig, precision_of, uses_written_out_steps
from search.run.executors import Executor, InProcess, WorkerPool
from search.run.live import Watch
from search.run.loop import Ending, Loop, ProgressHook
from search.run.plan import rung_steps
from search.run.signals import stop_on_signal
from search.space.config import SearchConfig
from search.space.sampling import sampler_of
from search.store.folders import runs_folder
from search.store.lock import study_lock
from search.store.results import SearchResult
from search.store.study import OpenStudy, corpus_digest, create_study, open_study
from search.text.corpus import Corpus, load_corpus
from sizer.errors import StudyError, UnknownName
from sizer.runtimes import runtime as runtime_by_name


def run(
    config: SearchConfig,
    *,
    name: str | None,
    storage: str,
    hook: ProgressHook,
    corpus: Corpus | None = None,
) -> tuple[SearchResult, Ending]:
    """Start a study and run it to its number of trials. Returns (result, why it ended).

    `corpus` is that of the configuration, where the caller has loaded it already.

    Raises SizerError kinds: InvalidFile for the corpus, StudyError for the storage, NoFit when nothing in
    the space fits the budget.
    """
    check(config)
    corpus = corpus or corpus_of(config, storage)()
    study = create_study(
        config,
        name=name,
        storage=storage,
        settings=_settings(config),
        corpus={
            "name": corpus.name,
            "digest": corpus.digest,
            "tokenizer": config.tokenizer,
            "vocab_size": corpus.vocab_size,
        },
    )
    return _run(study, corpus, hook)


def resume(name: str, *, storage: str, trials: int | None, hook: ProgressHook) -> tuple[SearchResult, Ending]:
    """Go on with a study; finished runs are kept, interrupted ones go on. `trials`: how many in all.

    Raises StudyError when the study is not there, was trained by another revision of the trainer, its corpus
    is no longer the same text, or another process is running it.
    """
    study = open_study(name, storage)
    _check_trainer(study)
    if trials is not None:
        study = replace(study, config=replace(study.config, trials=trials))
    corpus = corpus_of(study.config, storage)()
    if corpus.digest != corpus_digest(study):
        raise StudyError(
            f"corpus: {study.config.corpus!r} has changed since the study began (digest "
            f"{corpus.digest[:12]}, was {corpus_digest(study)[:12]}); accepted: the same text, or a new study"
        )
    return _run(study, corpus, hook)


def _check_trainer(study: OpenStudy) -> None:
    revision = study.settings.get("trainer_revision", 1)  # studies of the first had no such setting
    if revision != TRAINER_REVISION:
        began = study.result().versions.get("sizer", "unknown")
        raise StudyError(
            f"study: {study.name!r} was begun by revision {revision} of the trainer; this is revision "
            f"{TRAINER_REVISION}, whose losses do not compare with its; accepted: a new study, or the sizer "
            f"it was begun with ({began}); its frontier and report can be read as before"
        )


def check(config: SearchConfig) -> None:
    """Refuse, before anything is timed or trained, what this machine or a proxy cannot do.

    Raises UnknownName for a format that proxies cannot be scored in, InvalidQuantity for an accelerator that
    is not there, InvalidFile for a teacher that is not, or is of another vocabulary.
    """
    engine = runtime_by_name(config.runtime)
    for name in config.formats:
        if engine.format_name(name) not in supported_formats(engine.name):
            raise UnknownName.of("format to score proxies in", name, supported_formats(engine.name))
    training_device(config.train_on)
    if config.teacher is not None:
        load_teacher(Path(config.teacher), vocab_size=config.trained_vocab_size)


def _settings(config: SearchConfig) -> dict[str, str | int | float]:
    way = TrainConfig(steps=config.steps, train_on=config.train_on)
    step_s = choose_engine().step_s if config.train_on == PROCESSOR else {}
    return {
        "steps": config.steps,
        "rungs": ", ".join(map(str, rung_steps(config))),
        "sampler": sampler_of(config),
        "context_tokens": config.context_tokens,
        "batch_size": config.batch_size,
        "seq_len": config.seq_len,
        "val_chunks": config.val_chunks,
        "seed": config.seed,
        **_proxies(config),
        "workers": config.workers,
        # fixed for the whole study: a resume on a busier machine must not train in another way
        "dtype": precision_of(way).value,
        "engine": "fused" if uses_written_out_steps(way) else "eager",
        "train_on": config.train_on,
        **{f"{name.replace(' ', '_')}_step_s": seconds for name, seconds in step_s.items()},
        "trainer_revision": TRAINER_REVISION,
        "machine": f"{platform.machine()} {platform.system()}, Python {platform.python_version()}",
    }


def _proxies(config: SearchConfig) -> dict[str, float | int]:
    """How what is trained differs from the candidates, where it does."""
    values = {"proxy_width_scale": config.proxy_width_scale, "proxy_vocab_size": config.proxy_vocab_size}
    return {name: value for name, value in values.items() if value is not None}


def _run(study: OpenStudy, corpus: Corpus, hook: ProgressHook) -> tuple[SearchResult, Ending]:
    folder = study.checkpoints.parent
    with study_lock(folder, study.name), stop_on_signal() as should_stop, Watch(folder, hook) as watch:
        study.recover()
        loop = Loop(study=study, hook=watch, should_stop=should_stop)
        loop.take_stock()
        loop.executor = _executor(study.config, corpus, loop)
        try:
            loop.go()
        finally:
            loop.executor.close()
            with suppress(StudyError):  # where the storage is gone, what stopped the search is the news
                study.let_go()
        ending = loop.ending()
        if ending is Ending.DONE or ending is Ending.EXHAUSTED:
            loop.tidy(())
        watch.ended(ending)
        return study.result(), ending


def _executor(config: SearchConfig, corpus: Corpus, loop: Loop) -> Executor:
    if config.workers == 1:
        return InProcess(corpus, on_step=loop.stepped, should_stop=loop.should_stop)
    return WorkerPool(
        config.workers,
        corpus_of(config, loop.study.storage),
        on_step=loop.stepped,
        should_stop=loop.should_stop,
    )


def corpus_of(config: SearchConfig, storage: str) -> Callable[[], Corpus]:
    """What loads a study's text, in this process or in a worker; tokens are kept beside the study."""
    return partial(
        load_corpus,
        config.corpus,
        tokenizer=config.tokenizer,
        vocab_size=config.trained_vocab_size,
        cache=runs_folder(storage) / "corpora",
    )
