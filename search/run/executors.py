"""Where candidates are trained: in this process, or in several, each pinned to its own cores.

A worker process gets tasks and sends back how far it is and what came of them; it keeps nothing else, so a
worker that dies loses at most what it trained since its last checkpoint.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

import torch

from search.proxy.train import train_proxy
from search.proxy.training import StepReport, TrainConfig
from search.store.results import Candidate, ProxyResult, TrialStatus
from search.text.corpus import Corpus
from sizer.architecture import Architecture
from sizer.errors import SizerError, StudyError

_POLL_S = 0.2  # between looks at whether to stop
_DEATHS = 2  # a task whose worker died this often ends the search: the next worker would die as well


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One piece of training: a trial's candidate up to a step, from its checkpoint where there is one."""

    number: int
    rung: int  # from 0; runs to the last end with a falling rate
    candidate: Candidate
    training: TrainConfig
    checkpoint: Path | None
    scaled: Architecture | None = None  # trained in the candidate's place


StepHook = Callable[[Task, StepReport], None]


class Executor(Protocol):
    """Runs tasks, as many at a time as it has slots."""

    @property
    def free(self) -> int:
        """Slots without a task."""
        ...

    def start(self, task: Task) -> None:
        """Begin a task; there must be a free slot."""
        ...

    def finished(self) -> list[tuple[Task, ProxyResult]]:
        """Wait until a task ends; every task that has ended since, and what came of it."""
        ...

    def close(self) -> None:
        """Let go of processes; tasks under way leave their checkpoint."""
        ...


class InProcess:
    """One task at a time, here."""

    def __init__(self, corpus: Corpus, *, on_step: StepHook, should_stop: Callable[[], bool]) -> None:
        self._corpus, self._on_step, self._should_stop = corpus, on_step, should_stop
        self._task: Task | None = None

    @property
    def free(self) -> int:
        """1 without a task."""
        return int(self._task is None)

    def start(self, task: Task) -> None:
        """Keep the task for `finished`, which trains it."""
        assert self._task is None
        self._task = task

    def finished(self) -> list[tuple[Task, ProxyResult]]:
        """Train the task to its end."""
        task, self._task = self._task, None
        assert task is not None
        result = train_proxy(
            task.candidate,
            self._corpus,
            task.training,
            on_step=lambda report: self._on_step(task, report),
            should_stop=self._should_stop,
            checkpoint=task.checkpoint,
            scaled=task.scaled,
        )
        return [(task, result)]

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass(slots=True, eq=False)
class _Worker:
    process: BaseProcess
    link: Connection
    cores: tuple[int, ...]
    task: Task | None = None


class WorkerPool:
    """Several tasks at a time, each in a process of its own on its own cores."""

    def __init__(
        self, workers: int, load: Callable[[], Corpus], *, on_step: StepHook, should_stop: Callable[[], bool]
    ) -> None:
        self._load, self._on_step, self._should_stop = load, on_step, should_stop
        self._context = get_context("spawn")
        self._stop = self._context.Event()
        self._deaths: dict[tuple[int, int, int], int] = {}
        self._workers = [self._worker(cores) for cores in divided(available_cores(), workers)]

    @property
    def free(self) -> int:
        """Workers without a task."""
        return sum(worker.task is None for worker in self._workers)

    def start(self, task: Task) -> None:
        """Hand the task to a worker without one."""
        worker = next(w for w in self._workers if w.task is None)
        worker.task = task
        self._send(worker, task)

    def _send(self, worker: _Worker, task: Task) -> None:
        try:
            worker.link.send(task)
        except OSError:  # it died while it had nothing to do
            self._replace(worker, task)

    def finished(self) -> list[tuple[Task, ProxyResult]]:
        """Wait until a task ends; every task that has ended since, and what came of it."""
        ended: list[tuple[Task, ProxyResult]] = []
        while not ended:
            if self._should_stop():
                self._stop.set()
            busy = {w.link: w for w in self._workers if w.task is not None}
            assert busy
            for link in wait(list(busy), timeout=_POLL_S):
                assert isinstance(link, Connection)
                ended += self._hear(busy[link])
        return ended

    def _hear(self, worker: _Worker) -> list[tuple[Task, ProxyResult]]:
        task = worker.task
        assert task is not None
        try:
            message = worker.link.recv()
        except (EOFError, OSError):
            if self._stop.is_set():  # it was told to stop before it took the task, or as it ended it
                worker.task = None
                return [(task, _not_begun(task))]
            self._replace(worker, task)
            return []
        if isinstance(message, StepReport):
            self._on_step(task, message)
            return []
        if isinstance(message, SizerError):
            raise message
        assert isinstance(message, ProxyResult), message
        worker.task = None
        return [(task, message)]

    def _replace(self, worker: _Worker, task: Task) -> None:
        """A new process for one that died; it goes on with the task from its checkpoint."""
        worker.process.join()
        key = (task.number, task.rung, task.training.seed)
        self._deaths[key] = self._deaths.get(key, 0) + 1
        if self._deaths[key] >= _DEATHS:
            raise StudyError(
                f"workers: the process that trained trial {task.number} died {_DEATHS} times (exit "
                f"{worker.process.exitcode}; perhaps out of memory); accepted: fewer --workers, then resume"
            )
        fresh = self._worker(worker.cores)
        worker.process, worker.link = fresh.process, fresh.link
        self._send(worker, task)

    def _worker(self, cores: tuple[int, ...]) -> _Worker:
        here, there = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(there, self._load, cores, self._stop, os.getpid()), daemon=True
        )
        process.start()
        there.close()
        return _Worker(process, here, cores)

    def close(self) -> None:
        """Ask the workers to end, and wait until they have."""
        self._stop.set()
        for worker in self._workers:
            worker.link.close()
            worker.process.join(timeout=30)
            if worker.process.is_alive():
                worker.process.kill()


def available_cores() -> tuple[int, ...]:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def divided(cores: Sequence[int], workers: int) -> list[tuple[int, ...]]:
    """Cores of each worker: as even as they go; shared where there are more workers than cores.

    >>> divided((0, 1, 2, 3, 4), 2), divided((0, 1), 3)
    ([(0, 1), (2, 3, 4)], [(0,), (1,), (0,)])
    """
    if workers > len(cores):
        return [(cores[i % len(cores)],) for i in range(workers)]
    count = len(cores)
    return [tuple(cores[count * i // workers : count * (i + 1) // workers]) for i in range(workers)]


def _not_begun(task: Task) -> ProxyResult:
    """What is known of a task whose worker stopped without a word: whatever it kept is in the checkpoint."""
    return ProxyResult(
        status=TrialStatus.STOPPED,
        val_bits_per_byte=None,
        val_bits_per_byte_sd=None,
        val_bits_per_byte_full=None,
        num_parameters=0,
        steps=0,
        trained_tokens=0,
        wall_s=0.0,
        seed=task.training.seed,
        reason="stopped before it began",
    )


class _Stop(Protocol):
    def is_set(self) -> bool: ...


def _work(
    link: Connection, load: Callable[[], Corpus], cores: tuple[int, ...], stop: _Stop, parent: int
) -> None:
    """A worker's life: tasks in, reports and results out, until the link closes or the parent is gone."""
    # Ctrl-C reaches every process of the terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    torch.set_num_threads(len(cores))

    def should_stop() -> bool:
        return stop.is_set() or os.getppid() != parent

    try:
        corpus = load()
        while not should_stop():
            if not link.poll(_POLL_S):
                continue
            task = link.recv()
            assert isinstance(task, Task)
            result = train_proxy(
                task.candidate,
                corpus,
                task.training,
                on_step=link.send,
                should_stop=should_stop,
                checkpoint=task.checkpoint,
                scaled=task.scaled,
            )
            link.send(result)
    except SizerError as error:
        link.send(error)
    except (EOFError, OSError):
        return  # the parent has gone or closed the link
