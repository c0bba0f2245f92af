"""A corpus in one file: its tokens, for machines that have neither its texts nor its tokenizer."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import numpy
import torch

from search.config.config import Tokenizer
from search.text.corpus import Corpus
from sizer.atomic_write import atomic_write
from sizer.errors import InvalidFile
from sizer.readers.regular_file import open_regular

_META = "meta.json"
_MOST_BYTES = 2**31  # twice what a corpus can have: 256 MB of text as tokens of up to 4 bytes
_TENSORS = ("train", "validation", "token_bytes")


def write_corpus(corpus: Corpus, folder: Path) -> tuple[Path, str]:
    """Write a corpus into a folder; return the file and the sha256 of its content. OSError if it cannot."""
    meta = {
        "name": corpus.name,
        "digest": corpus.digest,
        "num_files": corpus.num_files,
        "num_skipped": corpus.num_skipped,
        "notes": corpus.notes,
        "tokenizer": corpus.tokenizer.value,
        "tokenizer_json": corpus.tokenizer_json,
    }
    arrays = {name: getattr(corpus, name).numpy() for name in _TENSORS}
    arrays[_META] = numpy.frombuffer(json.dumps(meta).encode(), dtype=numpy.uint8)
    path = folder / f"{corpus.digest}.npz"
    with atomic_write(path, durable=True) as file:
        numpy.savez(file, allow_pickle=False, **arrays)
    with path.open("rb") as written:
        return path, _digest(written.read())


def read_corpus(path: Path, digest: str) -> Corpus:
    """Read a corpus that `write_corpus` wrote; InvalidFile where its content has another sha256."""
    with open_regular(path, "the corpus of a study", "corpus") as (stream, size):
        if size > _MOST_BYTES:
            raise InvalidFile(f"corpus: {str(path)!r} has {size:,} bytes; accepted: a corpus of a study")
        content = stream.read(size)
    if _digest(content) != digest:
        raise InvalidFile(f"corpus: {str(path)!r} is not the study's: its sha256 is another")
    with path.open("rb") as file, numpy.load(file, allow_pickle=False) as stored:
        tensors = {name: torch.from_numpy(stored[name]) for name in _TENSORS}
        meta = json.loads(stored[_META].tobytes())
    return Corpus(
        name=meta["name"],
        digest=meta["digest"],
        num_files=meta["num_files"],
        num_skipped=meta["num_skipped"],
        notes=tuple(meta["notes"]),
        tokenizer=Tokenizer(meta["tokenizer"]),
        tokenizer_json=meta["tokenizer_json"],
        **tensors,
    )


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()
