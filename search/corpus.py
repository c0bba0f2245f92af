"""Text as bytes: where it comes from, how it is split by file, and the windows training and scoring read.

One token is one byte, so bits per token and bits per byte are the same and no tokenizer is needed.
"""

from __future__ import annotations

import importlib
import os
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from sizer.errors import InvalidFile, SizerError

BUILTIN = "builtin"
HUGGING_FACE_PREFIX = "hf:"
VOCAB_SIZE = 256

MAX_CORPUS_BYTES = 256_000_000
MIN_VALIDATION_BYTES = 1_024  # a few windows; less would make the score's standard error meaningless
VALIDATION_SHARE = 20  # one file (or one byte of a split file) in this many

_ACCEPTED = "'builtin', a UTF-8 text file, a directory of them, or hf:NAME"

# Tests are left out: distributions ship them apart, so with them the same Python would give two corpora, and
# they repeat the sources they test. Configuration of this one build is left out for the same reason.
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

# A corpus of few files is cut instead into this many pieces, of which these become validation: 5 %, spread
# over the text, because its end is seldom like its beginning.
_PIECES = 80
_VALIDATION_PIECES = (10, 30, 50, 70)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Corpus:
    """Training and validation text, uint8 `[bytes]` each; no byte of the text is in both."""

    name: str
    train: Tensor
    validation: Tensor
    digest: str  # sha256 over the sorted (relative name, sha256 of content) of every file used
    num_files: int
    num_skipped: int  # binary or unreadable files, and files beyond MAX_CORPUS_BYTES
    notes: tuple[str, ...]  # what was left out and how the split was made, for the record

    def val_chunks(self, num_chunks: int, seq_len: int) -> Tensor:
        """Evenly spaced validation windows that do not overlap, int64 `[chunks, seq + 1]`; always the same.

        Fewer than asked for where the text holds no more, since overlapping windows would be counted twice
        in the standard error.
        """
        width = seq_len + 1
        available = len(self.validation) // width
        if available < 1:
            raise _error(
                self.name, f"its {len(self.validation)} validation bytes hold no window of {width} bytes"
            )
        count = min(num_chunks, available)
        starts = torch.arange(count) * (len(self.validation) - width) // max(1, count - 1)
        return self.validation[starts[:, None] + torch.arange(width)].long()

    def train_batches(self, seed: int, batch_size: int, seq_len: int) -> TrainBatches:
        """Windows at random places of the training text; the same for a seed, whatever trains on them."""
        if len(self.train) - seq_len < 1:
            raise _error(self.name, f"its {len(self.train)} training bytes hold no window of {seq_len + 1}")
        return TrainBatches(self.train, seed, batch_size, seq_len)


class TrainBatches:
    """Training windows by step number, so that a run can go on from any step."""

    _DRAWN = 256  # steps whose places are drawn at a time

    def __init__(self, text: Tensor, seed: int, batch_size: int, seq_len: int) -> None:
        self._text, self._seed, self._batch_size = text, seed, batch_size
        self._places = len(text) - seq_len
        self._offsets = torch.arange(seq_len + 1)
        self._block, self._starts = -1, torch.zeros(0)

    def at(self, step: int) -> Tensor:
        """The windows of a step (from 1), int64 `[batch, seq + 1]`."""
        block, row = divmod(step - 1, self._DRAWN)
        if block != self._block:
            generator = torch.Generator().manual_seed(self._seed * 1_000_003 + block)
            shape = (self._DRAWN, self._batch_size, 1)
            self._block, self._starts = block, torch.randint(self._places, shape, generator=generator)
        return self._text[self._starts[row] + self._offsets].long()


def load_corpus(source: str) -> Corpus:
    """The corpus a source names: `builtin` (this Python's library), a text file, a directory or hf:NAME."""
    if source == BUILTIN:
        root = Path(sysconfig.get_paths()["stdlib"])
        return _assemble(source, _read_files(source, root, _builtin_names(root)))
    if source.startswith(HUGGING_FACE_PREFIX):
        return _assemble(source, _hugging_face_rows(source))
    if not source:
        raise _error(source, "it is empty")
    path = Path(source)
    try:
        if path.is_dir():
            return _assemble(path.name, _read_files(source, path, _names(path)))
        if not path.is_file():
            reason = "it is not a regular file" if path.exists() else "it does not exist"
            raise _error(source, reason)
        return _assemble(path.name, _read_files(source, path.parent, [path.name]))
    except OSError as error:  # is_dir and is_file raise for names that are too long or may not be looked at
        raise _error(source, error.strerror or str(error)) from None
    except ValueError as error:
        if isinstance(error, SizerError):
            raise
        raise _error(source, str(error)) from None  # a null byte in the name


@dataclass(slots=True)
class _Files:
    """What reading found: contents by relative name, and what was passed over."""

    contents: dict[str, bytes]
    num_binary: int = 0
    num_unreadable: int = 0
    num_beyond_limit: int = 0
    truncated: bool = False


def _error(source: str, reason: str) -> InvalidFile:
    return InvalidFile(f"corpus: {source!r}: {reason}; accepted: {_ACCEPTED}")


def _names(root: Path) -> list[str]:
    """Regular files below a directory, by relative name; links to directories are not followed."""
    found = []
    for folder, _, files in os.walk(root, followlinks=False):
        for file in files:
            path = Path(folder, file)
            if path.is_file():
                found.append(path.relative_to(root).as_posix())
    return found


def _builtin_names(root: Path) -> list[str]:
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


def _read_files(source: str, root: Path, names: Iterable[str]) -> _Files:
    """Text files below the root, in an order that depends on their names alone and is not alphabetical.

    The order decides what a corpus above the limit keeps: a fixed sample rather than the letters A to F.
    """
    files = _Files({})
    room = MAX_CORPUS_BYTES
    for name in sorted(names, key=lambda n: sha256(os.fsencode(n)).digest()):
        if room <= 0:
            files.num_beyond_limit += 1
            continue
        try:
            with (root / name).open("rb") as file:
                content = file.read(room + 1)
        except OSError:
            files.num_unreadable += 1
            continue
        if len(content) > room:
            content = content[:room].decode("utf-8", errors="ignore").encode()
            files.truncated = True
        if not _is_text(content):
            files.num_binary += 1
            continue
        room -= len(content)
        files.contents[name] = content
    if not files.contents:
        raise _error(source, _why_nothing(files))
    return files


def _is_text(content: bytes) -> bool:
    if b"\0" in content:
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _why_nothing(files: _Files) -> str:
    if files.num_binary or files.num_unreadable:
        return f"no text in it ({files.num_binary} binary and {files.num_unreadable} unreadable files)"
    return "there is no file in it"


def _hugging_face_rows(source: str) -> _Files:
    """The `text` column of a data set's training split, a row per file, up to the limit."""
    name = source.removeprefix(HUGGING_FACE_PREFIX)
    try:
        datasets = importlib.import_module("datasets")
    except ImportError:
        raise SizerError(
            f"corpus: {source!r} needs the package datasets (extra `datasets`), which is not installed; "
            "accepted without it: 'builtin', a UTF-8 text file, a directory of them"
        ) from None
    files = _Files({})
    room = MAX_CORPUS_BYTES
    try:
        for number, row in enumerate(datasets.load_dataset(name, split="train", streaming=True)):
            content = str(row["text"]).encode()
            if len(content) > room:
                files.truncated = True
                break
            room -= len(content)
            files.contents[f"{number:09d}"] = content
    except KeyError:
        raise _error(source, "its rows have no column 'text'") from None
    except (OSError, ValueError, RuntimeError) as error:
        raise _error(source, str(error).splitlines()[0] if str(error) else type(error).__name__) from None
    if not files.contents:
        raise _error(source, "it has no rows")
    return files


def _assemble(name: str, files: _Files) -> Corpus:
    hashes = {file: sha256(content).hexdigest() for file, content in files.contents.items()}
    digest = sha256()
    for file, content_hash in sorted(hashes.items()):
        digest.update(f"{file}\0{content_hash}\n".encode("utf-8", errors="surrogateescape"))
    train, validation, how = _split(files.contents, hashes)
    if len(validation) < MIN_VALIDATION_BYTES:
        total = len(train) + len(validation)
        least = MIN_VALIDATION_BYTES * VALIDATION_SHARE
        raise _error(name, f"its {total} bytes of text are too few, at least {least} are needed")
    return Corpus(
        name=name,
        train=torch.frombuffer(train, dtype=torch.uint8),
        validation=torch.frombuffer(validation, dtype=torch.uint8),
        digest=digest.hexdigest(),
        num_files=len(files.contents),
        num_skipped=files.num_binary + files.num_unreadable + files.num_beyond_limit,
        notes=(how, *_omissions(files)),
    )


def _omissions(files: _Files) -> Iterator[str]:
    if files.num_binary:
        yield f"{files.num_binary} files that are not UTF-8 text were skipped"
    if files.num_unreadable:
        yield f"{files.num_unreadable} unreadable files were skipped"
    if files.truncated or files.num_beyond_limit:
        yield (
            f"reading stopped at {MAX_CORPUS_BYTES // 1_000_000} MB; "
            f"{files.num_beyond_limit} further files were not read"
        )


def _split(contents: dict[str, bytes], hashes: dict[str, str]) -> tuple[bytearray, bytearray, str]:
    """Training and validation text and how they were told apart.

    By content hash, so that a file stays on its side whatever else is added, renamed or listed first, and
    copies of one file are never on both. A copy is kept once.
    """
    by_hash = {hashes[file]: content for file, content in contents.items()}
    train, validation = bytearray(), bytearray()
    for content_hash in sorted(by_hash):
        chosen = int(content_hash[:8], 16) % VALIDATION_SHARE == 0
        (validation if chosen else train).extend(by_hash[content_hash])
    total = len(train) + len(validation)
    if total // (VALIDATION_SHARE * 4) <= len(validation) <= total // 4:
        return train, validation, "split by file: about one in 20, chosen by content hash, is validation"
    # Too few files (or one too large) for a share near 5 %.
    text = b"".join(by_hash[content_hash] for content_hash in sorted(by_hash))
    train, validation = bytearray(), bytearray()
    for piece in range(_PIECES):
        side = validation if piece in _VALIDATION_PIECES else train
        side.extend(text[total * piece // _PIECES : total * (piece + 1) // _PIECES])
    return train, validation, "too few files to split by file: 4 of 80 equal pieces are validation"
