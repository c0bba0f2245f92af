"""Bytes of a GGUF file around its tensor data: tensor directory, alignment, metadata, tokenizer."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sizer.formats.llamacpp import StoredTensor
from sizer.tensors import TensorSpec

# GGUF specification (ggml docs/gguf.md): magic 4, version 4, tensor count 8, metadata count 8; ALIGNMENT is
# the default of general.alignment.
FIXED_HEADER_BYTES = 24
ALIGNMENT = 32

_TOKENIZERS = Path(__file__).parent.parent / "data" / "tokenizers.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerBytes:
    """Bytes of a file's metadata and tokenizer: the expected number and the range seen."""

    name: str
    value: int
    low: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBytes:
    """Bytes of a model file by part; parts sum to `total`."""

    tensor_bytes: int
    padding_bytes: int
    directory_bytes: int
    tokenizer: TokenizerBytes

    @property
    def total(self) -> int:
        """Bytes of the whole file."""
        return self.tensor_bytes + self.padding_bytes + self.directory_bytes + self.tokenizer.value


def gguf_name(spec: TensorSpec) -> str:
    """Name of a tensor inside a GGUF file, such as "blk.3.attn_q.weight"."""
    suffix = "bias" if spec.is_bias else "weight"
    prefix = "" if spec.layer is None else f"blk.{spec.layer}."
    return f"{prefix}{spec.role.value}.{suffix}"


def directory_bytes(specs: Sequence[TensorSpec]) -> int:
    """Bytes of the tensor directory: name, number of dimensions, dimensions, type, offset of each."""
    return sum(8 + len(gguf_name(s)) + 4 + 8 * len(s.shape) + 4 + 8 for s in specs)


@cache
def known_tokenizers() -> tuple[tuple[int, TokenizerBytes], ...]:
    """Vocabulary size and bytes of every tokenizer on file; of two with one size, the first counts."""
    rows = tomllib.loads(_TOKENIZERS.read_text(encoding="utf-8"))["tokenizer"]
    return tuple(
        (
            row["vocab_size"],
            TokenizerBytes(
                name=row["name"], value=row["bytes"], low=row["low_bytes"], high=row["high_bytes"]
            ),
        )
        for row in rows
    )


@cache
def tokenizer_bytes_per_row() -> tuple[float, float, float]:
    """Bytes per row of the vocabulary over the known tokenizers: least, median, most."""
    per_row = sorted(known.value / size for size, known in known_tokenizers())
    return per_row[0], per_row[len(per_row) // 2], per_row[-1]


def tokenizer_bytes(vocab_size: int) -> TokenizerBytes:
    """Bytes of metadata and tokenizer for a vocabulary of that many rows.

    A known vocabulary size takes that tokenizer's own bytes; any other the median and the extremes of bytes
    per row over the known ones, in proportion.
    """
    for size, known in known_tokenizers():
        if size == vocab_size:
            return known
    least, median, most = tokenizer_bytes_per_row()
    return TokenizerBytes(
        name="unknown tokenizer",
        value=round(median * vocab_size),
        low=round(least * vocab_size),
        high=round(most * vocab_size),
    )


def file_bytes(vocab_size: int, stored: Sequence[StoredTensor]) -> FileBytes:
    """Bytes of the GGUF file that holds these tensors and a tokenizer of that many entries."""
    sizes = [tensor.num_bytes for tensor in stored]
    return FileBytes(
        tensor_bytes=sum(sizes),
        padding_bytes=sum(-size % ALIGNMENT for size in sizes),
        directory_bytes=FIXED_HEADER_BYTES + directory_bytes([tensor.spec for tensor in stored]),
        tokenizer=tokenizer_bytes(vocab_size),
    )
