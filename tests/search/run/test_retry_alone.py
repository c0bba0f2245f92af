"""Out of memory: repeated alone before it counts; cards are shared as their memory lets them."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search.run import executors, runner
from search.run.executors import InProcess, WorkerPool, _Worker, not_begun
from search.run.places import Here
from search.run.retry_alone import RetryAlone
from search.run.tasks import TrainingTask
from search.store.results import Candidate, ProxyResult, TrialStatus
from search.store.study import OpenStudy
from search.text.corpora import Corpora
from search.training.train_step import ProductPrecision
from search.training.training_run import TrainConfig
from sizer.errors import StudyError
from tests.search.records import TINY
from tests.search.run.small_searches import quiet, small_config, write_text

TRAINING = TrainConfig(steps=30, batch_size=2, seq_len=32, dtype=ProductPrecision.FP32)


def _task(number: int) -> TrainingTask:
    candidate = Candidate(architecture=replace(TINY, num_layers=1 + number), format="Q4_0")
    return TrainingTask(
        number=number, rung=0, candidate=candidate, training=TRAINING, checkpoint=Path("none")
    )


class SharedMemory:
    """Slots that share a memory of some units: a task that exceeds what the others leave runs out of it."""

    def __init__(self, slots: int, units: int, needs: Sequence[int]) -> None:
        self._slots, self._units, self._needs = slots, units, needs
        self._running: list[TrainingTask] = []
        self.log: list[tuple[int, ...]] = []  # numbers in training together, at each start

    @property
    def free(self) -> int:
        return self._slots - len(self._running)

    def start(self, task: TrainingTask) -> None:
        assert self.free
        self._running.append(task)
        self.log.append(tuple(t.number for t in self._running))

    def finished(self) -> list[tuple[TrainingTask, ProxyResult]]:
        used = sum(self._needs[task.number] for task in self._running)
        task = self._running.pop()  # the last to come is the one that does not fit
        result = replace(not_begun(task), status=TrialStatus.COMPLETE, reason=None, machine="m")
        if used > self._units:
            result = replace(result, status=TrialStatus.FAILED, reason="out of memory")
        return [(task, result)]

    def close(self) -> None:
        pass


def _train_all(memory: SharedMemory, tasks: int) -> dict[int, ProxyResult]:
    executor = RetryAlone(memory, should_stop=lambda: False)
    left, results = [_task(number) for number in range(tasks)], dict[int, ProxyResult]()
    while len(results) < tasks:
        while left and executor.free:
            executor.start(left.pop(0))
        results |= {task.number: result for task, result in executor.finished()}
    return results


def test_a_run_that_its_neighbours_left_no_memory_is_trained_alone(caplog: pytest.LogCaptureFixture) -> None:
    memory = SharedMemory(3, units=10, needs=[4, 4, 9, 1])
    results = _train_all(memory, 4)
    assert [results[n].status for n in range(4)] == [TrialStatus.COMPLETE] * 4
    # 2 ran out beside 0 and 1; both ended, nothing new started, then 2 alone, then 3
    assert memory.log == [(0,), (0, 1), (0, 1, 2), (2,), (3,)]
    assert [record.getMessage() for record in caplog.records] == [
        "notice: trial 2 ran out of memory while others trained; it is trained alone"
    ]


def test_what_does_not_fit_alone_is_said_of_the_machine() -> None:
    memory = SharedMemory(2, units=10, needs=[4, 11, 4])
    results = _train_all(memory, 3)
    assert (results[1].status, results[1].reason) == (
        TrialStatus.FAILED,
        "out of memory, trained alone on m",
    )
    assert memory.log == [(0,), (0, 1), (1,), (2,)]
    assert results[2].status is TrialStatus.COMPLETE


def test_a_run_that_was_alone_all_the_time_is_not_repeated() -> None:
    memory = SharedMemory(1, units=10, needs=[11])
    assert _train_all(memory, 1)[0].reason == "out of memory, trained alone on m"
    assert memory.log == [(0,)]


def test_a_stop_gives_back_what_waits_to_be_alone() -> None:
    asked = False
    memory = SharedMemory(2, units=10, needs=[4, 9])
    executor = RetryAlone(memory, should_stop=lambda: asked)
    executor.start(_task(0))
    executor.start(_task(1))
    ((first, _),) = executor.finished()  # 1 ran out of memory, 0 ended
    assert (first.number, executor.free) == (0, 0)
    asked = True
    ((second, result),) = executor.finished()
    assert (second.number, result.status) == (1, TrialStatus.STOPPED)
    assert memory.log == [(0,), (0, 1)]


class _Link:
    """A worker's end of a pipe that notes what it is sent."""

    def __init__(self) -> None:
        self.sent: list[TrainingTask] = []

    def send(self, task: TrainingTask) -> None:
        self.sent.append(task)


def _pool(cards: Sequence[str | None], card_bytes: dict[str, int]) -> WorkerPool:
    """Return a pool whose workers are no processes."""
    pool = WorkerPool.__new__(WorkerPool)
    pool._card_bytes, pool._waiting, pool._given_up, pool._deaths = card_bytes, [], [], {}
    pool._workers = [_Worker(None, _Link(), (0,), card) for card in cards]  # type: ignore[arg-type]
    return pool


def _sent(pool: WorkerPool) -> list[list[int]]:
    return [[task.number for task in worker.link.sent] for worker in pool._workers]  # type: ignore[attr-defined]


class _OneRunsOut(InProcess):
    """Two slots; the first try of one trial runs out of memory if there is another task."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting: list[TrainingTask] = []
        self.failed: list[int] = []

    @property
    def free(self) -> int:
        return 2 - len(self.waiting)

    def start(self, task: TrainingTask) -> None:
        self.waiting.append(task)

    def finished(self) -> list[tuple[TrainingTask, ProxyResult]]:
        task = self.waiting.pop(0)
        if self.waiting and task.number == 1 and not self.failed:
            self.failed.append(task.number)
            return [(task, replace(not_begun(task), status=TrialStatus.FAILED, reason="out of memory"))]
        super().start(task)
        return super().finished()


def test_a_search_ends_with_the_same_models_as_with_more_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(write_text(tmp_path), workers=2)
    used: list[_OneRunsOut] = []

    def executor(here: Here, study: OpenStudy, text: Corpora, **given: Any) -> _OneRunsOut:
        used.append(_OneRunsOut(text, **given))
        used[-1].failed += [1] * (len(used) > 1)  # only in the first search
        return used[-1]

    monkeypatch.setattr(Here, "executor", executor)
    scores = []
    for name in ("short", "enough"):
        storage = f"sqlite:///{tmp_path}/runs/{name}.db"
        result, _ = runner.run(config, name=name, storage=storage, hook=quiet)
        scores.append([(r.number, r.proxy and r.proxy.val_bits_per_byte) for r in result.records])
        assert [record.status for record in result.records] == [TrialStatus.COMPLETE] * 3
    assert used[0].failed == [1]
    assert scores[0] == scores[1]


@pytest.fixture
def needs(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Bytes that each task is predicted to need."""
    known: dict[int, int] = {}
    monkeypatch.setattr(executors, "_predicted", lambda task: known[task.number])
    return known


def test_workers_share_a_card_as_its_memory_lets_them(needs: dict[int, int]) -> None:
    needs |= {0: 6, 1: 3, 2: 5, 3: 1}
    pool = _pool(["a"] * 4, {"a": 10})
    for number in range(4):
        pool.start(_task(number))
    # 0 and 1 fit together; 2 waits, and 3 behind it although it would fit
    assert _sent(pool) == [[0], [1], [], []]
    assert pool.free == 0
    pool._workers[0].task = None
    pool._send_what_fits()
    assert _sent(pool) == [[0], [1], [2], [3]]


def test_a_task_goes_to_the_card_with_the_most_memory_left(needs: dict[int, int]) -> None:
    needs |= dict.fromkeys(range(4), 4)
    pool = _pool(["a", "b", "a", "b"], {"a": 10, "b": 20})
    for number in range(4):
        pool.start(_task(number))
    # 20 left on b, then 16, then 12 against 10 but b has two workers only
    assert _sent(pool) == [[2], [0], [3], [1]]


def test_a_task_larger_than_its_card_is_sent_alone(needs: dict[int, int]) -> None:
    needs |= {0: 99, 1: 1}
    pool = _pool(["a", "a"], {"a": 10})
    pool.start(_task(0))
    pool.start(_task(1))
    assert _sent(pool) == [[0], []]
    pool._workers[0].task = None
    pool._send_what_fits()
    assert _sent(pool) == [[0], [1]]


def test_workers_without_cards_take_every_task_at_once() -> None:
    pool = _pool([None, None], {})
    pool.start(_task(0))
    pool.start(_task(1))
    assert _sent(pool) == [[0], [1]]


def test_a_stop_gives_back_what_waits_for_room(needs: dict[int, int]) -> None:
    needs |= {0: 6, 1: 6}
    pool = _pool(["a", "a"], {"a": 10})
    pool.start(_task(0))
    pool.start(_task(1))
    assert [task.number for task in pool._take_back()] == [1]
    assert pool.free == 1


class _Killed:
    """A process that has ended with an exit code."""

    def __init__(self, exitcode: int) -> None:
        self.exitcode = exitcode

    def join(self) -> None:
        pass


def _pool_with_deaths(monkeypatch: pytest.MonkeyPatch, exitcode: int) -> WorkerPool:
    pool = _pool([None, None], {})
    fresh = lambda cores, card: _Worker(_Killed(exitcode), _Link(), cores, card)  # type: ignore[arg-type]  # noqa: E731
    monkeypatch.setattr(pool, "_worker", fresh)
    for worker in pool._workers:
        worker.process = _Killed(exitcode)  # type: ignore[assignment]
    return pool


def _die(pool: WorkerPool, worker: _Worker, times: int) -> None:
    for _ in range(times):
        assert worker.task is not None
        pool._replace(worker, worker.task)


def test_a_task_whose_processes_are_killed_while_others_train_is_given_up_for_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = _pool_with_deaths(monkeypatch, -signal.SIGKILL)
    pool.start(_task(0))
    pool.start(_task(1))
    _die(pool, pool._workers[0], 2)
    ((task, result),) = pool._given_up
    assert (task.number, result.status, result.reason) == (0, TrialStatus.FAILED, "out of memory")
    assert pool.free == 1
    # and when it dies alone the search ends, with nothing recorded
    pool._workers[1].task = None
    pool.start(_task(0))
    with pytest.raises(StudyError, match="trial 0 died .* perhaps out of memory"):
        _die(pool, pool._workers[0], 1)


def test_a_task_whose_process_ends_otherwise_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = _pool_with_deaths(monkeypatch, 1)
    pool.start(_task(0))
    pool.start(_task(1))
    with pytest.raises(StudyError, match=r"trial 0 died 2 times \(exit 1"):
        _die(pool, pool._workers[0], 2)
