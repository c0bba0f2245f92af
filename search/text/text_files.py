"""Read the files of a corpus: plain text, a field of JSONL rows, gzip-compressed or not, or Parquet.

No file is trusted: its name decides how it is read, and every loop ends at a limit on decompressed bytes.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import IO, cast

from search.text.text_tables import read_parquet
from search.text.texts import ROW_COST_BYTES, Texts

MAX_LINE_BYTES = 16_000_000  # of a JSONL row; a longer one is broken

_START_BYTES = 8192

# Tests are excluded: distributions package them separately, so with them the same Python would give two
# corpora, and they repeat the sources they test. Configuration of one build is excluded for the same reason.
_BUILTIN_SKIPPED = {
    "site-packages",
    "dist-packages",
    "__pycache__",
    "test",
    "tests",
    "idle_test",
    "ensurepip",
}
_BUILTIN_SKIPPED_FILES = ("_sysconfigdata", "sitecustomize", "usercustomize")
_BUILTIN_ENDINGS = (".py", ".txt", ".rst")

_GZIP = ".gz"
_JSON_LINES = (".jsonl", ".ndjson")
_PARQUET = (".parquet", ".pq")


def file_names(root: Path) -> list[str]:
    """List the regular files below a directory by relative name; links that lead out of it are left out."""
    found, inside = [], root.resolve()
    for folder, _, files in os.walk(root, followlinks=False):
        for file in files:
            path = Path(folder, file)
            if path.is_file() and (not path.is_symlink() or path.resolve().is_relative_to(inside)):
                found.append(path.relative_to(root).as_posix())
    return found


def builtin_names(root: Path) -> list[str]:
    """List the sources and texts of Python's library by relative name."""
    found = []
    for folder, folders, files in os.walk(root, followlinks=False):
        folders[:] = [f for f in folders if f not in _BUILTIN_SKIPPED and not f.startswith("config-")]
        for file in files:
            path = Path(folder, file)
            if (
                file.endswith(_BUILTIN_ENDINGS)
                and not file.startswith(_BUILTIN_SKIPPED_FILES)
                and path.is_file()
            ):
                found.append(path.relative_to(root).as_posix())
    return found


def holds_rows(name: str) -> bool:
    """Return whether a file of that name can have rows with fields; a .json file may also be text."""
    return _kind(name) in (*_JSON_LINES, ".json", *_PARQUET)


def read_files(root: Path, names: Iterable[str], field: str) -> Texts:
    """Read texts below the root in an order that depends on their names but is not alphabetical.

    The order decides what a corpus above the limit keeps: a fixed sample rather than the letters A to F.
    SizerError where Parquet needs a package that is not installed.
    """
    texts = Texts()
    for name in sorted(names, key=lambda n: sha256(os.fsencode(n)).digest()):
        if texts.full:
            texts.num_beyond_limit += 1
            continue
        if _kind(name) in _PARQUET:
            read_parquet(root / name, name, field, texts)
            continue
        before = len(texts.contents)
        try:
            _read(root / name, name, field, texts)
        except (OSError, EOFError, zlib.error):
            if len(texts.contents) == before:
                texts.num_unreadable += 1
            else:
                texts.num_broken_rows += 1  # a compressed file that ends early: the rows before are good
    return texts


def _kind(name: str) -> str:
    """Return the ending that decides how a file is read, without that of its compression."""
    return PurePosixPath(name.lower().removesuffix(_GZIP)).suffix


def _read(path: Path, name: str, field: str, texts: Texts) -> None:
    kind = _kind(name)
    if kind in _JSON_LINES or (kind == ".json" and _starts_with_row(path, field)):
        texts.num_row_files += 1
        with _opened(path) as file:
            _read_rows(file, name, field, texts)
    else:
        with _opened(path) as file:
            start = file.read(min(_START_BYTES, texts.room + 1))
            if b"\0" in start:  # a film or a disk image: not worth reading
                texts.num_binary += 1
                return
            content = start + file.read(texts.room + 1 - len(start))
        if name.lower().endswith(_GZIP):
            texts.unread -= len(content)
        texts.add_file(name, content)


def _opened(path: Path) -> IO[bytes]:
    if path.name.lower().endswith(_GZIP):
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")


def _starts_with_row(path: Path, field: str) -> bool:
    """Return whether the first line is a row: many data sets name JSONL plain .json; other JSON is text."""
    with _opened(path) as file:
        row = _parsed(file.readline(MAX_LINE_BYTES))
    return isinstance(row, dict) and field in row


def _read_rows(file: IO[bytes], name: str, field: str, texts: Texts) -> None:
    number = 0
    while not texts.full:
        line = file.readline(MAX_LINE_BYTES)
        if not line:
            break
        number += 1
        texts.unread -= len(line)
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            texts.num_broken_rows += 1
            _skip_line(file, texts)
        elif line.isspace():
            texts.unread -= ROW_COST_BYTES
        else:
            row = _parsed(line)
            if isinstance(row, dict) and field not in row:
                texts.lacks_field(row)
            texts.add_row(f"{name}:{number:09d}", row.get(field) if isinstance(row, dict) else None)


def _skip_line(file: IO[bytes], texts: Texts) -> None:
    while texts.unread > 0:
        rest = file.readline(MAX_LINE_BYTES)
        texts.unread -= len(rest)
        if not rest or rest.endswith(b"\n"):
            break


def _parsed(line: bytes) -> object:
    """Return the JSON value of a line; None if it cannot be parsed."""
    try:
        value: object = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):  # not UTF-8, not JSON, an unlimited number or nesting
        return None
    return value
