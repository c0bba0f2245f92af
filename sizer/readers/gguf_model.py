"""A GGUF file as a model: its architecture if it is read, and its exact bytes and cache in any case."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture, InvalidFile, listed
from sizer.file_model import FileModel
from sizer.formats.ggml import TYPES, BlockType
from sizer.formats.gguf import FIXED_HEADER_BYTES, gguf_name, gguf_shape
from sizer.formats.stored import FileBytes, StoredTensor, TokenizerBytes, Weights
from sizer.readers.file_tensor import FileTensor
from sizer.readers.gguf_architecture import architecture_from_gguf, is_trained
from sizer.readers.gguf_cache import cached_layers, shape_of, state_bytes
from sizer.readers.gguf_header import GgufHeader
from sizer.readers.gguf_split import missing_text, read_gguf_set
from sizer.readers.gguf_types import TYPE_BY_ID
from sizer.tensors import Group, ParameterCounts, tensor_specs

OWN_FORMAT = "the file's own"

# Part of the model by the first letters of a tensor's name (in its block) but for norms; else the MLP.
_PARTS: tuple[tuple[tuple[str, ...], Group], ...] = (
    (("token_embd", "position_embd"), Group.EMBEDDING),
    (("output.",), Group.HEAD),
    (("attn", "ssm", "shortconv", "time_mix"), Group.ATTENTION),
)
_BY_NAME: Mapping[str, BlockType] = {**{kind.name: kind for kind in TYPE_BY_ID.values()}, **TYPES}


class GgufModel(NamedTuple):
    """What a GGUF file gives: an architecture with the file's own weights, or the facts of the file alone."""

    architecture: Architecture | None
    weights: Weights | None  # with `architecture`: every tensor with the type that the file has
    format: str
    facts: FileModel | None  # without `architecture`
    note: str = ""  # values in the file that are no parameters


def read_gguf_model(path: Path) -> GgufModel:
    """Read a GGUF file's header as a model; InvalidFile for one that is no whole model."""
    return gguf_model(read_gguf_set(path))


def gguf_model(header: GgufHeader) -> GgufModel:
    """Return what a header gives; InvalidFile for a projector, an adapter or a part of a file."""
    _require_model(header)
    format_name = header.file_type or OWN_FORMAT
    try:
        architecture = architecture_from_gguf(header)
        weights = _own_weights(header, architecture)
    except InvalidArchitecture as error:
        return GgufModel(None, None, format_name, _facts(header, str(error), format_name))
    return GgufModel(architecture, weights, format_name, None, _untrained_note(header))


def _untrained_note(header: GgufHeader) -> str:
    """Return which values of a file are computed, not trained: in its bytes, but not among the parameters."""
    computed = [tensor for tensor in header.tensors if not is_trained(tensor.name)]
    if not computed:
        return ""
    values = sum(tensor.num_elements for tensor in computed)
    names = listed(list(dict.fromkeys(tensor.name for tensor in computed)))
    return f"{values:,} values of {names} (rotary factors) are in the file's bytes, not among the parameters"


def _require_model(header: GgufHeader) -> None:
    kind = header.text("general.type")
    if kind in ("mmproj", "adapter") or header.architecture_name == "clip":
        what = "an adapter" if kind == "adapter" else "a projector, which --mmproj adds to a model"
        raise InvalidFile(
            f"model: {str(header.path)!r} is {what} (general.type); accepted: a file with a whole model"
        )
    if not header.is_whole:
        raise InvalidArchitecture(
            f"split.count: {str(header.path)!r} is one of {header.split_count} parts; "
            f"accepted: a whole file, or all parts in one folder{missing_text(header)}"
        )


def _own_weights(header: GgufHeader, architecture: Architecture) -> Weights | None:
    """Return every tensor that the architecture asks for with the file's type; None if one is missing."""
    from sizer.runtimes import runtime

    held = {tensor.name: tensor for tensor in header.tensors}
    stored = []
    for spec in tensor_specs(runtime("llama.cpp").as_stored(architecture)):
        tensor = held.get(gguf_name(spec))
        kind = _BY_NAME.get(tensor.type) if tensor else None
        if tensor is None or kind is None or tensor.num_bytes is None:
            return None
        if tensor.num_elements != spec.num_elements or tensor.shape[-1:] != gguf_shape(spec)[-1:]:
            return None
        stored.append(StoredTensor(spec, kind, tensor.num_bytes))
    return _weights(header)._replace(own=tuple(stored))


def _weights(header: GgufHeader) -> Weights:
    """Return the exact bytes of a file by part and by type."""
    tensors = header.tensors
    sizes = _sizes(header)
    directory = FIXED_HEADER_BYTES + sum(
        8 + len(t.name.encode()) + 4 + 8 * len(t.shape) + 4 + 8 for t in tensors
    )
    metadata = max(header.header_bytes - directory, 0)
    # of a file whose data is cut off, the header still has the place of the last tensor
    end = max((t.offset + size for t, size in zip(tensors, sizes, strict=True)), default=0)
    total = max(header.file_bytes, end)
    by_type: dict[str, int] = {}
    for tensor, size in zip(tensors, sizes, strict=True):
        by_type[tensor.type] = by_type.get(tensor.type, 0) + size
    return Weights(
        file=FileBytes(
            tensor_bytes=sum(sizes),
            padding_bytes=total - sum(sizes) - directory - metadata,
            directory_bytes=directory,
            tokenizer=TokenizerBytes(name=OWN_FORMAT, value=metadata, low=metadata, high=metadata),
        ),
        bytes_by_type=by_type,
        stored_weights=max(sum(tensor.num_elements for tensor in tensors), 1),
    )


def _sizes(header: GgufHeader) -> list[int]:
    """Return bytes of each tensor; of a type that is not known, up to the next tensor or the file's end."""
    places = sorted((tensor.file, tensor.offset) for tensor in header.tensors)
    following = dict(pairwise([*places, ("", 0)]))

    def size(tensor: FileTensor) -> int:
        if tensor.num_bytes is not None:
            return tensor.num_bytes
        file, offset = following[tensor.file, tensor.offset]
        end = offset if file == tensor.file else header.file_bytes if len(header.files) == 1 else 0
        return max(end - tensor.offset, 0)

    return [size(tensor) for tensor in header.tensors]


def _facts(header: GgufHeader, reason: str, format_name: str) -> FileModel:
    kind = header.architecture_name or "unknown"
    shape = shape_of(header)
    cache, window_note = cached_layers(header)
    name = header.text("general.name") or header.path.stem
    return FileModel(
        name="".join(c if c.isprintable() else "?" for c in name[:100]),
        kind=kind,
        not_read=f"{kind!r} is known by the keys of its file alone: {reason.partition('; accepted')[0]}",
        parameters=_counts(header),
        weights=_weights(header),
        format=format_name,
        shape=shape,
        layers=cache,
        state_bytes=state_bytes(header),
        window_note=window_note,
        positions=shape.get("max_position_embeddings"),
    )


def _counts(header: GgufHeader) -> ParameterCounts:
    """Count weights by part, from the names of the tensors."""
    sums = dict.fromkeys(Group, 0)
    inactive = 0
    used, of = (
        header.metadata.get(f"{header.architecture_name}.expert_{key}") for key in ("used_count", "count")
    )
    for tensor in header.tensors:
        if not is_trained(tensor.name):
            continue
        sums[_part(tensor)] += tensor.num_elements
        if "_exps." in tensor.name and isinstance(used, int) and isinstance(of, int) and 0 < used <= of:
            inactive += tensor.num_elements // of * (of - used)
    return ParameterCounts(**{group.value: count for group, count in sums.items()}, inactive=inactive)


def _part(tensor: FileTensor) -> Group:
    name = re.sub(r"^blk\.\d+\.", "", tensor.name)
    if "norm" in name:
        return Group.NORM
    return next((group for starts, group in _PARTS if name.startswith(starts)), Group.MLP)
