"""Bytes of a GGUF file around its tensor data: tensor directory, alignment, metadata, tokenizer."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path

from sizer.formats.stored import FileBytes, StoredTensor, TokenizerBytes
from sizer.tensors import Role, TensorSpec

# GGUF specification (ggml docs/gguf.md): magic 4, version 4, tensor count 8, metadata count 8; ALIGNMENT is
# the default of general.alignment.
FIXED_HEADER_BYTES = 24
ALIGNMENT = 32

_TOKENIZERS = Path(__file__).parent.parent / "data" / "tokenizers.toml"


def gguf_name(spec: TensorSpec) -> str:
    """Name of a tensor inside a GGUF file, such as "blk.3.attn_q.weight"."""
    return _name(spec.role, spec.layer, spec.is_bias)


def _name(role: Role, layer: int | None, is_bias: bool) -> str:
    prefix = "" if layer is None else f"blk.{layer}."
    known = Role.UP if role is Role.GATE_UP else role  # Phi-3's files call the two of them ffn_up
    return f"{prefix}{known.value}.{'bias' if is_bias else 'weight'}"


def gguf_shape(spec: TensorSpec) -> tuple[int, ...]:
    """Shape of a tensor in a GGUF file, rows first: filters of a convolution are rows of a matrix."""
    return (spec.shape[0], spec.shape[-1]) if spec.role is Role.CONV and not spec.is_bias else spec.shape


def directory_bytes(specs: Sequence[TensorSpec]) -> int:
    """Bytes of the tensor directory: name, number of dimensions, dimensions, type, offset of each."""
    return sum(_entry_bytes(s.role, s.layer, s.is_bias, len(s.shape)) for s in specs)


@lru_cache(maxsize=65_536)
def _entry_bytes(role: Role, layer: int | None, is_bias: bool, dimensions: int) -> int:
    if role is Role.CONV and not is_bias:
        dimensions = 2
    return 8 + len(_name(role, layer, is_bias)) + 4 + 8 * dimensions + 4 + 8


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
