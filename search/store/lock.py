"""Locks of studies: one process at a time runs a study, two would train the same candidates."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from search.store.fallback_files import sqlite_path
from sizer.errors import StudyError

_HOLDER = "lock.pid"  # not the lock itself: whoever tries to take that one empties it


@contextmanager
def runner_lock(folder: Path, study: str, storage: str) -> Iterator[Callable[[], bool]]:
    """Hold a study wherever it may be run from; yields whether another process has taken it over since.

    Of an SQLite file the lock of the folder next to it is enough; of a server the folder is this one's alone.
    """
    with study_lock(folder, study):
        if sqlite_path(storage) is not None:
            yield lambda: False
            return
        from search.store.server_lease import server_lease  # who has no server need not load it

        with server_lease(storage, study) as is_lost:
            yield is_lost


@contextmanager
def study_lock(folder: Path, study: str) -> Iterator[None]:
    """Hold a study's lock; StudyError names the process that has it. It is released when its process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            (folder / _HOLDER).write_text(str(os.getpid()), encoding="ascii")
            yield
    except Timeout:
        raise StudyError(
            f"study: {study!r} is being run by process {lock_holder(folder) or 'unknown'}; "
            "wait until it ends or stop it (Ctrl-C), then resume"
        ) from None


def lock_holder(folder: Path) -> str:
    """Return the number of the process that last took a study's lock; empty if none is known."""
    with suppress(OSError, UnicodeDecodeError):
        return (folder / _HOLDER).read_text(encoding="ascii").strip()
    return ""
