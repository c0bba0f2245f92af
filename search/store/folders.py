"""Where a study keeps its files: a folder of its name next to the storage."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from search.store.fallback_files import sqlite_path
from sizer.errors import StudyError

# The explorer, and the searches it starts, are other processes: the storage's address reaches them by this.
STORAGE_VARIABLE = "SIZER_STORAGE"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Folders and files next to those of the studies.
_TAKEN = ("corpora", "logs", "sizer.db")
# Names of devices on Windows, whatever follows a dot; a dot at the end is dropped there.
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?|.*\.", re.IGNORECASE)


def runs_folder(storage: str) -> Path:
    """Return the folder of studies' folders: the SQLite file's, else runs/ in the working directory."""
    path = sqlite_path(storage)
    return path.parent if path is not None else Path("runs")


def study_folder(study: str, storage: str) -> Path:
    """Return the folder of a study's files; StudyError for a name that leads out of the storage's folder."""
    name = PurePath(study)
    if not name.parts or name.is_absolute() or ".." in name.parts or "\0" in study:
        raise StudyError(
            f"study: {study!r} cannot be the name of a folder in {str(runs_folder(storage))!r}; accepted: a "
            "name that is no path, such as search-1"
        )
    return runs_folder(storage) / name


_KEPT = re.compile(r"(\d+)-(\d+)(\.npz)?")


def kept_weights(study: str, storage: str) -> dict[int, dict[int, Path]]:
    """Return the weights that a study kept: trial, seed (0 for the study's own), path.

    A path is a folder, or the checkpoint of an earlier version's search.
    """
    found: dict[int, dict[int, Path]] = {}
    folder = study_folder(study, storage) / "finalists"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = _KEPT.fullmatch(path.name)
        if name and path.is_dir() != bool(name[3]):
            found.setdefault(int(name[1]), {})[int(name[2])] = path
    return {number: dict(sorted(seeds.items())) for number, seeds in sorted(found.items())}


def check_new_name(name: str, storage: str | None = None) -> None:
    """Raise StudyError for a name that no folder next to the storage could have, on any system."""
    if not _NAME.fullmatch(name) or name.lower() in _TAKEN or _DEVICE.fullmatch(name):
        raise StudyError(
            f"study: {name[:80]!r} cannot be a name; accepted: up to 64 letters, digits, dots, dashes and "
            f"underscores, beginning with a letter or digit, not ending with a dot, and not "
            f"{', '.join(_TAKEN)} or a device of Windows (con, nul, com1)"
        )
    database = None if storage is None else sqlite_path(storage)
    if database is not None and f"{name}-".startswith(f"{database.name}-"):
        raise StudyError(
            f"study: {name!r} cannot be a name: files of the storage {database.name!r} are called so; "
            "accepted: a name that does not begin like them"
        )
