"""What a page may open of this machine: what lies in the directory that the explorer was started in.

Whoever can reach the explorer can type into it, or follow a link that does. The command line takes any path.
"""

from __future__ import annotations

from pathlib import Path

from search.store.kept import SQLITE, sqlite_path
from sizer.errors import StudyError

# What would mean something else to whoever opens the address than to who checks it: options behind the
# path, bytes in percent, a place for Optuna's version.
_NOT_PLAIN = "?%{}"
_LONGEST_SHOWN = 200


def inside(typed: str, folder: Path, *, is_there: bool = False) -> Path | None:
    """The path meant, links and dots followed, if it really lies in the folder and, where asked, exists."""
    try:
        path = (folder / typed).resolve(strict=is_there)
        return path if path.is_relative_to(folder.resolve()) else None
    except (OSError, ValueError, RuntimeError):  # ValueError: a null byte; RuntimeError: links in a circle
        return None


def storage_to_open(typed: str, *, own: str, folder: Path) -> str:
    """The address to open for one that somebody typed or a link holds; StudyError where it may not be.

    `own` is the storage of whoever started the explorer, wherever that is; an empty text means it. Any other
    is an SQLite file in the folder, and is returned as it is called there, without links and dots: what is
    opened is what was checked. Nothing is opened or made here.
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
