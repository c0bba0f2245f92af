"""Headers of GGUF files: metadata, tokenizer's size, tensors with exact bytes; never the weights.

Layout: docs/gguf.md in ggml (magic, version, counts, metadata, tensor directory, aligned data).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sizer.readers.file_tensor import MAX_TENSORS, FileTensor
from sizer.readers.gguf_types import FILE_TYPE_BY_ID, TYPE_BY_ID
from sizer.readers.gguf_values import Cursor, LongArray, Value
from sizer.readers.regular_file import open_regular

ACCEPTED = "a .gguf file of version 2 or 3, little-endian"
MAGIC = b"GGUF"

_DEFAULT_ALIGNMENT = 32
_MAX_KEYS = 20_000
_MAX_KEY_BYTES = 2**16 - 1  # docs/gguf.md
_MAX_NAME_BYTES = 1024  # llama.cpp itself reads 63
_MAX_DIMENSIONS = 4  # GGML_MAX_DIMS
# The least bytes of one entry: an empty key with a one-byte value; a one-letter tensor of no dimensions.
_LEAST_KEY_BYTES = 8 + 4 + 1
_LEAST_TENSOR_BYTES = 8 + 1 + 4 + 4 + 8
# The rest of a directory entry by its number of dimensions: dimensions, type, offset.
_ENTRY_LAYOUTS = tuple(struct.Struct(f"<{n}QIQ") for n in range(_MAX_DIMENSIONS + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSummary:
    """Tokenizer of a GGUF file: its kind, and counts of tokens and merges."""

    model: str | None
    pre: str | None
    num_tokens: int
    num_merges: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufHeader:
    """Header of one GGUF file, or of all parts of a split model (`files` names them, in order)."""

    path: Path
    version: int
    file_bytes: int
    header_bytes: int
    alignment: int
    metadata: Mapping[str, Value]
    tensors: tuple[FileTensor, ...]
    files: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """True unless the model is split and some of its parts are not here."""
        return self.split_count == 1 or len(self.files) == self.split_count

    @property
    def architecture_name(self) -> str | None:
        """general.architecture, such as "llama"."""
        return self.text("general.architecture")

    @property
    def file_type(self) -> str | None:
        """Name of general.file_type, such as "Q4_K_M"; None if absent or unknown."""
        value = self.metadata.get("general.file_type")
        return FILE_TYPE_BY_ID.get(value) if isinstance(value, int) else None

    @property
    def tokenizer(self) -> TokenizerSummary:
        """The tokenizer's model and how many tokens and merges it has."""
        return TokenizerSummary(
            model=self.text("tokenizer.ggml.model"),
            pre=self.text("tokenizer.ggml.pre"),
            num_tokens=self._count("tokenizer.ggml.tokens"),
            num_merges=self._count("tokenizer.ggml.merges"),
        )

    @property
    def split_count(self) -> int:
        """Number of files the model is split into; 1 for a whole model."""
        value = self.metadata.get("split.count")
        return value if isinstance(value, int) and value > 1 else 1

    def text(self, key: str) -> str | None:
        """Return a metadata text, or None if it is absent or of another type."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None

    def _count(self, key: str) -> int:
        value = self.metadata.get(key)
        if isinstance(value, LongArray):
            return value.count
        return len(value) if isinstance(value, tuple) else 0


def read_gguf(path: Path) -> GgufHeader:
    """Read the header of a GGUF file; InvalidFile names the wrong field and what is accepted."""
    with open_regular(path, ACCEPTED) as (stream, size):
        return read_gguf_stream(stream, size, path)


def read_gguf_stream(stream: BinaryIO, size: int, path: Path, *, whole: bool = True) -> GgufHeader:
    """Read the header of an open file of that many bytes; without `whole`, tensor data may be cut off."""
    cursor = Cursor(stream, size, path)
    version = _version(cursor)
    num_tensors = _count(cursor, "tensor_count", _LEAST_TENSOR_BYTES, MAX_TENSORS)
    num_keys = _count(cursor, "metadata_kv_count", _LEAST_KEY_BYTES, _MAX_KEYS)
    metadata: dict[str, Value] = {}
    for number in range(num_keys):
        key = cursor.text(f"metadata key {number}", _MAX_KEY_BYTES)
        if key in metadata:
            raise cursor.invalid(ascii(key)[:80], "the key stands twice", "each key once")
        metadata[key] = cursor.value(ascii(key)[:80])
    alignment = _alignment(cursor, metadata)
    entries = [_entry(cursor) for _ in range(num_tensors)]
    header_bytes = cursor.position + -cursor.position % alignment
    if len({entry.name for entry in entries}) < len(entries):
        seen: set[str] = set()
        for entry in entries:
            if entry.name in seen:
                raise cursor.invalid(_called(entry.name), "the name stands twice", "each name once")
            seen.add(entry.name)
    end = size if whole else 2**63
    tensors = tuple(_tensor(cursor, entry, header_bytes, alignment, end) for entry in entries)
    _require_apart(cursor, tensors)
    return GgufHeader(
        path=path,
        version=version,
        file_bytes=size,
        header_bytes=min(header_bytes, size),
        alignment=alignment,
        metadata=metadata,
        tensors=tensors,
        files=(path.name,),
    )


def _version(cursor: Cursor) -> int:
    magic = cursor.take(4, "magic")
    if magic != MAGIC:
        raise cursor.invalid("magic", f"the file starts with {magic!r}, not {MAGIC!r}", ACCEPTED)
    version = cursor.u32("version")
    if version in (2, 3):
        return version
    if version & 0xFFFF == 0 and version:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        raise cursor.invalid("version", f"{swapped} in big-endian order", ACCEPTED)
    raise cursor.invalid("version", str(version), ACCEPTED)


def _count(cursor: Cursor, field: str, least_bytes: int, limit: int) -> int:
    count = cursor.u64(field)
    if count > limit or count * least_bytes > cursor.left:
        found = f"{count} (the file has {cursor.left} bytes left)"
        raise cursor.invalid(field, found, f"at most {limit}, each taking {least_bytes} bytes or more")
    return count


def _alignment(cursor: Cursor, metadata: Mapping[str, Value]) -> int:
    value = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if type(value) is not int or not 1 <= value < 2**32 or value & (value - 1):
        raise cursor.invalid("general.alignment", ascii(value)[:80], "a power of two, 32 where it is absent")
    return value


class _Entry(NamedTuple):
    """One row of the tensor directory, dimensions in ggml's order."""

    name: str
    dims: tuple[int, ...]
    type_id: int
    offset: int


def _entry(cursor: Cursor) -> _Entry:
    name = cursor.text("name of a tensor", _MAX_NAME_BYTES)
    num_dims = cursor.u32("number of dimensions")
    if num_dims > _MAX_DIMENSIONS:
        raise cursor.invalid(_called(name), f"{num_dims} dimensions", f"at most {_MAX_DIMENSIONS}")
    layout = _ENTRY_LAYOUTS[num_dims]
    *dims, type_id, offset = layout.unpack(cursor.take(layout.size, "tensor directory"))
    return _Entry(name, tuple(dims), type_id, offset)


def _called(name: str) -> str:
    return f"tensor {ascii(name)[:80]}"


def _tensor(cursor: Cursor, entry: _Entry, data_start: int, alignment: int, end: int) -> FileTensor:
    elements = 1
    for size in entry.dims:
        elements *= size
        # 2**63: ggml counts in signed 64-bit numbers, so that a larger one would be negative there
        if not 1 <= size < 2**63 or elements >= 2**63:
            shown = " x ".join(map(str, entry.dims))
            raise cursor.invalid(
                _called(entry.name), f"dimensions {shown}", "numbers from 1 whose product is below 2**63"
            )
    if entry.offset % alignment:
        raise cursor.invalid(_called(entry.name), f"offset {entry.offset}", f"a multiple of {alignment}")
    block = TYPE_BY_ID.get(entry.type_id)
    num_bytes = None
    if block is not None:
        row = entry.dims[0] if entry.dims else 1
        if not block.fits(row):
            found = f"rows of {row} elements of type {block.name}"
            raise cursor.invalid(_called(entry.name), found, f"a multiple of {block.block_elements}")
        num_bytes = elements // row * block.row_bytes(row)
    start = data_start + entry.offset
    if start + (num_bytes or 0) > end:
        found = f"data from byte {start} to {start + (num_bytes or 0)} of a file of {cursor.size} bytes"
        raise cursor.invalid(_called(entry.name), found, "data within the file; is it whole?")
    return FileTensor(
        name=entry.name,
        type=block.name if block else f"unknown type {entry.type_id}",
        shape=entry.dims[::-1],
        file=cursor.path.name,
        offset=start,
        num_bytes=num_bytes,
    )


def _require_apart(cursor: Cursor, tensors: Sequence[FileTensor]) -> None:
    ordered = sorted(tensors, key=lambda tensor: tensor.offset)
    for before, after in zip(ordered, ordered[1:], strict=False):
        # of an unknown type only the place is known; two tensors still cannot share it
        if before.offset + (before.num_bytes or 1) > after.offset:
            found = f"its data overlaps that of {_called(before.name)}"
            raise cursor.invalid(_called(after.name), found, "tensors apart from each other")
