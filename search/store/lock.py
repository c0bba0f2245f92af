"""One process at a time runs a study: two would train the same candidates."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sizer.errors import StudyError


@contextmanager
def study_lock(folder: Path, study: str) -> Iterator[None]:
    """Hold a study's lock; StudyError names the process that has it. It falls away with its process."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise StudyError(
                f"study: {study!r} is being run by process {file.read().strip() or 'unknown'}; "
                "wait until it ends or stop it (Ctrl-C), then resume"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
