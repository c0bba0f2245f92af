"""Training on many machines: tasks go to the workers of a Dask cluster, which places, moves and retries them.

The head is this process: it alone asks, stores and decides. What is proposed depends on the number of slots,
not on the machines: they may join, leave and die.
"""

from __future__ import annotations

import logging
import queue
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distributed import Client, Future, KilledWorker
from distributed.deploy import Cluster

from search.config.config import SearchConfig
from search.run import cluster_worker
from search.run.cluster_address import ACCEPTED, SLURM, parse_cluster
from search.run.executors import not_begun
from search.run.forecast import threads_of
from search.run.tasks import ClusterRequest, Executor, StepHook, TrainingTask
from search.store.folders import runs_folder
from search.store.records import proxy_from_dict
from search.store.results import ProxyResult
from search.store.study import OpenStudy, torch_version
from search.text.corpora import Corpora
from search.text.corpus import Corpus
from search.text.corpus_file import write_corpus
from search.training.conditions import Conditions, conditions_of
from search.training.training_run import StepReport
from sizer.errors import StudyError

_CONNECT_S = 30.0
_FIRST_WORKER_S = 3600.0  # a batch system starts workers when it has room for them
_POLL_S = 0.2  # between looks at whether to stop
_ASK_EVERY_S = 1.0  # between two requests to stop: a worker may have joined since
_STOP_S = 60.0  # that runs have to end after their step and to write their checkpoints
_log = logging.getLogger("sizer")


class OnCluster:
    """The workers of a cluster; of a batch system, with the jobs that they are."""

    def __init__(self, request: ClusterRequest, *, slots: int) -> None:
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # our errors say it in one line
        where = request.where
        address, options = parse_cluster(where)
        self._threads = request.threads or threads_of(slots)
        self.where, self._slots = where, slots
        self._jobs = _slurm_jobs(options, slots) if address == SLURM else None
        try:
            self.client = Client(self._jobs or address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            self._end_jobs()
            raise StudyError(f"cluster: no scheduler answers at {where!r} ({error}); {ACCEPTED}") from None

    def settings(self, config: SearchConfig) -> dict[str, str | int | float]:
        """Return how a new study is trained, as its first worker has it; waits until there is one."""
        try:
            found = self.client.submit(cluster_worker.settings_here, config.to_dict(), pure=False)
            settings: dict[str, str | int | float] = found.result(timeout=_FIRST_WORKER_S)
        except (OSError, TimeoutError, ImportError) as error:
            raise StudyError(f"cluster: {self.where!r} has no worker that answers: {error}") from None
        return {**settings, "threads": self._threads}

    def check(self, study: OpenStudy) -> None:
        """Do nothing: each worker compares itself with the study when it gets a task."""

    def executor(
        self, study: OpenStudy, corpus: Corpora, *, on_step: StepHook, should_stop: Callable[[], bool]
    ) -> Executor:
        """Return what hands the study's tasks to the cluster."""
        return DaskExecutor(
            self,
            self._slots,
            StudyInputs(
                corpus=corpus,
                corpora=runs_folder(study.storage) / "corpora",
                conditions=conditions_of(study.settings, torch=torch_version(study), corpus=corpus.digest),
                threads=int(study.settings.get("threads", self._threads)),
            ),
            on_step=on_step,
            should_stop=should_stop,
        )

    def check_connection(self) -> None:
        """Raise StudyError where the scheduler has gone."""
        if self.client.status not in ("running", "connecting"):
            raise self.gone()

    def gone(self) -> StudyError:
        """Return the error of a scheduler that has gone, with all that it held."""
        return StudyError(f"cluster: the scheduler at {self.where!r} has gone; start it again, then resume")

    def close(self) -> None:
        """Close the connection and end the jobs."""
        with suppress(OSError, TimeoutError):
            self.client.close(timeout=5)
        self._end_jobs()

    def _end_jobs(self) -> None:
        if self._jobs is not None:
            self._jobs.close()


def _slurm_jobs(options: Mapping[str, str], slots: int) -> Cluster:
    """Start one job for each slot; what is not given is as in dask-jobqueue's own configuration file."""
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise StudyError("cluster: slurm needs dask-jobqueue; install sizer[cluster]") from None
    defaults = {"cores": 1, "processes": 1, "memory": "8GB"}
    try:
        jobs = SLURMCluster(**{**defaults, **{key: _number(value) for key, value in options.items()}})
        jobs.scale(jobs=slots)
    except (TypeError, ValueError, OSError) as error:
        raise StudyError(f"cluster: slurm: {str(error)[:300]}") from None
    return jobs


def _number(text: str) -> str | int:
    return int(text) if text.isdecimal() else text


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyInputs:
    """What every task of a study needs besides itself."""

    corpus: Corpora
    corpora: Path  # folder that all machines share
    conditions: Conditions
    threads: int  # of each run


class DaskExecutor:
    """As many tasks at a time as a search has slots, wherever the cluster puts them."""

    def __init__(
        self,
        connection: OnCluster,
        slots: int,
        inputs: StudyInputs,
        *,
        on_step: StepHook,
        should_stop: Callable[[], bool],
    ) -> None:
        self._connection, self._client, self._slots = connection, connection.client, slots
        self._on_step, self._should_stop, self._asked_s = on_step, should_stop, -_ASK_EVERY_S
        self._search = f"sizer-{uuid.uuid4().hex}"
        self._inputs = inputs
        self._files: dict[str, tuple[str, str]] = {}  # digest of a text in tokens: its file and its sha256
        self._tasks: dict[str, tuple[TrainingTask, Future[dict[str, Any]]]] = {}
        self._refused: dict[str, str] = {}  # worker's address: why
        self._heard: queue.Queue[tuple[str, list[list[float]] | None]] = queue.Queue()
        self._client.subscribe_topic(self._search, self._hear)

    def _hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        self._heard.put((event[1]["key"], event[1]["steps"]))

    @property
    def free(self) -> int:
        """Slots without a task."""
        return self._slots - len(self._tasks)

    def start(self, task: TrainingTask) -> None:
        """Hand the task to the cluster."""
        key = f"{self._search}-{task.number}-{task.rung}-{task.training.seed}-{uuid.uuid4().hex[:8]}"
        if task.checkpoint is not None:  # by this a worker sees that it shares the folder
            task.checkpoint.parent.parent.mkdir(parents=True, exist_ok=True)
        text = self._inputs.corpus.of(task.trained.vocab_size)
        future = self._client.submit(
            cluster_worker.train_task,
            task.to_dict(),
            key=key,
            workers=self._accepted(),
            pure=False,
            search=self._search,
            corpus=self._file(text),
            conditions={**self._inputs.conditions, "corpus": text.digest},
            threads=self._inputs.threads,
        )
        self._tasks[key] = task, future
        future.add_done_callback(lambda _: self._heard.put((key, None)))

    def _file(self, text: Corpus) -> tuple[str, str]:
        """Return the file of a text in one vocabulary's tokens, written when it is first asked for."""
        if text.digest not in self._files:
            path, digest = write_corpus(text, self._inputs.corpora)
            self._files[text.digest] = str(path.resolve()), digest
        return self._files[text.digest]

    def _accepted(self) -> list[str] | None:
        """Return the workers that have not refused; None for any, those that join later included."""
        if not self._refused:
            return None
        there = [w for w in self._client.scheduler_info(n_workers=-1)["workers"] if w not in self._refused]
        if not there:
            raise StudyError(f"cluster: no worker can train this study: {next(iter(self._refused.values()))}")
        return there

    def finished(self) -> list[tuple[TrainingTask, ProxyResult]]:
        """Wait until a task ends; every task that has ended since, and what came of it."""
        ended: list[tuple[TrainingTask, ProxyResult]] = []
        while not ended:
            if self._should_stop():
                ended += self._ask_to_stop()
            self._connection.check_connection()
            with suppress(queue.Empty):
                ended += self._take(*self._heard.get(timeout=_POLL_S))
                while True:
                    ended += self._take(*self._heard.get_nowait())
        return ended

    def _take(self, key: str, steps: list[list[float]] | None) -> list[tuple[TrainingTask, ProxyResult]]:
        """Take in one message: the steps of a run, or that it has ended."""
        if key not in self._tasks:  # of a run that has ended, or one before
            return []
        task, future = self._tasks[key]
        if steps is not None:
            for step, end, loss, speed, copy in steps:
                report = StepReport(
                    step=int(step), steps=int(end), loss=loss, tokens_per_s=speed, copy_steps=int(copy)
                )
                self._on_step(task, report)
            return []
        if future.status not in ("finished", "error"):
            raise self._connection.gone()
        del self._tasks[key]
        answer = self._answer(task, future)
        if "refused" in answer:
            self._refuse(answer)
            self.start(task)
            return []
        if "failed" in answer:
            raise StudyError(answer["failed"])
        run = proxy_from_dict(answer["run"])
        return [(task, replace(run, val_chunk_bits=tuple(answer["val_chunk_bits"])))]

    def _answer(self, task: TrainingTask, future: Future[dict[str, Any]]) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = future.result()
            return answer
        except KilledWorker as error:
            raise StudyError(
                f"cluster: {error.allowed_failures + 1} workers died while they trained trial {task.number} "
                "(perhaps out of memory); accepted: workers with more memory, then resume"
            ) from None
        except ImportError as error:
            raise StudyError(
                f"cluster: a worker cannot load sizer: {error}; accepted: workers with this version installed"
            ) from None

    def _refuse(self, answer: Mapping[str, Any]) -> None:
        if answer["worker"] not in self._refused:
            self._refused[answer["worker"]] = answer["refused"]
            _log.warning("notice: worker %s is not used: %s", answer["worker"], answer["refused"])

    def _ask_to_stop(self) -> list[tuple[TrainingTask, ProxyResult]]:
        """Ask every run to end after its step; return the tasks that no worker has started, as stopped."""
        dropped: list[tuple[TrainingTask, ProxyResult]] = []
        if time.monotonic() - self._asked_s < _ASK_EVERY_S:
            return dropped
        self._asked_s = time.monotonic()
        with suppress(OSError, TimeoutError, RuntimeError):  # the scheduler has gone: nobody is left to ask
            self._client.run(cluster_worker.ask_to_stop, self._search, on_error="ignore")
            started = {key for keys in self._client.processing().values() for key in keys}
            for key, (task, future) in list(self._tasks.items()):
                if key not in started and future.status == "pending":
                    del self._tasks[key]
                    future.cancel()
                    dropped.append((task, not_begun(task)))
        return dropped

    def close(self) -> None:
        """Have what still runs keep its checkpoint, then leave the cluster."""
        end = time.monotonic() + _STOP_S
        while self._tasks and time.monotonic() < end and self._client.status == "running":
            self._ask_to_stop()
            for key, (_, future) in list(self._tasks.items()):
                if future.status != "pending":
                    del self._tasks[key]
            time.sleep(_POLL_S)
