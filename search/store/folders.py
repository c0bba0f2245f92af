"""Where a study keeps its files: a folder of its name beside the storage."""

from __future__ import annotations

from pathlib import Path, PurePath

from search.store.kept import sqlite_path
from sizer.errors import StudyError

# The explorer, and the searches it starts, are other processes: the storage's address reaches them by this.
STORAGE_VARIABLE = "SIZER_STORAGE"


def runs_folder(storage: str) -> Path:
    """Folder that holds the studies' folders: that of an SQLite file, else the working directory's runs/."""
    path = sqlite_path(storage)
    return path.parent if path is not None else Path("runs")


def study_folder(study: str, storage: str) -> Path:
    """Folder of a study's files; StudyError for a name that leads out of the storage's folder."""
    name = PurePath(study)
    if not name.parts or name.is_absolute() or ".." in name.parts or "\0" in study:
        raise StudyError(
            f"study: {study!r} cannot be the name of a folder in {str(runs_folder(storage))!r}; accepted: a "
            "name that is no path, such as search-1"
        )
    return runs_folder(storage) / name
