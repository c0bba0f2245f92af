"""Start a search or go on with one: corpus, study, lock, signals, and the loop between them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from search.config.config import BYTE_VOCABULARY, SearchConfig, Tokenizer
from search.run.live import Watch
from search.run.loop import Loop, LoopEnding
from search.run.places import Place, corpus_of, place_of
from search.run.progress import ProgressHook
from search.run.retry_alone import RetryAlone
from search.run.signals import stop_on_signal
from search.run.tasks import ClusterRequest
from search.store.lock import runner_lock
from search.store.results import SearchResult
from search.store.study import OpenStudy, corpus_digest, create_study, open_study
from search.text.corpora import Corpora
from search.text.vocabulary import vocabulary_of
from search.training.accelerator import training_device
from search.training.teacher import load_teacher
from search.training.training_run import TRAINER_REVISION
from sizer.errors import StudyError
from sizer.runtimes import runtime as runtime_by_name


def run(
    config: SearchConfig,
    *,
    name: str | None,
    storage: str,
    hook: ProgressHook,
    corpus: Corpora | None = None,
    cluster: ClusterRequest | None = None,
) -> tuple[SearchResult, LoopEnding]:
    """Start a study and run it to its number of trials. Returns (result, why it ended).

    `corpus` is that of the configuration, where the caller has loaded it already. With a `cluster` models are
    trained there instead of on this machine.

    Raises SizerError kinds: InvalidFile for the corpus, StudyError for the storage or the cluster, NoFit when
    nothing in the space fits the budget.
    """
    check(config, trains_here=cluster is None)
    corpus = corpus or corpus_of(config, storage)()
    config = with_tokenizer_bytes(config, corpus)
    with place_of(cluster, config.training.workers) as place:
        study = create_study(
            config,
            name=name,
            storage=storage,
            settings=place.settings(config),
            corpus={
                "name": corpus.name,
                "digest": corpus.digest,
                "tokenizer": config.training.tokenizer,
                "vocab_size": corpus.vocab_size,
            },
        )
        return _run(study, corpus, hook, place)


def with_tokenizer_bytes(config: SearchConfig, corpus: Corpora) -> SearchConfig:
    """Return the configuration with the bytes of the trained tokenizer in a GGUF file, unless they are given.

    A model that is deployed with another tokenizer than its proxies' has a known one's of that size.
    """
    if len(set(config.space.vocab_size)) > 1:  # each has another tokenizer
        return config
    (rows,) = set(config.space.vocab_size)
    is_byte = config.training.tokenizer == Tokenizer.BYTE
    is_trained = not is_byte or rows == BYTE_VOCABULARY
    if config.budget.tokenizer_bytes is not None or config.budget.runtime != "llama.cpp":
        return config
    if not is_trained or config.training.proxy_vocab_size is not None:
        return config
    vocabulary = vocabulary_of(corpus.first.tokenizer_json)
    return config.changed(tokenizer_bytes=vocabulary.metadata_bytes(rows))


def resume(
    name: str,
    *,
    storage: str,
    trials: int | None,
    hook: ProgressHook,
    cluster: ClusterRequest | None = None,
) -> tuple[SearchResult, LoopEnding]:
    """Go on with a study; finished runs are kept, interrupted ones go on.

    `trials`: how many in all, from now on; the study stores it when this process has it to itself.

    Raises StudyError when the study is not there, was trained by another revision of the trainer, its corpus
    is no longer the same text, or another process is running it.
    """
    study, corpus = open_for_training(name, storage)
    if trials is not None:
        study = replace(study, config=study.config.changed(trials=trials))
    with place_of(cluster, study.config.training.workers) as place:
        return _run(study, corpus, hook, place, is_changed=trials is not None)


def open_for_training(name: str, storage: str) -> tuple[OpenStudy, Corpora]:
    """Return a stored study and its text; StudyError if it cannot be trained on as it was."""
    study = open_study(name, storage, write=True)
    _check_trainer(study)
    corpus = corpus_of(study.config, storage)()
    if corpus.digest != corpus_digest(study):
        raise StudyError(
            f"corpus: {study.config.training.corpus!r} has changed since the study began (digest "
            f"{corpus.digest[:12]}, was {corpus_digest(study)[:12]}); accepted: the same text, or a new study"
        )
    return study, corpus


def _check_trainer(study: OpenStudy) -> None:
    revision = study.settings.get("trainer_revision", 1)  # studies of the first had no such setting
    if revision != TRAINER_REVISION:
        began = study.result().versions.get("sizer", "unknown")
        raise StudyError(
            f"study: {study.name!r} was started by revision {revision} of the trainer; this is revision "
            f"{TRAINER_REVISION}, whose losses do not compare with its; accepted: a new study, or the sizer "
            f"it was started with ({began}); its frontier and report can be read as before"
        )


def check(config: SearchConfig, *, trains_here: bool = True) -> None:
    """Refuse, before anything is timed or trained, what this machine or a proxy cannot do.

    Raises UnknownName for a format that proxies cannot be scored in, InvalidQuantity for an accelerator that
    is not there, InvalidFile for a teacher that is not, or is of another vocabulary.
    """
    engine = runtime_by_name(config.budget.runtime)
    for name in config.space.formats:
        engine.check_searchable(name)
    if trains_here:
        training_device(config.training.train_on)
    if config.training.teacher is not None:
        for rows in config.trained_vocab_sizes:
            load_teacher(Path(config.training.teacher), vocab_size=rows)


def _run(
    study: OpenStudy, corpus: Corpora, hook: ProgressHook, place: Place, *, is_changed: bool = False
) -> tuple[SearchResult, LoopEnding]:
    place.check(study)
    folder = study.checkpoints.parent
    with (
        runner_lock(folder, study.name, study.storage) as is_taken_over,
        stop_on_signal() as is_asked_to_stop,
        Watch(folder, hook) as watch,
    ):
        study.recover()
        if is_changed:
            study.store_config()
        loop = Loop(study=study, hook=watch, should_stop=lambda: is_asked_to_stop() or is_taken_over())
        loop.load_state()
        trained = place.executor(study, corpus, on_step=loop.stepped, should_stop=loop.should_stop)
        loop.executor = RetryAlone(trained, should_stop=loop.should_stop)
        try:
            loop.go()
        finally:
            loop.executor.close()
            with suppress(StudyError):  # where the storage is gone, what stopped the search is the news
                study.release()
        if is_taken_over():
            raise StudyError(
                f"study: {study.name!r} was taken over by another process while its storage did not answer"
            )
        ending = loop.ending()
        if ending is LoopEnding.DONE or ending is LoopEnding.EXHAUSTED:
            loop.tidy(())
        watch.ended(ending)
        return study.result(), ending
