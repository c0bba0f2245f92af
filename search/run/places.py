"""Where a search trains its models: on this machine, or on the workers of a cluster."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from search.config.config import SearchConfig
from search.run.executors import InProcess, WorkerPool
from search.run.settings import settings_of
from search.run.tasks import ClusterRequest, Executor, StepHook
from search.store.folders import runs_folder
from search.store.study import OpenStudy
from search.text.corpora import Corpora, load_corpora
from search.text.corpus import Corpus
from search.training.accelerator import card_bytes, cards
from search.training.conditions import check_engine
from search.training.train_step import ProductPrecision
from search.training.training_run import TrainConfig, backend_of
from sizer.errors import StudyError

_Text = TypeVar("_Text", Corpus, Corpora)


class Place(Protocol):
    """Somewhere to train the models of a study."""

    def settings(self, config: SearchConfig) -> dict[str, str | int | float]:
        """Return how a new study is trained there."""
        ...

    def check(self, study: OpenStudy) -> None:
        """Raise StudyError where a study cannot be trained there as it was started."""
        ...

    def executor(
        self, study: OpenStudy, corpus: Corpora, *, on_step: StepHook, should_stop: Callable[[], bool]
    ) -> Executor:
        """Return what trains the study's tasks."""
        ...


class Here:
    """This machine."""

    def settings(self, config: SearchConfig) -> dict[str, str | int | float]:
        """Return how a new study is trained on this machine."""
        return settings_of(config)

    def check(self, study: OpenStudy) -> None:
        """Print why training steps are not the fastest kind: as stored, or since this machine is another.

        Raises StudyError where this machine would train in another way than the study.
        """
        settings, config = study.settings, study.config
        way = TrainConfig(
            steps=config.training.steps,
            dtype=ProductPrecision(str(settings["dtype"])),
            fused=settings.get("engine") == "fused",
            train_on=config.training.train_on,
            teacher=None if config.training.teacher is None else Path(config.training.teacher),
        )
        check_engine(way)
        reason = settings.get("engine_reason") or backend_of(way).reason
        if reason:
            print(f"slower training steps: {reason}", file=sys.stderr)
        if max(config.space.experts) > 1:
            print(
                "slower training steps of models with experts: there are no kernels for them", file=sys.stderr
            )
        if any(config.space.windows):
            reason = "there are no kernels for sliding windows"
            print(f"slower training steps of models with windows: {reason}", file=sys.stderr)
        if any(config.space.convolutions):
            reason = "there are no kernels for short convolutions"
            print(f"slower training steps of models with convolutions: {reason}", file=sys.stderr)

    def executor(
        self, study: OpenStudy, corpus: Corpora, *, on_step: StepHook, should_stop: Callable[[], bool]
    ) -> Executor:
        """Return this process, or as many worker processes as the study trains models at a time."""
        here = cards(study.config.training.train_on)
        if study.config.training.workers == 1:
            return InProcess(corpus, on_step=on_step, should_stop=should_stop)
        return WorkerPool(
            study.config.training.workers,
            partial(load_same, corpus_of(study.config, study.storage), corpus.digest),
            on_step=on_step,
            should_stop=should_stop,
            cards=here,
            card_bytes=card_bytes(here),
        )


def with_a_worker_for_each_card(config: SearchConfig) -> SearchConfig:
    """Return the search with as many workers as this machine has cards, where it trains on more than one."""
    found = len(cards(config.training.train_on))
    return config.changed(workers=found) if found > 1 else config


@contextmanager
def place_of(cluster: ClusterRequest | None, slots: int) -> Iterator[Place]:
    """Yield where to train; StudyError where no cluster answers, or Dask is not installed."""
    if cluster is None:
        yield Here()
        return
    try:
        from search.run.cluster import OnCluster
    except ImportError as error:
        raise StudyError(f"cluster: needs {error.name}; install sizer[cluster]") from None
    place = OnCluster(cluster, slots=slots)
    try:
        yield place
    finally:
        place.close()


def load_same(load: Callable[[], _Text], digest: str) -> _Text:
    """Return the corpus that is loaded; StudyError if it is another text than the one of this digest."""
    corpus = load()
    if corpus.digest != digest:
        raise StudyError(
            f"corpus: {corpus.name!r} is another text on {socket.gethostname()} (digest "
            f"{corpus.digest[:12]}, the study's is {digest[:12]}); accepted: the same files and, for "
            "builtin, the same Python"
        )
    return corpus


def corpus_of(config: SearchConfig, storage: str) -> Callable[[], Corpora]:
    """Return a function that loads a study's text here or in a worker; tokens are kept with the study."""
    tokenizers = {rows: config.tokenizer_of(rows).value for rows in config.trained_vocab_sizes}
    return partial(
        load_corpora, config.training.corpus, tokenizers=tokenizers, cache=runs_folder(storage) / "corpora"
    )
