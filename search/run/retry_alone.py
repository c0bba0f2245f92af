"""Runs for which memory did not suffice while others trained, repeated alone.

A neighbour may have taken the memory, on a card as on a processor: what is stored must not depend on that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from search.run.executors import not_begun
from search.run.tasks import Executor, TrainingTask
from search.store.results import ProxyResult, TrialStatus
from search.training.memory import OUT_OF_MEMORY

_Key = tuple[int, int, int]
_log = logging.getLogger("sizer")


class RetryAlone:
    """An executor whose runs are repeated when memory did not suffice, without others, before they count."""

    def __init__(self, executor: Executor, *, should_stop: Callable[[], bool]) -> None:
        self._executor, self._should_stop = executor, should_stop
        self._running: dict[_Key, TrainingTask] = {}
        self._shared: set[_Key] = set()  # those of the running that have had neighbours
        self._waiting: list[TrainingTask] = []
        self._alone: _Key | None = None

    @property
    def free(self) -> int:
        """Slots without a task; none while a task waits to be alone, or is."""
        return 0 if self._waiting or self._alone is not None else self._executor.free

    def start(self, task: TrainingTask) -> None:
        """Begin a task."""
        self._running[_key(task)] = task
        if len(self._running) > 1:
            self._shared.update(self._running)
        self._executor.start(task)

    def finished(self) -> list[tuple[TrainingTask, ProxyResult]]:
        """Wait until a task ends that is not to be repeated; return every task that has ended since."""
        ended: list[tuple[TrainingTask, ProxyResult]] = []
        while not ended:
            if self._waiting and not self._running:
                if self._should_stop():
                    ended, self._waiting = [(task, not_begun(task)) for task in self._waiting], []
                    break
                task = self._waiting.pop(0)
                self._alone = _key(task)
                self.start(task)
            for task, result in self._executor.finished():
                ended += self._take(task, result)
        return ended

    def _take(self, task: TrainingTask, result: ProxyResult) -> list[tuple[TrainingTask, ProxyResult]]:
        key = _key(task)
        del self._running[key]
        had_neighbours = key in self._shared
        self._shared.discard(key)
        if key == self._alone:
            self._alone = None
        if result.status is not TrialStatus.FAILED or result.reason != OUT_OF_MEMORY:
            return [(task, result)]
        if had_neighbours:
            _log.warning(
                "notice: trial %d ran out of memory while others trained; it is trained alone", task.number
            )
            self._waiting.append(task)
            return []
        reason = f"{OUT_OF_MEMORY}, trained alone on {result.machine}"
        return [(task, replace(result, reason=reason))]

    def close(self) -> None:
        """Release processes and connections."""
        self._executor.close()


def _key(task: TrainingTask) -> _Key:
    return task.number, task.rung, task.training.seed
