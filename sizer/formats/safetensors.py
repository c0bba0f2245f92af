"""Bytes of a safetensors file around its data: the JSON header."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from sizer.formats.groups import PartedType, StoredPart
from sizer.formats.stored import FileBytes, StoredTensor

# The format (github huggingface/safetensors, README): 8 bytes of length, then the header.
LENGTH_BYTES = 8


def header(parts: Iterable[StoredPart], metadata: str, *, multiple: int) -> bytes:
    """Return the bytes of length and header for these arrays, laid out in this order.

    `metadata` is the framework's tag. In another order offsets have other digits: some bytes more or less.
    """
    text = f"{{{','.join(_entries(parts, metadata))}}}".encode()
    text += b" " * (-len(text) % multiple)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def _entries(parts: Iterable[StoredPart], metadata: str) -> Iterator[str]:
    yield f'"__metadata__":{{"format":"{metadata}"}}'
    offset = 0
    for part in parts:
        end = offset + part.num_bytes
        shape = ",".join(map(str, part.shape))
        place = f'"dtype":"{part.dtype}","shape":[{shape}],"data_offsets":[{offset},{end}]'
        yield f'"{part.name}":{{{place}}}'
        offset = end


def _header_bytes(parts: Iterable[StoredPart], metadata: str, *, multiple: int) -> int:
    """Return the length of that header, which a model of thousands of layers need not have in memory."""
    length = 1 + sum(len(entry.encode()) + 1 for entry in _entries(parts, metadata))  # braces and commas
    return LENGTH_BYTES + length + -length % multiple


def file_bytes(stored: Sequence[StoredTensor], metadata: str, *, multiple: int = 8) -> FileBytes:
    """Return bytes of a safetensors file; every type must list its parts. `metadata`: the framework's tag."""

    def parts() -> Iterator[StoredPart]:
        for tensor in stored:
            yield from cast(PartedType, tensor.type).parts(tensor.spec)

    return FileBytes(
        tensor_bytes=sum(part.num_bytes for part in parts()),
        padding_bytes=0,
        directory_bytes=_header_bytes(parts(), metadata, multiple=multiple),
    )
