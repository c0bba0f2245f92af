"""A search that is resumed proposes what an undisturbed one does, and holds no more of its trials."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from search.config.config import SearchConfig
from search.run.loop import Loop
from search.run.tasks import TrainingTask
from search.space import sampling
from search.store import trial_rows
from search.store.results import ProxyResult, TrialStatus
from search.store.study import OpenStudy, create_study, open_study
from tests.search.records import proxy
from tests.search.run.small_searches import quiet

TRIALS, SLOTS = 24, 3


@dataclass(slots=True, eq=False)
class Instant:
    """Slots whose tasks end at once, in a random order, with a loss by formula."""

    order: random.Random = field(default_factory=lambda: random.Random(1))
    running: list[TrainingTask] = field(default_factory=list)
    ended: int = 0

    @property
    def free(self) -> int:
        return SLOTS - len(self.running)

    def start(self, task: TrainingTask) -> None:
        self.running.append(task)

    def finished(self) -> list[tuple[TrainingTask, ProxyResult]]:
        task = self.running.pop(self.order.randrange(len(self.running)))
        self.ended += 1
        shape = task.candidate.architecture
        bits = 3 - shape.num_layers / 100 - shape.hidden_size / 1000
        return [(task, replace(proxy(status=TrialStatus.COMPLETE), val_bits_per_byte=bits))]

    def close(self) -> None:
        pass


def _study(folder: Path, name: str) -> OpenStudy:
    config = SearchConfig.build(
        trials=TRIALS,
        workers=SLOTS,
        steps=10,
        rungs=1,
        final_seeds=1,
        max_size_bytes=500_000,
        sampler="nsga2",
    )
    return create_study(
        config,
        name=name,
        storage=f"sqlite:///{folder}/runs/{name}.db",
        settings={"dtype": "fp32", "engine": "eager"},
        corpus={"name": "none", "digest": "none"},
    )


def _go(study: OpenStudy, most: int) -> Loop:
    """Load a study and run it until that many tasks have ended."""
    executor = Instant()
    should_stop: Callable[[], bool] = lambda: executor.ended >= most  # noqa: E731
    study.recover()
    loop = Loop(study=study, hook=quiet, should_stop=should_stop)
    loop.executor = executor
    loop.load_state()
    loop.go()
    study.release()
    return loop


def _params(study: OpenStudy) -> list[object]:
    trials = study.optuna_study.get_trials(deepcopy=False)
    return [(t.number, t.params, t.state.name) for t in trials]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let evolution look at the last five trials, and read four at a time."""
    monkeypatch.setattr(sampling, "_LATEST", 5)
    monkeypatch.setattr(trial_rows, "_PAGE", 4)


@pytest.mark.usefixtures("few")
def test_a_resumed_search_proposes_the_same_models(tmp_path: Path) -> None:
    whole = _study(tmp_path, "whole")
    _go(whole, 1000)
    torn = _study(tmp_path, "torn")
    for _ in range(4):
        _go(open_study("torn", torn.storage, write=True), 7)
    assert len(_params(whole)) >= TRIALS
    assert _params(torn) == _params(whole)


@pytest.mark.usefixtures("few")
def test_a_resumed_search_holds_what_its_sampler_looks_at(tmp_path: Path) -> None:
    study = _study(tmp_path, "s")
    _go(study, 22)
    again = open_study("s", study.storage, write=True)
    loop = Loop(study=again, hook=quiet, should_stop=lambda: True)
    loop.load_state()
    held = len(loop.history._ordered) + len(loop.history._finished)
    assert held <= 2 * 5 + 2 * SLOTS
    assert len(loop.records) >= 22
    cache = again.optuna_study._storage._studies  # type: ignore[attr-defined]
    assert not any(one.trials for one in cache.values())


def test_pages_hold_every_finished_trial_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = _study(tmp_path, "s")
    _go(study, 11)
    read = [(trial.number, record) for trial, _, record in study.stored()]
    monkeypatch.setattr(trial_rows, "_PAGE", 4)
    assert [(trial.number, record) for trial, _, record in study.stored()] == read
    assert tuple(record for _, record in read) == study.result().records
    assert [number for number, _ in read] == sorted(number for number, _ in read)
