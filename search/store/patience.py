"""Patience with a storage that does not answer: a database server that restarts, a file that is locked."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from search.store.fallback_files import sqlite_path
from search.store.storage import StorageUnavailable

# Seconds that one access is tried again. A server needs minutes to restart; a file is locked for moments.
SERVER_S, FILE_S = 300.0, 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0

_T = TypeVar("_T")
_log = logging.getLogger("sizer")


def patiently(action: Callable[[], _T], storage: str) -> _T:
    """Return what the action returns, tried again while the storage does not answer.

    The action must be one that may be done twice: an answer can be lost after the server has written. Raises
    StorageUnavailable after SERVER_S, or FILE_S for an SQLite file.
    """
    began, pause = time.monotonic(), _FIRST_PAUSE_S
    limit = SERVER_S if sqlite_path(storage) is None else FILE_S
    while True:
        try:
            return action()
        except StorageUnavailable as error:
            left = limit - (time.monotonic() - began)
            if left <= 0:
                raise
            if pause == _FIRST_PAUSE_S:
                _log.warning("notice: %s; trying again for up to %g s", error.reason, limit)
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE_S)
