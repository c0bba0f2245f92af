"""Results that a storage refused, kept in files beside it until the search is resumed."""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import suppress
from pathlib import Path

SQLITE = "sqlite:///"


def sqlite_path(storage: str) -> Path | None:
    """File of an SQLite URL; None for other storages."""
    return Path(storage.removeprefix(SQLITE)) if storage.startswith(SQLITE) else None


def _keep_pattern(storage: str, study: str) -> str:
    """File name of kept results: two studies of one name in different storages must not mix."""
    path = sqlite_path(storage)
    where = str(path.resolve()) if path is not None else storage
    return f"sizer-{study}-{hashlib.sha256(where.encode()).hexdigest()[:12]}-trial-{{}}.json"


def _keep_places(storage: str) -> tuple[Path, ...]:
    path = sqlite_path(storage)
    beside = (path.parent,) if path is not None else ()
    return (*beside, Path(tempfile.gettempdir()))


def keep_beside(storage: str, study: str, number: str, text: str) -> str:
    """Write a record where there is still room: beside the storage, else in the system's temporary folder."""
    for folder in _keep_places(storage):
        target = folder / _keep_pattern(storage, study).format(number)
        try:
            target.write_text(text, encoding="utf-8")
        except OSError:
            with suppress(OSError):
                target.unlink(missing_ok=True)
            continue
        return str(target)
    return f"this text (no disk had room for it): {text}"


def kept_files(storage: str, study: str) -> list[Path]:
    pattern = _keep_pattern(storage, study).format("*")
    return sorted(p for folder in _keep_places(storage) for p in folder.glob(pattern))
