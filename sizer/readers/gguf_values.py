"""Metadata values of a GGUF file, read forwards; no size of the file is believed before it is checked."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sizer.errors import InvalidFile

# Real headers: up to 20 MB (vocabularies of 262,144 with merges), keys up to about 100.
MAX_HEADER_BYTES = 256 * 2**20
# Texts that are kept: keys, names, chat templates (up to about 50 KB). Tokens are counted, not kept.
_MAX_TEXT_BYTES = 2**20
_MAX_ALL_TEXT_BYTES = 12 * 2**20
# Texts in arrays that are walked over one by one in the whole file.
_MAX_WALKED = 2_000_000
# Arrays in arrays: the format has them, no known file does.
_MAX_NESTED = 2_000
# An array is kept if it is not longer than a model has layers; longer ones are vocabularies.
_MAX_KEPT_NUMBERS = 1024
_MAX_KEPT_TEXTS = 64
_MAX_ALL_KEPT = 100_000
_MAX_DEPTH = 4
_CHUNK_BYTES = 2**18

# Value types: docs/gguf.md in ggml, gguf_metadata_value_type.
_SCALARS: Mapping[int, tuple[str, struct.Struct]] = {
    0: ("uint8", struct.Struct("<B")),
    1: ("int8", struct.Struct("<b")),
    2: ("uint16", struct.Struct("<H")),
    3: ("int16", struct.Struct("<h")),
    4: ("uint32", struct.Struct("<I")),
    5: ("int32", struct.Struct("<i")),
    6: ("float32", struct.Struct("<f")),
    7: ("bool", struct.Struct("<?")),
    10: ("uint64", struct.Struct("<Q")),
    11: ("int64", struct.Struct("<q")),
    12: ("float64", struct.Struct("<d")),
}
_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class LongArray:
    """An array of the file that was walked over and counted, not kept."""

    type: str
    count: int


Scalar = int | float | bool | str
Value = Scalar | tuple[Scalar, ...] | LongArray


class Cursor:
    """Reads a GGUF header forwards; every error names the field it was asked for."""

    def __init__(self, stream: BinaryIO, size: int, path: Path) -> None:
        self.path = path
        self.size = size
        self.position = 0
        self._stream = stream
        self._text_left = _MAX_ALL_TEXT_BYTES
        self._walk_left = _MAX_WALKED
        self._nested_left = _MAX_NESTED
        self._keep_left = _MAX_ALL_KEPT

    @property
    def left(self) -> int:
        """Bytes between here and the end of the file."""
        return self.size - self.position

    def invalid(self, field: str, what: str, accepted: str) -> InvalidFile:
        """Return the error that names a wrong field of this file."""
        return InvalidFile(f"{field}: {what} in {str(self.path)!r}; accepted: {accepted}")

    def _pass(self, count: int, field: str) -> None:
        if count > self.left:
            found = f"{count} bytes at byte {self.position}, the file ends after {self.left}"
            raise self.invalid(field, found, "a whole file")
        if self.position + count > MAX_HEADER_BYTES:
            raise self.invalid(field, "a longer header", f"headers of at most {MAX_HEADER_BYTES} bytes")
        self.position += count

    def take(self, count: int, field: str) -> bytes:
        """Read the next bytes; never more than the file has."""
        self._pass(count, field)
        data = self._stream.read(count)
        if len(data) < count:
            raise self.invalid(field, "the file became shorter while it was read", "a whole file")
        return data

    def _skip(self, count: int, field: str) -> None:
        self._pass(count, field)
        self._stream.seek(self.position)

    def u32(self, field: str) -> int:
        """Read a 32-bit count or type."""
        return int.from_bytes(self.take(4, field), "little")

    def u64(self, field: str) -> int:
        """Read a 64-bit count or size."""
        return int.from_bytes(self.take(8, field), "little")

    def text(self, field: str, limit: int = _MAX_TEXT_BYTES) -> str:
        """Read a text that its length precedes."""
        length = self.u64(field)
        if length > self.left:
            found = f"a text of {length} bytes, the file has {self.left} left"
            raise self.invalid(field, found, f"texts of at most {limit} bytes in a whole file")
        if length > min(limit, self._text_left):
            found = f"a text of {length} bytes"
            raise self.invalid(field, found, f"at most {limit}, and {_MAX_ALL_TEXT_BYTES} of all texts")
        self._text_left -= length
        try:
            return self.take(length, field).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.invalid(field, f"text that is not UTF-8 at its byte {error.start}", "UTF-8") from None

    def value(self, key: str) -> Value:
        """Read a metadata value; long arrays are only counted."""
        kind = self.u32(key)
        if kind in _SCALARS:
            return self._scalar(kind, key)
        if kind == _STRING:
            return self.text(key)
        if kind == _ARRAY:
            return self._array(key)
        raise self.invalid(key, f"unknown value type {kind}", "value types 0 to 12")

    def _scalar(self, kind: int, key: str) -> Scalar:
        layout = _SCALARS[kind][1]
        value: Scalar = layout.unpack(self.take(layout.size, key))[0]
        return value

    def _array(self, key: str) -> Value:
        kind, count = self.u32(key), self.u64(key)
        if kind in _SCALARS:
            name, layout = _SCALARS[kind]
            if count > _MAX_KEPT_NUMBERS or count > self._keep_left:
                self._skip(count * layout.size, key)
                return LongArray(type=name, count=count)
            self._keep_left -= count
            data = self.take(count * layout.size, key)
            return tuple(row[0] for row in layout.iter_unpack(data))
        if kind == _STRING:
            if count > _MAX_KEPT_TEXTS or count > self._keep_left:
                self._skip_texts(count, key)
                return LongArray(type="string", count=count)
            self._keep_left -= count
            return tuple(self.text(key) for _ in range(count))
        if kind == _ARRAY:
            self._skip_arrays(count, key, depth=1)
            return LongArray(type="array", count=count)
        raise self.invalid(key, f"an array of unknown value type {kind}", "value types 0 to 12")

    def _require_elements(self, count: int, smallest_bytes: int, budget: int, key: str) -> None:
        """Check elements that must be looked at one by one against the file's size and a budget."""
        if count * smallest_bytes > self.left:
            found = f"an array of {count} elements, the file has {self.left} bytes left"
            raise self.invalid(key, found, "a whole file")
        if count > budget:
            raise self.invalid(key, f"an array of {count} elements", f"at most {budget} more in this file")

    def _skip_texts(self, count: int, key: str) -> None:
        self._require_elements(count, _LENGTH.size, self._walk_left, key)
        self._walk_left -= count
        unpack = _LENGTH.unpack_from
        while count:
            # one chunk holds thousands of tokens: far quicker than a read for each
            chunk = self._stream.read(_CHUNK_BYTES)
            at, last = 0, len(chunk) - _LENGTH.size
            if last < 0:
                raise self.invalid(key, "the file ends inside an array of texts", "a whole file")
            while count and at <= last:
                at += _LENGTH.size + unpack(chunk, at)[0]
                count -= 1
            self._skip(at, key)

    def _skip_arrays(self, count: int, key: str, *, depth: int) -> None:
        if depth >= _MAX_DEPTH:
            raise self.invalid(key, "arrays within arrays without end", f"a depth of at most {_MAX_DEPTH}")
        self._require_elements(count, 12, self._nested_left, key)
        self._nested_left -= count
        for _ in range(count):
            kind, inner = self.u32(key), self.u64(key)
            if kind in _SCALARS:
                self._skip(inner * _SCALARS[kind][1].size, key)
            elif kind == _STRING:
                self._skip_texts(inner, key)
            elif kind == _ARRAY:
                self._skip_arrays(inner, key, depth=depth + 1)
            else:
                raise self.invalid(key, f"an array of unknown value type {kind}", "value types 0 to 12")
