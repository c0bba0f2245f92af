"""Headers of .safetensors files, one or sharded with an index: names, types, shapes; never the weights.

Layout: https://huggingface.co/docs/safetensors (8 bytes of header length, JSON, data without holes).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from sizer.errors import InvalidFile
from sizer.readers.file_tensor import MAX_TENSORS, FileTensor
from sizer.readers.regular_file import exists, open_regular

ACCEPTED = "a .safetensors file or its model.safetensors.index.json"

# Bits of one element: safetensors 0.8, safetensors/src/tensor.rs, Dtype::bitsize.
DTYPE_BITS: Mapping[str, int] = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    **dict.fromkeys(("U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}

# The format allows 100 MB; the largest index (DeepSeek-V3) has 9 MB, a shard's header less than 1 MB.
MAX_JSON_BYTES = 12 * 2**20
# JSON of a few bytes can become objects of hundreds: objects, lists and commas bound what it can become. A
# tensor takes 8 of them in a header and 1 in an index.
_MAX_FILE_TENSORS = MAX_TENSORS // 2
_MAX_JSON_PARTS = 8 * _MAX_FILE_TENSORS
_MAX_SHARDS = 1000
_MAX_ALL_HEADERS_BYTES = 24 * 2**20
_MAX_DIMENSIONS = 64
_LENGTH_BYTES = 8
_SHARD = re.compile(r"(?P<start>.*-)(?P<number>\d{5})-of-(?P<count>\d{5})(?P<end>\.safetensors)", re.ASCII)

_Pairs = list[tuple[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetensorsHeader:
    """Headers of one model in safetensors; `metadata` is that of the first file that has any.

    Of an index, also what it names but is not here, and the totals it states.
    """

    path: Path
    files: tuple[str, ...]
    file_bytes: int
    header_bytes: int
    metadata: Mapping[str, str]
    tensors: tuple[FileTensor, ...]
    missing_files: tuple[str, ...] = ()
    indexed_tensors: int | None = None
    stated_bytes: int | None = None
    stated_parameters: int | None = None


def read_safetensors(path: Path) -> SafetensorsHeader:
    """Read the header of a .safetensors file, or of all shards of an index.json; raise InvalidFile if bad."""
    if path.name.endswith(".json"):
        return _read_index(path)
    names = shard_names(path)
    return _read_numbered(path, names) if names else _read_file(path)


def shard_names(path: Path) -> tuple[str, ...]:
    """Return the names of all shards if a file is called NAME-00001-of-00003.safetensors, else none."""
    found = _SHARD.fullmatch(path.name)
    count = int(found["count"]) if found else 0
    if found is None or not 1 < count <= _MAX_SHARDS or not 1 <= int(found["number"]) <= count:
        return ()
    start, end = found["start"], f"-of-{found['count']}{found['end']}"
    return tuple(f"{start}{number:05}{end}" for number in range(1, count + 1))


def _read_numbered(path: Path, names: Sequence[str]) -> SafetensorsHeader:
    """Read the shards of a set that are in the folder, without their index."""
    shards: list[SafetensorsHeader] = []
    for name in names:
        if not exists(path.parent / name):
            continue
        shards.append(_read_file(path.parent / name))
        if sum(shard.header_bytes for shard in shards) > _MAX_ALL_HEADERS_BYTES:
            raise _invalid(path, "shards", "their headers", f"{_MAX_ALL_HEADERS_BYTES} bytes in all")
    tensors = tuple(tensor for shard in shards for tensor in shard.tensors)
    if len({tensor.name for tensor in tensors}) < len(tensors) or len(tensors) > MAX_TENSORS:
        raise _invalid(path, "shards", f"{len(tensors)} tensors", f"at most {MAX_TENSORS}, each in one shard")
    found = {shard.path.name for shard in shards}
    return _joined(path, shards, missing=sorted(set(names) - found))


def _read_file(path: Path) -> SafetensorsHeader:
    with open_regular(path, ACCEPTED) as (stream, size):
        prefix = stream.read(_LENGTH_BYTES)
        if len(prefix) < _LENGTH_BYTES:
            raise _invalid(path, "header", f"the file has {size} bytes", "at least 8 bytes and a header")
        length = int.from_bytes(prefix, "little")
        if length > size - _LENGTH_BYTES:
            raise _invalid(
                path,
                "header length",
                f"{length} bytes are declared, the file has {size}",
                f"at most {size - _LENGTH_BYTES} here; is it a whole .safetensors file?",
            )
        if length > MAX_JSON_BYTES:
            raise _invalid(path, "header length", f"{length} bytes", f"at most {MAX_JSON_BYTES}")
        text = stream.read(length)
    if len(text) < length:
        raise _invalid(path, "header", "the file ends inside it", "a whole file")
    pairs = _parse(path, "header", text)
    metadata: Mapping[str, str] = {}
    tensors: list[FileTensor] = []
    for name, value in pairs:
        if name == "__metadata__":
            metadata = _metadata(path, value)
        else:
            tensors.append(_tensor(path, name, value, _LENGTH_BYTES + length))
    tensors.sort(key=lambda tensor: tensor.offset)
    _require_whole(path, tensors, _LENGTH_BYTES + length, size)
    return SafetensorsHeader(
        path=path,
        files=(path.name,),
        file_bytes=size,
        header_bytes=_LENGTH_BYTES + length,
        metadata=metadata,
        tensors=tuple(tensors),
    )


def _parse(path: Path, field: str, text: bytes) -> _Pairs:
    """Parse the outermost JSON object as pairs, so that a repeated name is noticed."""
    parts = sum(text.count(mark) for mark in (b"{", b"[", b","))
    if parts > _MAX_JSON_PARTS:
        raise _invalid(
            path,
            field,
            f"{parts} objects, lists and commas",
            f"at most {_MAX_JSON_PARTS}",
        )
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_Object)
    except UnicodeDecodeError as error:
        raise _invalid(path, field, f"not UTF-8 at byte {error.start}", "JSON in UTF-8") from None
    except (ValueError, RecursionError):
        raise _invalid(path, field, "not JSON", "a JSON object of tensors by name") from None
    if not isinstance(value, _Object):
        raise _invalid(path, field, "not a JSON object", "a JSON object of tensors by name")
    return value.unique(path, field)


class _Object:
    """A JSON object before its names are known to be unique."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: _Pairs) -> None:
        self.pairs = pairs

    def unique(self, path: Path, field: str) -> _Pairs:
        if len({name for name, _ in self.pairs}) < len(self.pairs):
            seen: set[str] = set()
            for name, _ in self.pairs:
                if name in seen:
                    raise _invalid(path, field, f"the name {_short(name)} stands twice", "each name once")
                seen.add(name)
        if len(self.pairs) > MAX_TENSORS + 1:
            raise _invalid(path, field, f"{len(self.pairs)} names", f"at most {MAX_TENSORS} tensors")
        return self.pairs


def _metadata(path: Path, value: object) -> Mapping[str, str]:
    if not isinstance(value, _Object) or not all(isinstance(text, str) for _, text in value.pairs):
        raise _invalid(path, "__metadata__", "not an object of texts", "text by name")
    return dict(value.unique(path, "__metadata__"))


def _tensor(path: Path, name: str, value: object, data_start: int) -> FileTensor:
    entry = dict(value.pairs) if isinstance(value, _Object) else {}
    if not isinstance(value, _Object) or len(value.pairs) != 3 or entry.keys() != _KEYS:
        raise _wrong(path, name, "not an object of those keys", "dtype, shape and data_offsets, each once")
    bits = DTYPE_BITS.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if bits is None:
        raise _wrong(path, name, f"dtype {_short(entry['dtype'])}", ", ".join(DTYPE_BITS))
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _sizes(shape) or len(shape) > _MAX_DIMENSIONS:
        raise _wrong(path, name, f"shape {_short(shape)}", f"at most {_MAX_DIMENSIONS} whole numbers from 0")
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _wrong(path, name, f"data_offsets {_short(offsets)}", "[start, end] with start <= end")
    begin, end = offsets
    # prod of 64 numbers below 2**64 is at most 4096 bits: nothing to fear
    if prod(shape) * bits != 8 * (end - begin):
        raise _wrong(
            path,
            name,
            f"{_short(shape)} of {entry['dtype']} is not the {end - begin} bytes of data_offsets",
            "as many as shape and dtype need",
        )
    return FileTensor(
        name=name,
        type=entry["dtype"],
        shape=tuple(shape),
        file=path.name,
        offset=data_start + begin,
        num_bytes=end - begin,
    )


_KEYS = {"dtype", "shape", "data_offsets"}


def _sizes(value: object) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**64 for n in value)


def _require_whole(path: Path, tensors: Sequence[FileTensor], data_start: int, size: int) -> None:
    """Raise unless the tensors fill the data without gaps or leftovers (as the format demands)."""
    end = data_start
    for tensor in tensors:
        if tensor.offset != end:
            problem = "overlaps the tensor before it" if tensor.offset < end else "leaves a hole before it"
            raise _wrong(path, tensor.name, f"data_offsets {problem}", "tensors one after the other")
        end += tensor.num_bytes or 0
    if end != size:
        what = "is cut short" if end > size else "continues after the last tensor"
        raise _invalid(
            path, "data_offsets", f"the file {what} (needs {end} bytes, has {size})", "a whole file"
        )


def _read_index(path: Path) -> SafetensorsHeader:
    with open_regular(path, ACCEPTED) as (stream, size):
        if size > MAX_JSON_BYTES:
            raise _invalid(path, "index", f"{size} bytes", f"at most {MAX_JSON_BYTES}")
        text = stream.read(MAX_JSON_BYTES)
    index = dict(_parse(path, "index", text))
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, _Object):
        raise _invalid(path, "weight_map", "missing or not an object", "file names by tensor name")
    wanted = dict(weight_map.unique(path, "weight_map"))
    shards = list(_shards(path, wanted))
    here = {shard.path.name for shard in shards}
    held = {tensor.name for shard in shards for tensor in shard.tensors}
    if missing := {name for name, file in wanted.items() if name not in held and file in here}:
        name = min(missing)
        found = f"{_short(name)} is not in {_short(wanted[name])}"
        raise _invalid(path, "weight_map", found, "what the shards hold")
    joined = _joined(path, shards, missing=sorted(set(wanted.values()) - here))
    return replace(
        joined,
        indexed_tensors=len(wanted),
        stated_bytes=_stated(index.get("metadata"), "total_size"),
        stated_parameters=_stated(index.get("metadata"), "total_parameters"),
    )


def _joined(path: Path, shards: Sequence[SafetensorsHeader], *, missing: Sequence[str]) -> SafetensorsHeader:
    return SafetensorsHeader(
        path=path,
        files=tuple(shard.path.name for shard in shards),
        file_bytes=sum(shard.file_bytes for shard in shards),
        header_bytes=sum(shard.header_bytes for shard in shards),
        metadata=next((shard.metadata for shard in shards if shard.metadata), {}),
        tensors=tuple(tensor for shard in shards for tensor in shard.tensors),
        missing_files=tuple(missing),
    )


def _stated(metadata: object, key: str) -> int | None:
    """Return a total that an index states, None if it has none or one that no file has."""
    value = dict(metadata.pairs).get(key) if isinstance(metadata, _Object) else None
    if isinstance(value, float) and value.is_integer():  # some writers divide by the size of an element
        value = int(value)
    return value if type(value) is int and 0 < value < 2**53 else None


def _shards(path: Path, weight_map: Mapping[str, Any]) -> Iterator[SafetensorsHeader]:
    names: set[str] = set()
    for file in weight_map.values():
        if not isinstance(file, str) or not _is_beside(file):
            raise _invalid(
                path,
                "weight_map",
                f"file {_short(file)}",
                "names of .safetensors files in the index's directory",
            )
        names.add(file)
    if len(names) > _MAX_SHARDS:
        raise _invalid(path, "weight_map", f"{len(names)} files", f"at most {_MAX_SHARDS}")
    header_bytes = 0
    for name in sorted(names):
        if not exists(path.parent / name):
            continue
        shard = _read_file(path.parent / name)
        header_bytes += shard.header_bytes
        if header_bytes > _MAX_ALL_HEADERS_BYTES:
            raise _invalid(
                path, "weight_map", "the headers of its files", f"{_MAX_ALL_HEADERS_BYTES} bytes in all"
            )
        for tensor in shard.tensors:
            if weight_map.get(tensor.name) != name:
                found = f"{_short(tensor.name)} in {_short(name)} is not in the index, or in two shards"
                raise _invalid(path, "weight_map", found, "what the shards hold, each tensor once")
        yield shard


def _is_beside(name: str) -> bool:
    """Return whether a shard's name is a plain file name that cannot leave the directory on any system."""
    return name.endswith(".safetensors") and name.isprintable() and not set(name) & set("/\\:\0")


def _short(value: object) -> str:
    """Quote a value of the file for an error: escaped and short."""
    text = ascii(value) if isinstance(value, str | int | float | list | None) else type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."


def _wrong(path: Path, name: str, what: str, accepted: str) -> InvalidFile:
    return _invalid(path, f"tensor {_short(name)}", what, accepted)


def _invalid(path: Path, field: str, what: str, accepted: str) -> InvalidFile:
    return InvalidFile(f"{field}: {what} in {str(path)!r}; accepted: {accepted}")
