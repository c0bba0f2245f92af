"""Searches in the background: started apart from the caller, found again, stopped, forgotten.

A search started here is a process in a separate session: it continues when the page, the server or the
terminal that started it closes. What it prints goes to runs/logs/NAME.log. Its process is recorded next to
the log, and in the live file (search/run/live.py) once it trains; a process is signalled only where its
number and its start both are those written down.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from search.run.live import LiveStatus, State, read_live
from search.store.fallback_files import sqlite_path
from search.store.folders import STORAGE_VARIABLE, runs_folder, study_folder
from search.store.lock import lock_holder
from search.store.process import is_alive, is_here, process
from sizer.atomic_write import atomic_write
from sizer.errors import StudyError

# What `commands/search.py`, `commands/console.py` and `cli.py` print in a forecast or an error.
_FORECAST, _ERROR = "forecast: ", "error: "
TIMING = "timing model "
_TIMED = re.compile(rf"{TIMING}(\d+) of (\d+)")
# Timing the models of a space takes seconds; loading a large corpus may take minutes.
_FORECAST_LIMIT_S = 300.0
# A page asks for its forecast every second.
_UNASKED_S = 10.0
_LOOK_EVERY_S = 0.2
_TAIL_BYTES = 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A search started in the background."""

    study: str
    owner: Mapping[str, Any]  # as search.store.process.process describes it
    arguments: tuple[str, ...]  # of the command line
    began_at_s: float  # since the epoch
    log_begins_bytes: int  # where its part of the log begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What a study's process is doing, or how the last one ended."""

    owner: Mapping[str, Any] | None  # the process at work; None: there is none
    state: State | None  # None: no status yet
    reason: str  # of a failure, one line; else empty
    live: LiveStatus | None

    @property
    def is_starting(self) -> bool:
        """True if a process is at work that has written no status yet."""
        return self.owner is not None and self.state is None


def program_document(
    arguments: Sequence[str], storage: str, *, limit_s: float, accepted: Sequence[int] = (0,)
) -> dict[str, Any]:
    """Return what a command prints with `--json`; StudyError with its error line for another exit code."""
    done = run_program([*arguments, "--json"], storage, what=arguments[0], limit_s=limit_s)
    try:
        document = json.loads(done.stdout)
    except ValueError:
        document = None
    if done.returncode not in accepted or not isinstance(document, dict):
        raise _failed(arguments[0], done)
    return document


def run_program(
    arguments: Sequence[str], storage: str, *, what: str, limit_s: float
) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end, apart from this process; StudyError if it takes too long."""
    try:
        return subprocess.run(
            [*_program(), *arguments],
            env=_environment(storage),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StudyError(f"{what}: took more than {limit_s:g} s and was given up") from None


def _failed(what: str, done: subprocess.CompletedProcess[str]) -> StudyError:
    return StudyError(_last_error(done.stderr) or f"{what}: ended with exit code {done.returncode}")


class Forecasting:
    """A forecast that is being made by a process while other things go on; one at a time.

    The process ends when another forecast is started, when it is cancelled, and when nobody has asked for its
    state for some seconds: its page is closed then.
    """

    _latest: ClassVar[Forecasting | None] = None
    _guard: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, arguments: Sequence[str], storage: str, *, unasked_s: float = _UNASKED_S) -> None:
        self.line, self.error = "", ""  # its line, or its error
        self._unasked_s, self._asked_s = unasked_s, time.monotonic()
        self._why_ended, self._printed = "", ""
        self._at = (0, 0)
        with self._guard:
            before, Forecasting._latest = Forecasting._latest, self
        if before is not None:
            before.cancel("another forecast was started")
        self._child = subprocess.Popen(
            [*_program(), "search", "run", *arguments, "--dry-run"],
            env=_environment(storage),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        threading.Thread(target=self._wait, daemon=True).start()

    @property
    def is_done(self) -> bool:
        """True if there is a line or an error; asking keeps the process alive."""
        self._asked_s = time.monotonic()
        return bool(self.line or self.error)

    @property
    def at_model(self) -> tuple[int, int]:
        """Number of the model that is being timed, from 1, and of all; zeros before the first."""
        return self._at

    @property
    def pid(self) -> int:
        """Number of the process that makes the forecast."""
        return self._child.pid

    def cancel(self, why: str = "cancelled") -> None:
        """End the process; `error` is then the reason."""
        self._why_ended = self._why_ended or why
        if self._child.poll() is None:
            self._child.kill()

    def _read(self) -> None:
        assert self._child.stderr is not None
        with self._child.stderr as lines:
            for line in lines:
                self._printed += line
                if found := _TIMED.match(line):
                    self._at = int(found[1]), int(found[2])

    def _wait(self) -> None:
        began_s = time.monotonic()
        while True:
            try:
                self._child.wait(timeout=_LOOK_EVERY_S)
                break
            except subprocess.TimeoutExpired:
                now_s = time.monotonic()
                if now_s - began_s > _FORECAST_LIMIT_S:
                    self.cancel(f"took more than {_FORECAST_LIMIT_S:g} s and was given up")
                elif now_s - self._asked_s > self._unasked_s:
                    self.cancel("its page was closed")
        self._reader.join(timeout=_UNASKED_S)  # what it started may hold its output open
        printed = self._printed
        line = _forecast_of(printed) if self._child.returncode == 0 else ""
        if self._why_ended:
            self.error = f"forecast: {self._why_ended}"
        elif line:
            self.line = line
        else:
            ended = f"forecast: ended with exit code {self._child.returncode}"
            self.error = _last_error(printed) or ended


def _forecast_of(printed: str) -> str:
    lines = (line for line in printed.splitlines() if line.startswith(_FORECAST))
    return next(lines, "").removeprefix(_FORECAST)


def launch(study: str, arguments: Sequence[str], storage: str) -> Launch:
    """Begin `sizer search ...` for a study in the background. StudyError where one is at work already."""
    at_work = activity(study, storage).owner
    if at_work is not None:
        raise StudyError(f"study: {study!r} is being run by process {at_work['pid']}; stop it or wait")
    log = log_file(study, storage)
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            begins = out.tell()
            child = subprocess.Popen(
                [*_program(), "search", *arguments],
                env=_environment(storage),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started = Launch(
            study=study,
            owner=process(child.pid),
            arguments=("search", *arguments),
            began_at_s=time.time(),
            log_begins_bytes=begins,
        )
        # its end must be asked for, or it stays in the list of processes for as long as this one runs
        threading.Thread(target=child.wait, name=f"end of {study}", daemon=True).start()
        with atomic_write(_launch_file(study, storage)) as file:
            file.write(json.dumps(asdict(started)).encode())
    except OSError as error:
        raise StudyError(f"study: {study!r} cannot be started: {error.strerror or error}") from None
    return started


def read_launch(study: str, storage: str) -> Launch | None:
    """Read the last search of a study that was started in the background."""
    try:
        document = json.loads(_launch_file(study, storage).read_text(encoding="utf-8"))
        owner = document["owner"]
        if not isinstance(owner["pid"], int) or owner["pid"] < 1:
            return None
        return Launch(
            study=study,
            owner={"host": str(owner["host"]), "pid": owner["pid"], "started": owner["started"]},
            arguments=tuple(map(str, document["arguments"])),
            began_at_s=float(document["began_at_s"]),
            log_begins_bytes=int(document["log_begins_bytes"]),
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def launched_studies(storage: str) -> tuple[str, ...]:
    """List the studies started in the background, whether or not the storage has them yet."""
    return tuple(sorted(path.stem for path in (runs_folder(storage) / "logs").glob("*.json")))


def activity(study: str, storage: str) -> Activity:
    """Return what a study's processes are doing, from the status they wrote."""
    live, started = read_live(study, storage), read_launch(study, storage)
    if live is not None and live.is_running:
        return Activity(owner=live.owner, state=live.state, reason="", live=live)
    has_status = started is None or (live is not None and _is_status_of(live, started))
    seen_s = 0.0 if started is None else started.began_at_s
    if live is not None:
        seen_s = max(seen_s, live.written_at_s)
    if started is not None and is_alive(dict(started.owner), written_at_s=seen_s):
        # before it trains, or while it writes its report
        state = live.state if live is not None and has_status else None
        return Activity(owner=started.owner, state=state, reason="", live=live)
    if not has_status:
        reason = _last_error(log_tail(study, storage)) or "ended before it trained anything"
        return Activity(owner=None, state=State.FAILED, reason=reason, live=live)
    if live is None:
        return Activity(owner=None, state=None, reason="", live=None)
    return Activity(owner=None, state=live.state, reason=live.reason, live=live)


def _is_status_of(live: LiveStatus, started: Launch) -> bool:
    """Return whether a status is of a search, not of one before it; a clock may have been set back."""
    return dict(live.owner) == dict(started.owner) or live.written_at_s >= started.began_at_s


def stop(study: str, storage: str) -> None:
    """Ask the process that runs a study to stop after its current step; StudyError where that cannot be.

    Its workers hear of it from that process, so nothing else is signalled.
    """
    at_work = activity(study, storage)
    owner = at_work.owner
    if owner is None:
        raise StudyError(f"study: {study!r} is not running")
    if not is_here(owner):
        raise StudyError(f"study: {study!r} runs on {owner['host']}; stop it there")
    if owner["started"] is None or (at_work.live is not None and at_work.live.is_running):
        _check_lock(study, storage, owner["pid"])
    _interrupt(owner)


def forget(study: str, storage: str) -> None:
    """Remove the log and the record of a background search that never became a study.

    StudyError for one that is at work, or is stored, or of a storage that cannot be read: what is
    written down of a study is never removed here.
    """
    if study not in launched_studies(storage):
        raise StudyError(f"study: {study[:80]!r} was not started in the background: nothing to forget")
    at_work = activity(study, storage).owner
    if at_work is not None:
        raise StudyError(f"study: {study!r} is being run by process {at_work['pid']}; stop it or wait")
    if _is_stored(study, storage):
        raise StudyError(f"study: {study!r} is stored; only searches that never became a study are forgotten")
    try:
        log_file(study, storage).unlink(missing_ok=True)
        _launch_file(study, storage).unlink(missing_ok=True)  # last: it is by this that the search is known
    except OSError as error:
        raise StudyError(f"study: {study!r} cannot be forgotten: {error.strerror or error}") from None


def log_file(study: str, storage: str) -> Path:
    """Return the log file of a background search."""
    return _in_logs(study, storage, ".log")


def log_tail(study: str, storage: str) -> str:
    """Return the end of the log of the last background search."""
    started = read_launch(study, storage)
    try:
        with log_file(study, storage).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES, started.log_begins_bytes if started else 0))
            return file.read(_TAIL_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


def _launch_file(study: str, storage: str) -> Path:
    return _in_logs(study, storage, ".json")


def _in_logs(study: str, storage: str, suffix: str) -> Path:
    study_folder(study, storage)  # a name that leads nowhere else; the command line takes one with a slash
    return runs_folder(storage) / "logs" / f"{study}{suffix}"


def _is_stored(study: str, storage: str) -> bool:
    """Return whether a storage holds a study; StudyError if it cannot be read."""
    from search.store.study import list_studies  # optuna is heavy: beginning and watching do without

    path = sqlite_path(storage)
    return (path is None or path.exists()) and study in list_studies(storage)


def _program() -> tuple[str, str]:
    """Return this Python and the file of the command line, not looked up in the working directory."""
    spec = importlib.util.find_spec("cli")
    if spec is None or spec.origin is None:
        raise StudyError("search: the command line is not installed with the explorer")
    return sys.executable, spec.origin


def _environment(storage: str) -> dict[str, str]:
    # in the environment, where other users cannot read it: an address may hold a password
    return {**os.environ, STORAGE_VARIABLE: storage, "PYTHONUNBUFFERED": "1"}


def _last_error(printed: str) -> str:
    """Return the last error line without its prefix."""
    errors = [line.removeprefix(_ERROR) for line in printed.splitlines() if line.startswith(_ERROR)]
    return errors[-1] if errors else ""


def _check_lock(study: str, storage: str, pid: int) -> None:
    """Raise unless the study's lock names the process as well: the process itself wrote it."""
    if lock_holder(study_folder(study, storage)) != str(pid):
        raise StudyError(f"study: process {pid} does not hold the lock of {study!r}; stop it yourself")


def _interrupt(owner: Mapping[str, Any]) -> None:
    """Send SIGTERM to exactly the process described, or to none: its number may have been reused.

    A search takes it as it takes Ctrl-C. SIGINT would be ignored by a search of a server that a script put
    in the background: what a shell ignores for such a server its children ignore until they train.
    """
    pid, gone = owner["pid"], StudyError(f"study: process {owner['pid']} has ended already")
    try:
        if not hasattr(os, "pidfd_open"):
            if not is_alive(dict(owner)):
                raise gone
            os.kill(pid, signal.SIGTERM)
            return
        handle = os.pidfd_open(pid)  # from here on the number stays this process's
        try:
            if not is_alive(dict(owner)):
                raise gone
            signal.pidfd_send_signal(handle, signal.SIGTERM)
        finally:
            os.close(handle)
    except ProcessLookupError:
        raise gone from None
    except PermissionError:
        raise StudyError(f"study: process {pid} belongs to another user; stop it there") from None
