"""Paths that a page may open: those in the directory that the explorer was started in.

Anyone who can reach the explorer can type into it, or follow a link that does. The command line takes any
path.
"""

from __future__ import annotations

from pathlib import Path

from search.store.fallback_files import SQLITE, sqlite_path
from sizer.errors import StudyError

# Characters that the check and SQLAlchemy would read differently: options after the path, percent-encoded
# bytes, a placeholder for Optuna's version.
_NOT_PLAIN = "?%{}"
_LONGEST_SHOWN = 200


def inside(typed: str, folder: Path, *, is_there: bool = False) -> Path | None:
    """Return the path with links and dots resolved if it is in the folder, else None."""
    try:
        path = (folder / typed).resolve(strict=is_there)
        return path if path.is_relative_to(folder.resolve()) else None
    except (OSError, ValueError, RuntimeError):  # ValueError: a null byte; RuntimeError: links in a circle
        return None


def storage_to_open(typed: str, *, own: str, folder: Path) -> str:
    """Return the storage to open for a typed or linked address; StudyError if it must not be opened.

    `own` is the storage that the explorer was started with, anywhere; an empty text means it. Any other must
    be an SQLite file in the folder and is returned by its path there with links and dots resolved, so that
    the path that is opened is the path that was checked. Nothing is opened or created here.
    """
    if typed in ("", own):
        return own
    path = sqlite_path(typed)
    found = inside(str(path), folder) if path is not None else None
    name = found.relative_to(folder.resolve()).as_posix() if found is not None else ""
    if name in ("", ".") or not name.isprintable() or any(c in name for c in _NOT_PLAIN):
        raise StudyError(
            f"storage: {typed[:_LONGEST_SHOWN]!r} is not opened from a page; accepted: an SQLite file in the "
            f"directory that the explorer was started in, such as {SQLITE}runs/sizer.db, or the storage that "
            "it was started with (`sizer app --storage`)"
        )
    return f"{SQLITE}{name}"
