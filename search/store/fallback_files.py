"""Results that a storage refused, kept in files of the user until the search is resumed."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from sizer.errors import InvalidFile

SQLITE = "sqlite:///"
_MOST_BYTES = 16 * 2**20
_log = logging.getLogger("sizer")


def sqlite_path(storage: str) -> Path | None:
    """Return the file of an SQLite URL; None for other storages."""
    return Path(storage.removeprefix(SQLITE)) if storage.startswith(SQLITE) else None


def without_password(storage: str) -> str:
    """Return a storage's address as it may be shown, without the password of a server's user."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", storage)


def _keep_pattern(storage: str, study: str) -> str:
    """Return the file name of saved results: studies of one name in different storages must not mix."""
    path = sqlite_path(storage)
    where = str(path.resolve()) if path is not None else storage
    return f"sizer-{study}-{hashlib.sha256(where.encode()).hexdigest()[:12]}-trial-{{}}.json"


def state_folder() -> Path:
    """Return the user's own folder for what programs keep (XDG Base Directory Specification)."""
    given = os.environ.get("XDG_STATE_HOME")
    return (Path(given) if given else Path.home() / ".local" / "state") / "sizer"


def _keep_places(storage: str) -> tuple[Path, ...]:
    path = sqlite_path(storage)
    return (path.parent if path is not None else Path("runs"), state_folder())


def save_fallback(storage: str, study: str, number: str, text: str) -> str:
    """Write a record where there is still room: next to the storage, else in the user's state folder."""
    for folder in _keep_places(storage):
        target = folder / _keep_pattern(storage, study).format(number)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        except OSError:
            with suppress(OSError):
                target.unlink(missing_ok=True)
            continue
        return str(target)
    return f"this text (no disk had room for it): {text}"


def fallback_files(storage: str, study: str) -> list[Path]:
    """Return the files of results that the storage refused."""
    pattern = _keep_pattern(storage, study).format("*")
    return sorted(p for folder in _keep_places(storage) for p in folder.glob(pattern))


def read_fallback(path: Path) -> str:
    """Read a saved result; InvalidFile unless it is a regular file of this user, no link, of bounded size."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode) or (hasattr(os, "geteuid") and about.st_uid != os.geteuid()):
                raise InvalidFile("it is not a regular file of this user")
            if about.st_size > _MOST_BYTES:
                raise InvalidFile(f"it has {about.st_size:,} bytes")
            return file.read(_MOST_BYTES).decode("utf-8")
    except OSError as error:  # O_NOFOLLOW refuses a link
        raise InvalidFile(error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise InvalidFile("it is not text") from None


def set_aside(path: Path, reason: str) -> None:
    """Rename a saved result that cannot be used, and print a warning that names it and the reason."""
    renamed = path.with_name(f"{path.name}.unreadable")
    with suppress(OSError):
        path.rename(renamed)
    _log.warning("notice: saved result %s is not used (%s); it is now %s", path, reason[:200], renamed.name)
