"""Searches in the background: begun apart from whoever asks for them, found again, asked to stop, forgotten.

A search begun here is a process of its own session: it goes on when the page, the server or the terminal
that began it closes. What it prints goes to runs/logs/NAME.log. Which process it is stands beside the log,
and in the live file (search/run/live.py) once it trains; a process is signalled only where its number and its
start both are those written down.
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
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from search.run.live import Live, State, read_live, replace_file
from search.store.folders import STORAGE_VARIABLE, runs_folder, study_folder
from search.store.kept import sqlite_path
from search.store.owner import is_alive, is_here, process
from sizer.errors import StudyError

# What is printed in a forecast or an error; `commands/console.py` and `cli.py` write them.
_FORECAST, _ERROR = "forecast: ", "error: "
# Timing the models of a space takes seconds; loading a large corpus may take minutes.
_FORECAST_LIMIT_S = 300.0
_TAIL_BYTES = 16_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Folders that are beside those of the studies.
_TAKEN = ("corpora", "logs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A search begun in the background."""

    study: str
    owner: Mapping[str, Any]  # as search.store.owner.process tells it
    arguments: tuple[str, ...]  # of the command line
    began_at_s: float  # since the epoch
    log_begins_bytes: int  # where its part of the log begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What a study's process is doing, or how the last one ended."""

    owner: Mapping[str, Any] | None  # the process at work; None: there is none
    state: State | None  # None: nothing was told yet
    reason: str  # of a failure, one line; else empty
    live: Live | None

    @property
    def is_starting(self) -> bool:
        """Whether a process is at work that has not told anything yet."""
        return self.owner is not None and self.state is None


def check_new_name(name: str) -> None:
    """Raise StudyError for a name that could not be that of a file on every system."""
    if not _NAME.fullmatch(name) or name.lower() in _TAKEN:
        raise StudyError(
            f"study: {name[:80]!r} cannot be a name; accepted: up to 64 letters, digits, dots, dashes and "
            f"underscores, beginning with a letter or digit, and not {' or '.join(_TAKEN)}"
        )


def forecast_line(arguments: Sequence[str], storage: str) -> str:
    """What `sizer search run --dry-run` says of a search; StudyError with its error line."""
    try:
        done = subprocess.run(
            [*_program(), "search", "run", *arguments, "--dry-run"],
            env=_environment(storage),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_FORECAST_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StudyError(f"forecast: took more than {_FORECAST_LIMIT_S:g} s and was given up") from None
    for line in done.stderr.splitlines():
        if done.returncode == 0 and line.startswith(_FORECAST):
            return line.removeprefix(_FORECAST)
    raise StudyError(_last_error(done.stderr) or f"forecast: ended with exit code {done.returncode}")


class Forecasting:
    """A forecast that is being made while other things go on."""

    def __init__(self, arguments: Sequence[str], storage: str) -> None:
        self.line, self.error = "", ""  # what it says, or why it cannot be
        self._thread = threading.Thread(target=self._make, args=(arguments, storage), daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether there is a line or an error."""
        return bool(self.line or self.error)

    def _make(self, arguments: Sequence[str], storage: str) -> None:
        try:
            self.line = forecast_line(arguments, storage)
        except StudyError as error:
            self.error = str(error)


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
        begun = Launch(
            study=study,
            owner=process(child.pid),
            arguments=("search", *arguments),
            began_at_s=time.time(),
            log_begins_bytes=begins,
        )
        # its end must be asked for, or it stays in the list of processes for as long as this one runs
        threading.Thread(target=child.wait, name=f"end of {study}", daemon=True).start()
        replace_file(_launch_file(study, storage), json.dumps(asdict(begun)))
    except OSError as error:
        raise StudyError(f"study: {study!r} cannot be begun: {error.strerror or error}") from None
    return begun


def read_launch(study: str, storage: str) -> Launch | None:
    """The last search of a study that was begun in the background."""
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
    """Names of the studies that were begun in the background, whether or not the storage has them yet."""
    return tuple(sorted(path.stem for path in (runs_folder(storage) / "logs").glob("*.json")))


def activity(study: str, storage: str) -> Activity:
    """What is going on with a study, from what its processes wrote down."""
    live, begun = read_live(study, storage), read_launch(study, storage)
    if live is not None and live.is_running:
        return Activity(owner=live.owner, state=live.state, reason="", live=live)
    told = begun is None or (live is not None and live.written_at_s >= begun.began_at_s)
    if begun is not None and is_alive(dict(begun.owner)):
        # before it trains, or while it writes its report
        state = live.state if live is not None and told else None
        return Activity(owner=begun.owner, state=state, reason="", live=live)
    if not told:
        reason = _last_error(log_tail(study, storage)) or "ended before it trained anything"
        return Activity(owner=None, state=State.FAILED, reason=reason, live=live)
    if live is None:
        return Activity(owner=None, state=None, reason="", live=None)
    return Activity(owner=None, state=live.state, reason=live.reason, live=live)


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
    """Remove the log and the record of a search begun in the background that never came to be a study.

    StudyError for one that is at work, or is stored, or of a storage that does not say what it holds: what is
    written down of a study is never removed here.
    """
    if study not in launched_studies(storage):
        raise StudyError(f"study: {study[:80]!r} was not begun in the background; there is nothing to forget")
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
    """Where a search in the background prints."""
    return _beside_logs(study, storage, ".log")


def log_tail(study: str, storage: str) -> str:
    """The end of what the last search in the background printed."""
    begun = read_launch(study, storage)
    try:
        with log_file(study, storage).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES, begun.log_begins_bytes if begun else 0))
            return file.read(_TAIL_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


def _launch_file(study: str, storage: str) -> Path:
    return _beside_logs(study, storage, ".json")


def _beside_logs(study: str, storage: str, suffix: str) -> Path:
    study_folder(study, storage)  # a name that leads nowhere else; the command line takes one with a slash
    return runs_folder(storage) / "logs" / f"{study}{suffix}"


def _is_stored(study: str, storage: str) -> bool:
    """Whether a storage holds a study; StudyError where it cannot be asked."""
    from search.store.study import list_studies  # optuna is heavy: beginning and watching do without

    path = sqlite_path(storage)
    return (path is None or path.exists()) and study in list_studies(storage)


def _program() -> tuple[str, str]:
    """This Python and the command line's file: not looked for in the working directory."""
    spec = importlib.util.find_spec("cli")
    if spec is None or spec.origin is None:
        raise StudyError("search: the command line is not installed beside the explorer")
    return sys.executable, spec.origin


def _environment(storage: str) -> dict[str, str]:
    # in the environment, where other users cannot read it: an address may hold a password
    return {**os.environ, STORAGE_VARIABLE: storage, "PYTHONUNBUFFERED": "1"}


def _last_error(printed: str) -> str:
    """The last line of an error, without its prefix."""
    errors = [line.removeprefix(_ERROR) for line in printed.splitlines() if line.startswith(_ERROR)]
    return errors[-1] if errors else ""


def _check_lock(study: str, storage: str, pid: int) -> None:
    """The study's lock must name the process as well: the lock is written by the process itself."""
    text = ""
    with suppress(OSError, UnicodeDecodeError):
        text = (study_folder(study, storage) / "lock").read_text(encoding="ascii")
    if text.strip() != str(pid):
        raise StudyError(f"study: process {pid} does not hold the lock of {study!r}; stop it yourself")


def _interrupt(owner: Mapping[str, Any]) -> None:
    """SIGTERM to the very process described, or to none: the number may have come to mean another.

    A search takes it as it takes Ctrl-C. SIGINT would be ignored by one begun from a server that a script put
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
