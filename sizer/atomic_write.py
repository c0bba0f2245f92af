"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def atomic_write(path: Path, *, make_folder: bool = True, durable: bool = False) -> Iterator[IO[bytes]]:
    """Yield a binary file that replaces `path` when the block ends; after an error `path` is as before.

    The folder is created unless `make_folder` is false. Two processes may write at once: a reader sees the
    whole file of one of them. A `durable` file is on the disk before it replaces another: without that it may
    be empty after a power cut. Raises OSError where the file cannot be written.
    """
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # mkstemp's own 0600 would keep colleagues from reading a shared file
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all, as `atomic_write` does; OSError where it cannot."""
    with atomic_write(path) as file:
        file.write(text.encode())


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder that replaces `folder` when the block ends; after an error `folder` is as before.

    Raises OSError where a folder cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
    try:
        made.chmod(0o755)
        yield made
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
