"""Bytes of a GGUF file around its tensor data: tensor directory, alignment, metadata, tokenizer."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path

from sizer.formats.stored import HEADER_ALIGNMENT, FileBytes, StoredTensor, TokenizerBytes, stored_groups
from sizer.tensor_spec import Layers
from sizer.tensors import Role, TensorSpec

# GGUF specification (ggml docs/gguf.md): magic 4, version 4, tensor count 8, metadata count 8.
FIXED_HEADER_BYTES = 24
ALIGNMENT = HEADER_ALIGNMENT

# Tensors that are no layer's weight or bias in the files.
_WITHOUT_SUFFIX = (Role.SSM_A, Role.SSM_D, Role.ROUTER_SCALE, Role.EXPERT_SCALES)
_CONVOLUTIONS = (Role.CONV, Role.SSM_CONV)

_TOKENIZERS = Path(__file__).parent.parent / "data" / "tokenizers.toml"


def gguf_name(spec: TensorSpec) -> str:
    """Return the name of a tensor inside a GGUF file, such as "blk.3.attn_q.weight"."""
    return _name(spec.role, spec.layer, spec.is_bias)


def _name(role: Role, layer: int | None, is_bias: bool) -> str:
    prefix = "" if layer is None else f"blk.{layer}."
    if role in _WITHOUT_SUFFIX:
        return f"{prefix}{role.value}"
    known = Role.UP if role is Role.GATE_UP else role  # Phi-3's files call the two of them ffn_up
    return f"{prefix}{known.value}.{'bias' if is_bias else 'weight'}"


def gguf_shape(spec: TensorSpec) -> tuple[int, ...]:
    """Return shape of a tensor in a GGUF file, rows first: filters of a convolution are rows of a matrix."""
    return (spec.shape[0], spec.shape[-1]) if spec.role in _CONVOLUTIONS and not spec.is_bias else spec.shape


def directory_bytes(specs: Sequence[TensorSpec]) -> int:
    """Return bytes of the tensor directory: name, number of dimensions, dimensions, type, offset of each."""
    return sum(_entries_bytes(s.role, (s.layer,), s.is_bias, len(s.shape)) for s in specs)


@lru_cache(maxsize=65_536)
def _entries_bytes(role: Role, layers: Layers, is_bias: bool, dimensions: int) -> int:
    """Return bytes of the directory for a tensor of each of these layers."""
    if role in _CONVOLUTIONS and not is_bias:
        dimensions = 2
    names = sum(len(_name(role, layer, is_bias)) for layer in layers)
    return names + len(layers) * (8 + 4 + 8 * dimensions + 4 + 8)


@cache
def known_tokenizers() -> tuple[tuple[int, TokenizerBytes], ...]:
    """Return vocabulary size and bytes of every tokenizer on file; of two with one size, the first counts."""
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
    """Return the bytes per row of the vocabulary over the known tokenizers: least, median, most."""
    per_row = sorted(known.value / size for size, known in known_tokenizers())
    return per_row[0], per_row[len(per_row) // 2], per_row[-1]


@lru_cache(maxsize=64)
def tokenizer_bytes(vocab_size: int) -> TokenizerBytes:
    """Return the bytes of metadata and tokenizer for a vocabulary of that many rows.

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
    """Return the bytes of the GGUF file that holds these tensors and a tokenizer of that many entries."""
    total, padding, directory = 0, 0, FIXED_HEADER_BYTES
    for (spec, _, num_bytes), layers in stored_groups(stored):
        total += len(layers) * num_bytes
        padding += len(layers) * (-num_bytes % ALIGNMENT)
        directory += _entries_bytes(spec.role, layers, spec.is_bias, len(spec.shape))
    return FileBytes(
        tensor_bytes=total,
        padding_bytes=padding,
        directory_bytes=directory,
        tokenizer=tokenizer_bytes(vocab_size),
    )


def exact_file_bytes(metadata_bytes: int, stored: Sequence[StoredTensor]) -> int:
    """Return the bytes of a GGUF file whose metadata, tokenizer included, takes that many bytes."""
    head = FIXED_HEADER_BYTES + metadata_bytes + directory_bytes([tensor.spec for tensor in stored])
    sizes = [head, *(tensor.num_bytes for tensor in stored)]
    return sum(size + -size % ALIGNMENT for size in sizes)
