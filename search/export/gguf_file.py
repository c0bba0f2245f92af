"""A trained model as a GGUF file: metadata and tokenizer counted to the byte, weights by ggml's quantizer.

Layout of llama.cpp's `llama` architecture: rows of query and key in pairs of rotated elements (of `lfm2` in
halves, as trained), a shared block once for each run. Byte 0xFF, which no UTF-8 text has, begins and ends
texts: llama.cpp would otherwise end at token 11.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy
from torch import Tensor

from search.export.finalist import TrainedFinalist
from search.export.layout import trained_name
from search.export.llamacpp_library import quantize_rows
from search.text.vocabulary import Vocabulary
from search.training.decoder import NORM_EPSILON, ROPE_THETA
from sizer.architecture import Architecture
from sizer.atomic_write import atomic_write
from sizer.formats.gguf import ALIGNMENT, exact_file_bytes, gguf_name, gguf_shape
from sizer.formats.gguf_metadata import (
    Entry,
    encoded,
    has_rotated_pairs,
    llama_entries,
    llama_kind,
    padding_entry,
)
from sizer.formats.stored import StoredTensor
from sizer.readers.gguf_types import FILE_TYPE_BY_ID, TYPE_BY_ID
from sizer.runtimes import runtime
from sizer.tensors import Role

_VERSION = 3
_TYPE_IDS = {kind.name: number for number, kind in TYPE_BY_ID.items()}
_FILE_TYPE_IDS = {name: number for number, name in FILE_TYPE_BY_ID.items()}


def stored_tensors(architecture: Architecture, format_name: str) -> tuple[StoredTensor, ...]:
    """Return every tensor of the file with its type."""
    engine = runtime("llama.cpp")
    return tuple(engine.store(architecture, engine.format_name(format_name)))


def metadata(
    architecture: Architecture,
    format_name: str,
    vocabulary: Vocabulary,
    *,
    context_tokens: int,
    more: Sequence[Entry] = (),
) -> tuple[Entry, ...]:
    """Return all metadata of the file, of as many bytes for any names; `more` are entries of the caller."""
    a, kind = architecture, llama_kind(architecture)
    fixed = (
        *llama_entries(a, context_tokens=context_tokens, norm_epsilon=NORM_EPSILON, rope_base=ROPE_THETA),
        Entry("general.file_type", "UINT32", _FILE_TYPE_IDS[format_name]),
        Entry("general.quantization_version", "UINT32", 2),
        Entry(f"{kind}.attention.key_length", "UINT32", a.head_dim),
        Entry(f"{kind}.attention.value_length", "UINT32", a.head_dim),
        *more,
    )
    return (*fixed, padding_entry(fixed), *vocabulary.entries(a.vocab_size))


def predicted_file_bytes(entries: Sequence[Entry], stored: Sequence[StoredTensor]) -> int:
    """Return the exact bytes of the file that `write_gguf` writes."""
    return exact_file_bytes(len(encoded(entries)), stored)


def write_gguf(path: Path, finalist: TrainedFinalist, format_name: str, entries: Sequence[Entry]) -> None:
    """Write the file, whole or not at all. OSError if the disk refuses."""
    stored = stored_tensors(finalist.architecture, format_name)
    with atomic_write(path) as file:
        file.write(_header(stored, entries))
        _pad(file)
        for tensor in stored:
            file.write(_data(tensor, _weights(finalist.weights, finalist.architecture, tensor)))
            _pad(file)


def _header(stored: Sequence[StoredTensor], entries: Sequence[Entry]) -> bytes:
    parts = [b"GGUF", struct.pack("<IQQ", _VERSION, len(stored), len(entries)), encoded(entries)]
    offset = 0
    for tensor in stored:
        name, shape = gguf_name(tensor.spec).encode(), gguf_shape(tensor.spec)[::-1]
        parts.append(struct.pack("<Q", len(name)) + name)
        parts.append(struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
        parts.append(struct.pack("<IQ", _TYPE_IDS[tensor.type.name], offset))
        offset += tensor.num_bytes + -tensor.num_bytes % ALIGNMENT
    return b"".join(parts)


def _pad(file: IO[bytes]) -> None:
    file.write(b"\0" * (-file.tell() % ALIGNMENT))


def _weights(weights: Mapping[str, Tensor], a: Architecture, tensor: StoredTensor) -> numpy.ndarray:
    """Return a tensor of the file in float32, `[rows, columns]` or `[n]`."""
    spec = tensor.spec
    values: numpy.ndarray = weights[trained_name(a, spec)].float().numpy()
    heads = {Role.QUERY: a.num_heads, Role.KEY: a.num_kv_heads}.get(spec.role)
    return values if heads is None or not has_rotated_pairs(a) else in_pairs(values, heads)


def in_pairs(values: numpy.ndarray, heads: int) -> numpy.ndarray:
    """Reorder rows `[heads x head_dim, columns]` from rotated halves (Hugging Face) to pairs (llama.cpp)."""
    rows, columns = values.shape
    return values.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _data(tensor: StoredTensor, values: numpy.ndarray) -> bytes:
    rows = values.reshape(-1, tensor.spec.row_length)
    if tensor.type.name == "F32":
        return numpy.ascontiguousarray(rows, dtype="<f4").tobytes()
    return quantize_rows(_TYPE_IDS[tensor.type.name], rows, tensor.num_bytes)
