"""Bytes of a safetensors file around its data: the JSON header."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from sizer.formats.groups import Part, PartedType
from sizer.formats.stored import FileBytes, StoredTensor

# The format (github huggingface/safetensors, README): 8 bytes of length, then the header.
LENGTH_BYTES = 8


def header_bytes(parts: Sequence[Part], metadata: str, *, multiple: int) -> int:
    """Bytes of length and header for these arrays, laid out in this order.

    A writer that orders the data otherwise has other digits in its offsets: some bytes more or less.
    """
    length, offset = len(f'{{"__metadata__":{{"format":"{metadata}"}}}}'), 0
    for part in parts:
        end = offset + part.num_bytes
        shape = ",".join(map(str, part.shape))
        length += len(
            f',"{part.name}":{{"dtype":"{part.dtype}","shape":[{shape}],"data_offsets":[{offset},{end}]}}'
        )
        offset = end
    return LENGTH_BYTES + length + -length % multiple


def file_bytes(stored: Sequence[StoredTensor], metadata: str, *, multiple: int = 8) -> FileBytes:
    """Bytes of a safetensors file; every type must say its parts. `metadata` is the framework's tag."""
    parts = [part for tensor in stored for part in cast(PartedType, tensor.type).parts(tensor.spec)]
    return FileBytes(
        tensor_bytes=sum(part.num_bytes for part in parts),
        padding_bytes=0,
        directory_bytes=header_bytes(parts, metadata, multiple=multiple),
    )
