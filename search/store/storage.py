"""Opening Optuna's storage, and what its errors mean to a user."""

from __future__ import annotations

import os
import re
import sqlite3
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from search.store.fallback_files import SQLITE, sqlite_path, without_password
from search.store.folders import STORAGE_VARIABLE
from sizer.errors import StudyError

# A locked database is waited for this long in all before the run gives up and saves the result next to it.
_LOCK_WAIT_S = 5.0
_CREATIONS, _MADE_AT_ONCE = 4, re.compile("UNIQUE constraint failed|already exists")  # of a new storage
# SQLite's errors that pass; those of a full disk or a missing table do not.
_PASSING = re.compile("database is locked|database table is locked|busy")
# Of PostgreSQL (libpq's names): a machine that is gone answers nothing, and is waited for in vain.
_POSTGRESQL = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


class StorageUnavailable(StudyError):
    """The storage does not answer at present; the same access may succeed later."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason  # one line without what is accepted


def default_storage() -> str:
    """Return the URL in SIZER_STORAGE, else that of the SQLite file in runs/ of the working directory."""
    return os.environ.get(STORAGE_VARIABLE) or f"{SQLITE}runs/sizer.db"


def _reason(error: BaseException) -> str:
    """Return one short line that describes a storage error."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    original = getattr(cause, "orig", None) or cause
    return str(original).strip().splitlines()[0] if str(original).strip() else type(original).__name__


def _is_ready(path: Path) -> bool:
    """Return whether a database file has Optuna's tables: reading it while they are made would make them
    a second time, and fail the search that makes them; and opening another program's would add them to it."""
    try:
        if not path.is_file():
            return False
    except OSError:  # a name that is too long, or a folder that may not be looked into
        return False
    with closing(
        sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=_LOCK_WAIT_S)
    ) as file:
        try:
            return file.execute("SELECT 1 FROM alembic_version, version_info").fetchone() is not None
        except sqlite3.OperationalError as error:
            return "no such table" not in str(error)  # locked: there is something in it
        except sqlite3.DatabaseError:
            return True  # not a database: said when it is opened


def _is_passing(error: BaseException, storage: str) -> bool:
    """Return whether an access that failed may succeed later: no connection, or a locked file."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, DBAPIError):
            lost = cause.connection_invalidated or isinstance(cause, OperationalError | InterfaceError)
            return lost and (sqlite_path(storage) is None or bool(_PASSING.search(str(cause.orig))))
        cause = cause.__cause__
    return False


@contextmanager
def storage_errors(storage: str) -> Iterator[None]:
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        why = f"storage: {without_password(storage)!r} cannot be used: {_reason(error)}"
        text = (
            f"{why}; accepted: a writable SQLite file (sqlite:///runs/sizer.db) or another Optuna storage URL"
        )
        raise (StorageUnavailable(text, why) if _is_passing(error, storage) else StudyError(text)) from error
    except ImportError as error:
        shown = without_password(storage)
        raise StudyError(f"storage: {shown!r} needs a database driver that is not installed") from error


def study_names(opened: BaseStorage, storage: str) -> list[str]:
    """Return the names of a storage's studies; StudyError where one is damaged: Optuna reads all."""
    try:
        return optuna.get_all_study_names(opened)
    except (ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise StudyError(
            f"storage: {without_password(storage)!r} holds a damaged study: {reason}; accepted: a storage "
            "whose studies Optuna can read"
        ) from None


def _is_writable(path: Path) -> bool:
    return os.access(path, os.W_OK)


def engine_options(storage: str, *, read_only: bool = False) -> dict[str, Any]:
    """Return how connections to a storage are made, as keywords of sqlalchemy.create_engine."""
    if sqlite_path(storage) is not None:
        # No pool: an idle connection of one process must not hold the file against another.
        connect = {"timeout": _LOCK_WAIT_S, **({"uri": True} if read_only else {})}
        return {"connect_args": connect, "poolclass": NullPool}
    # a connection that a restart of the server has cut is replaced before it is used
    options: dict[str, Any] = {"pool_pre_ping": True}
    if storage.startswith("postgresql"):
        options["connect_args"] = dict(_POSTGRESQL)
    return options


def open_storage(storage: str, *, create: bool, write: bool) -> BaseStorage:
    """Open a storage; StudyError where it cannot be used, or `write` is asked for and it is read-only.

    `create` makes it where it is not there yet.
    """
    path, url, read_only = sqlite_path(storage), storage, False
    if path is not None:
        if not create and not _is_ready(path):
            raise StudyError(
                f"storage: there is no study file {str(path)!r} yet; `sizer search run` makes one"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StudyError(
                f"storage: cannot make the directory {str(path.parent)!r}: {error.strerror}; "
                "accepted: a directory you may write to"
            ) from None
        read_only = not _is_writable(path if path.exists() else path.parent)
        if read_only and write:
            raise StudyError(f"storage: {str(path)!r} is not writable; accepted: a file you may write to")
        if read_only:
            url = f"{SQLITE}{path.resolve().as_uri()}?mode=ro&uri=true"
    with storage_errors(storage), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        options = engine_options(storage, read_only=read_only)
        for _ in range(_CREATIONS - 1):
            try:
                return RDBStorage(url, engine_kwargs=options)
            except (IntegrityError, OperationalError) as error:
                # another process makes the same tables at this moment: in a second they are there
                if not _MADE_AT_ONCE.search(str(error)):
                    raise
                time.sleep(1.0)
        return RDBStorage(url, engine_kwargs=options)
