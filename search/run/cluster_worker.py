"""What a worker of a Dask cluster does for a search: it trains one task and reports how far it is.

Tasks and results are plain values. A worker has sizer installed and shares a folder with the head, for the
corpus and the checkpoints; it keeps nothing else.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from distributed import Status, get_worker

from search.config.reading import config_from_dict
from search.run.settings import settings_of
from search.run.tasks import task_from_dict
from search.store.records import proxy_to_dict
from search.text.corpus import Corpus
from search.text.corpus_file import read_corpus
from search.training.conditions import Conditions, check_conditions
from search.training.score import train_proxy
from search.training.training_run import StepReport
from sizer.errors import SizerError

# Seconds between two messages of a run: those of a small model would keep the scheduler busy.
_REPORT_EVERY_S = 0.5

_stopped: set[str] = set()  # searches that have asked their runs on this worker to stop


def ask_to_stop(search: str) -> None:
    """Have the runs of a search on this worker end after their step, with a checkpoint."""
    _stopped.add(search)


def settings_here(config: Mapping[str, Any]) -> dict[str, str | int | float]:
    """Return how a study would be trained on this worker."""
    return settings_of(config_from_dict(config, "the study"))


def train_task(
    task: Mapping[str, Any], *, search: str, corpus: tuple[str, str], conditions: Conditions, threads: int
) -> dict[str, Any]:
    """Train a task. Returns {"run": ...}, or {"refused": ...} where this worker would train otherwise.

    `search` names the search in its messages; `corpus` is a file and its sha256.
    """
    worker, asked = get_worker(), task_from_dict(task)
    key = worker.get_current_task()
    try:
        text = _corpus(*corpus)
        check_conditions(conditions, asked.training, corpus=text.digest)
        if asked.checkpoint is not None and not asked.checkpoint.parent.parent.is_dir():
            raise SizerError(
                f"cluster: {str(asked.checkpoint.parent.parent)!r} is not on {socket.gethostname()}; "
                "accepted: a folder of runs that all machines share"
            )
    except (SizerError, OSError) as error:
        return {"refused": str(error), "worker": worker.address}
    torch.set_num_threads(threads)

    def should_stop() -> bool:
        # nobody waits any more: the head has gone, or the scheduler
        state = worker.state.tasks.get(key)
        is_wanted = state is not None and state.state == "executing" and worker.status is Status.running
        return search in _stopped or not is_wanted

    reports = _Reports(lambda steps: worker.log_event(search, {"key": key, "steps": steps}))
    try:
        result = train_proxy(
            asked.candidate,
            text,
            asked.training,
            on_step=reports,
            should_stop=should_stop,
            checkpoint=asked.checkpoint,
            scaled=asked.scaled,
        )
    except SizerError as error:
        return {"failed": str(error)}
    reports.send()
    return {"run": proxy_to_dict(result), "val_chunk_bits": list(result.val_chunk_bits)}


@lru_cache(maxsize=2)
def _corpus(path: str, digest: str) -> Corpus:
    return read_corpus(Path(path), digest)


class _Reports:
    """Collects a run's reports and sends them together now and then."""

    def __init__(self, send: Callable[[list[list[float]]], None]) -> None:
        self._send, self._waiting, self._sent_s = send, list[list[float]](), 0.0

    def __call__(self, report: StepReport) -> None:
        self._waiting.append([report.step, report.steps, report.loss, report.tokens_per_s, report.copy_steps])
        if time.monotonic() - self._sent_s >= _REPORT_EVERY_S:
            self.send()

    def send(self) -> None:
        if self._waiting:
            self._send(self._waiting)
        self._waiting, self._sent_s = [], time.monotonic()
