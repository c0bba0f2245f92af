"""Where a search under way stands, in a small file of its study that other processes read.

The database holds what has ended. This file holds what is in training, how far, and when it will be done;
it is replaced whole, about once a second, and names the process that writes it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum, unique
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.run.learning_curves import CurvePoint, CurveWriter
from search.run.progress import InTraining
from search.store.folders import study_folder
from search.store.process import is_alive, this_process
from sizer.atomic_write import atomic_write
from sizer.errors import SizerError

if TYPE_CHECKING:
    from types import TracebackType

    from search.run.progress import SearchProgress

FILE = "live.json"
SCHEMA = "sizer.live/1"
WRITE_EVERY_S = 1.0  # seconds between two writes while nothing but steps happens
_MOST_BYTES = 1_000_000


@unique
class State(StrEnum):
    """State of a search that was started."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"  # on request; can be resumed
    EXHAUSTED = "exhausted"  # no more new models fit
    FAILED = "failed"  # ended by an error; resume tries again
    KILLED = "killed"  # its process died without a last status; can be resumed


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveStatus:
    """Last status that a search's process wrote."""

    state: State
    reason: str  # of a failure, one line; else empty
    owner: Mapping[str, Any]  # as search.store.process.this_process describes it
    written_at_s: float  # since the epoch
    trained: int  # models that have been to the first rung
    wanted: int
    infeasible: int
    rungs: int
    done_steps: int
    total_steps: int  # as expected from the settings
    eta_s: float | None  # None: not known yet
    tokens_per_s: float
    best_trial: int | None
    in_training: tuple[InTraining, ...]

    @property
    def is_running(self) -> bool:
        """True if its process is at work."""
        return self.state is State.RUNNING


def read_live(study: str, storage: str) -> LiveStatus | None:
    """Return the last status the study's process wrote, or None. KILLED if the process has died."""
    path = study_folder(study, storage) / FILE
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_MOST_BYTES))
        if document["schema"] != SCHEMA:
            return None
        live = _live(document)
        alive = is_alive(dict(live.owner), written_at_s=live.written_at_s)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    if live.state is not State.RUNNING or alive:
        return live
    return replace(live, state=State.KILLED, in_training=())


class Watch:
    """Passes a search's progress on to a hook, and writes its live file and its learning curves.

    Neither must ever stop a search: what cannot be written is missing.
    """

    def __init__(self, folder: Path, hook: Any) -> None:
        self._path, self._hook = folder / FILE, hook
        self._curves = CurveWriter(folder)
        self._began: tuple[float, int] | None = None  # when steps were first counted, and how many there were
        self._written_s, self._heard = -WRITE_EVERY_S, ""
        self._last: SearchProgress | None = None

    def __call__(self, progress: SearchProgress) -> None:
        """Receive the progress of the search."""
        for run in progress.in_training:
            if run.loss is not None:
                point = CurvePoint(step=run.step, loss=run.loss, rung=run.rung)
                self._curves.hear(run.number, run.seed, point, run.steps)
        if self._began is None:
            self._began = time.monotonic(), progress.done_steps
        self._last = progress
        # starts and ends are written at once, steps now and then
        runs = " ".join(f"{run.number}/{run.rung}/{run.seed}" for run in progress.in_training)
        if runs != self._heard or time.monotonic() - self._written_s >= WRITE_EVERY_S:
            self._heard = runs
            self._write(progress, State.RUNNING)
        self._hook(progress)

    def ended(self, ending: str) -> None:
        """Tell how the search ended: a State's text."""
        if self._last is not None:
            self._write(self._last, State(ending))

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._last is not None:
            if isinstance(error, KeyboardInterrupt):
                self._write(self._last, State.STOPPED)
            else:
                reason = str(error) if isinstance(error, SizerError) else type(error).__name__
                self._write(self._last, State.FAILED, reason)

    def _write(self, progress: SearchProgress, state: State, reason: str = "") -> None:
        self._written_s = time.monotonic()
        live = LiveStatus(
            state=state,
            reason=" ".join(reason.split()),
            owner=this_process(),
            written_at_s=time.time(),
            trained=progress.trained,
            wanted=progress.wanted,
            infeasible=progress.infeasible,
            rungs=progress.rungs,
            done_steps=progress.done_steps,
            total_steps=max(progress.total_steps, progress.done_steps),
            eta_s=self._eta_s(progress),
            tokens_per_s=progress.tokens_per_s,
            best_trial=progress.best.number if progress.best else None,
            in_training=progress.in_training if state is State.RUNNING else (),
        )
        runs = [run._asdict() for run in live.in_training]
        text = json.dumps({"schema": SCHEMA, **asdict(live), "in_training": runs})
        with suppress(OSError), atomic_write(self._path) as file:
            file.write(text.encode())

    def _eta_s(self, progress: SearchProgress) -> float | None:
        """Return the seconds left at the speed since this process started."""
        if self._began is None:
            return None
        began_s, before = self._began
        done, left = progress.done_steps - before, max(0, progress.total_steps - progress.done_steps)
        return (time.monotonic() - began_s) / done * left if done > 0 else None


def _live(document: Mapping[str, Any]) -> LiveStatus:
    """Check and convert the values of a status file; ValueError, TypeError or KeyError if they are wrong."""
    eta, best, owner = document["eta_s"], document["best_trial"], document["owner"]
    if not isinstance(owner["pid"], int) or owner["pid"] < 1:
        raise ValueError(f"owner: {owner['pid']!r} is no process")
    return LiveStatus(
        state=State(document["state"]),
        reason=str(document["reason"]),
        owner={"host": str(owner["host"]), "pid": owner["pid"], "started": owner["started"]},
        written_at_s=_finite(document["written_at_s"]),
        trained=int(document["trained"]),
        wanted=int(document["wanted"]),
        infeasible=int(document["infeasible"]),
        rungs=int(document["rungs"]),
        done_steps=int(document["done_steps"]),
        total_steps=int(document["total_steps"]),
        eta_s=None if eta is None else _finite(eta),
        tokens_per_s=_finite(document["tokens_per_s"]),
        best_trial=None if best is None else int(best),
        in_training=tuple(_in_training(run) for run in document["in_training"]),
    )


def _in_training(run: Mapping[str, Any]) -> InTraining:
    return InTraining(
        number=int(run["number"]),
        seed=int(run["seed"]),
        rung=int(run["rung"]),
        step=int(run["step"]),
        steps=int(run["steps"]),
        loss=None if run["loss"] is None else _finite(run["loss"]),
        tokens_per_s=_finite(run["tokens_per_s"]),
        model=str(run["model"]),
        format=str(run["format"]),
    )


def _finite(value: Any) -> float:
    if not isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)
