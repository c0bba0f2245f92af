"""Where candidates are trained: in this process, or in several, each pinned to its own cores.

A worker process gets tasks and sends back how far it is and what came of them; it keeps nothing else, so a
worker that dies loses at most what it trained since its last checkpoint.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol

import torch

from search.run.tasks import StepHook, TrainingTask
from search.store.results import ProxyResult, TrialStatus
from search.text.corpora import TextInTokens
from search.training.accelerator import VISIBLE_CARDS
from search.training.memory import OUT_OF_MEMORY, predicted_bytes
from search.training.score import train_proxy
from search.training.training_run import StepReport
from sizer.errors import SizerError, StudyError

_POLL_S = 0.2  # between looks at whether to stop
# A task whose worker died this often ends the search: the next worker would die as well. One that was killed
# while others trained has perhaps run out of memory, and is first to be repeated alone.
_DEATHS = 2


class InProcess:
    """One task at a time, here."""

    def __init__(self, corpus: TextInTokens, *, on_step: StepHook, should_stop: Callable[[], bool]) -> None:
        self._corpus, self._on_step, self._should_stop = corpus, on_step, should_stop
        self._task: TrainingTask | None = None

    @property
    def free(self) -> int:
        """1 without a task."""
        return int(self._task is None)

    def start(self, task: TrainingTask) -> None:
        """Keep the task for `finished`, which trains it."""
        assert self._task is None
        self._task = task

    def finished(self) -> list[tuple[TrainingTask, ProxyResult]]:
        """Train the task to its end."""
        task, self._task = self._task, None
        assert task is not None
        result = train_proxy(
            task.candidate,
            self._corpus.of(task.trained.vocab_size),
            task.training,
            on_step=lambda report: self._on_step(task, report),
            should_stop=self._should_stop,
            checkpoint=task.checkpoint,
            scaled=task.scaled,
        )
        return [(task, result)]

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


@dataclass(slots=True, eq=False)
class _Worker:
    process: BaseProcess
    link: Connection
    cores: tuple[int, ...]
    card: str | None
    task: TrainingTask | None = None


class WorkerPool:
    """Several tasks at a time, each in a separate process on its own cores.

    Workers share cards of known memory as far as the predicted memory of their tasks lets them.
    """

    def __init__(
        self,
        workers: int,
        load: Callable[[], TextInTokens],
        *,
        on_step: StepHook,
        should_stop: Callable[[], bool],
        cards: Sequence[str] = (),
        card_bytes: Mapping[str, int] | None = None,
    ) -> None:
        self._load, self._on_step, self._should_stop = load, on_step, should_stop
        self._context = get_context("spawn")
        self._stop = self._context.Event()
        self._deaths: dict[tuple[int, int, int], int] = {}
        self._card_bytes = card_bytes or {}
        self._given_up: list[tuple[TrainingTask, ProxyResult]] = []  # whose processes were killed for memory
        self._waiting: list[_Worker] = []  # whose task needs more of its card than is left, the first first
        self._workers = [
            self._worker(cores, cards[slot % len(cards)] if cards else None)
            for slot, cores in enumerate(divided(available_cores(), workers))
        ]

    @property
    def free(self) -> int:
        """Workers without a task."""
        return sum(worker.task is None for worker in self._workers)

    def start(self, task: TrainingTask) -> None:
        """Hand the task to a worker without one, on the card with the most memory left."""
        worker = max((w for w in self._workers if w.task is None), key=self._left_bytes)
        worker.task = task
        self._waiting.append(worker)
        self._send_what_fits()

    def _left_bytes(self, worker: _Worker) -> int:
        """Return what the tasks of a worker's card leave of its memory; 0 where that is not known."""
        if worker.card is None or worker.card not in self._card_bytes:
            return 0
        tasks = [w.task for w in self._workers if w.card == worker.card and w.task is not None]
        return self._card_bytes[worker.card] - sum(map(_predicted, tasks))

    def _send_what_fits(self) -> None:
        """Send waiting tasks that their card has room for, in order; one alone on its card always."""
        full: set[str | None] = set()
        for worker in list(self._waiting):
            task, limit = worker.task, self._card_bytes.get(worker.card or "")
            assert task is not None
            sent = [w.task for w in self._sent() if w.card == worker.card and w.task is not None]
            if limit is not None and sent:
                needed = _predicted(task) + sum(map(_predicted, sent))
                if worker.card in full or needed > limit:
                    full.add(worker.card)
                    continue
            self._waiting.remove(worker)
            self._send(worker, task)

    def _sent(self) -> list[_Worker]:
        """Return the workers that have been sent their task."""
        return [w for w in self._workers if w.task is not None and w not in self._waiting]

    def _send(self, worker: _Worker, task: TrainingTask) -> None:
        try:
            worker.link.send(task)
        except OSError:  # it died while it had nothing to do
            self._replace(worker, task)

    def finished(self) -> list[tuple[TrainingTask, ProxyResult]]:
        """Wait until a task ends; every task that has ended since, and what came of it."""
        ended: list[tuple[TrainingTask, ProxyResult]] = []
        while not ended:
            if self._should_stop():
                self._stop.set()
                ended += [(task, not_begun(task)) for task in self._take_back()]
            busy = {w.link: w for w in self._sent()}
            assert busy or ended or self._given_up
            for link in wait(list(busy), timeout=_POLL_S):
                assert isinstance(link, Connection)
                ended += self._hear(busy[link])
            self._send_what_fits()
            ended, self._given_up = [*ended, *self._given_up], []
        return ended

    def _take_back(self) -> Iterator[TrainingTask]:
        """Yield the tasks that wait for room, which their workers no longer have."""
        for worker in self._waiting:
            assert worker.task is not None
            yield worker.task
            worker.task = None
        self._waiting = []

    def _hear(self, worker: _Worker) -> list[tuple[TrainingTask, ProxyResult]]:
        task = worker.task
        assert task is not None
        try:
            message = worker.link.recv()
        except (EOFError, OSError):
            if self._stop.is_set():  # stopped before it took the task, or as it ended it
                worker.task = None
                return [(task, not_begun(task))]
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

    def _replace(self, worker: _Worker, task: TrainingTask) -> None:
        """Start a new process for one that died; it resumes the task from its checkpoint."""
        worker.process.join()
        key = (task.number, task.rung, task.training.seed)
        self._deaths[key] = self._deaths.get(key, 0) + 1
        # Linux ends a process when memory runs out, which a neighbour may have taken
        is_for_memory = worker.process.exitcode == -signal.SIGKILL and len(self._sent()) > 1
        if self._deaths[key] >= _DEATHS and not is_for_memory:
            raise StudyError(
                f"workers: the process that trained trial {task.number} died {self._deaths[key]} times (exit "
                f"{worker.process.exitcode}; perhaps out of memory); accepted: fewer --workers, then resume"
            )
        fresh = self._worker(worker.cores, worker.card)
        worker.process, worker.link = fresh.process, fresh.link
        if self._deaths[key] >= _DEATHS:
            worker.task = None
            failed = replace(not_begun(task), status=TrialStatus.FAILED, reason=OUT_OF_MEMORY)
            self._given_up.append((task, failed))
            return
        self._send(worker, task)

    def _worker(self, cores: tuple[int, ...], card: str | None) -> _Worker:
        here, there = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(there, self._load, cores, self._stop, os.getpid()), daemon=True
        )
        with _only_card(card):
            process.start()
        there.close()
        return _Worker(process, here, cores, card)

    def close(self) -> None:
        """End the workers."""
        self._stop.set()
        for worker in self._workers:
            worker.link.close()
            worker.process.join(timeout=30)
            if worker.process.is_alive():
                worker.process.kill()


def _predicted(task: TrainingTask) -> int:
    training = task.training
    return predicted_bytes(task.trained, batch_size=training.batch_size, seq_len=training.seq_len)


@contextmanager
def _only_card(card: str | None) -> Iterator[None]:
    """Let a process that is started meanwhile see one card: torch looks when it starts."""
    before = os.environ.get(VISIBLE_CARDS)
    if card is not None:
        os.environ[VISIBLE_CARDS] = card
    try:
        yield
    finally:
        if card is not None:
            os.environ.pop(VISIBLE_CARDS)
            if before is not None:
                os.environ[VISIBLE_CARDS] = before


def available_cores() -> tuple[int, ...]:
    """Return the cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def divided(cores: Sequence[int], workers: int) -> list[tuple[int, ...]]:
    """Divide cores among workers as evenly as possible; share them if there are more workers than cores.

    >>> divided((0, 1, 2, 3, 4), 2), divided((0, 1), 3)
    ([(0, 1), (2, 3, 4)], [(0,), (1,), (0,)])
    """
    if workers > len(cores):
        return [(cores[i % len(cores)],) for i in range(workers)]
    count = len(cores)
    return [tuple(cores[count * i // workers : count * (i + 1) // workers]) for i in range(workers)]


def not_begun(task: TrainingTask) -> ProxyResult:
    """Return the result of a task whose worker died without a report: its work is in the checkpoint."""
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


_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent ends, however that ends; elsewhere than on Linux not.

    Without it a worker of a killed search trains on until its next report, or until it has loaded torch.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before
            os._exit(1)


class _Stop(Protocol):
    def is_set(self) -> bool: ...


def _work(
    link: Connection, load: Callable[[], TextInTokens], cores: tuple[int, ...], stop: _Stop, parent: int
) -> None:
    """Run a worker: read tasks, send reports and results until the link closes or the parent dies."""
    end_with_parent(parent)
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
            assert isinstance(task, TrainingTask)
            result = train_proxy(
                task.candidate,
                corpus.of(task.trained.vocab_size),
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
