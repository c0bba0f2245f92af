"""Opening a file somebody else made: only regular files, never waiting for one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sizer.errors import InvalidFile

_BUFFER_BYTES = 2**18


@contextmanager
def open_regular(path: Path, accepted: str, field: str = "model") -> Iterator[tuple[BinaryIO, int]]:
    """Open a file and return it with its size in bytes; InvalidFile for a pipe, a device or a directory."""
    stream = _opened(path, accepted, field)
    with stream:
        try:
            yield stream, os.fstat(stream.fileno()).st_size
        except OSError as error:
            raise _refused(path, accepted, field, error.strerror or "input/output error") from None


def exists(path: Path) -> bool:
    """Return whether anything is at that path; False for a path that no file can have."""
    try:
        return path.exists()
    except OSError:
        return False


def is_directory(path: Path) -> bool:
    """Return whether the path is a directory; False if that cannot be known."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _opened(path: Path, accepted: str, field: str) -> BinaryIO:
    try:
        # looked at before it is opened: opening a pipe waits for a writer, opening a device may do anything
        if reason := _irregular(path.stat().st_mode):
            raise _refused(path, accepted, field, reason)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
        if reason := _irregular(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise _refused(path, accepted, field, reason)
        return os.fdopen(descriptor, "rb", buffering=_BUFFER_BYTES)
    except OSError as error:
        raise _refused(path, accepted, field, error.strerror or "input/output error") from None
    except ValueError as error:
        if isinstance(error, InvalidFile):
            raise
        raise _refused(path, accepted, field, "no file can have that name") from None


def _irregular(mode: int) -> str | None:
    if stat.S_ISDIR(mode):
        return "it is a directory"
    return None if stat.S_ISREG(mode) else "it is a pipe, a socket or a device"


def _refused(path: Path, accepted: str, field: str, reason: str) -> InvalidFile:
    return InvalidFile(f"{field}: cannot read {str(path)!r}: {reason}; accepted: {accepted}")
