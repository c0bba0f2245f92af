"""GGUF models in several files: all parts that lie in one folder as one header, and which are missing.

Names as llama-gguf-split writes them: NAME-00001-of-00003.gguf; the keys split.no (from 0), split.count and
split.tensors.count are in every part, all other keys only in the first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from sizer.errors import InvalidFile
from sizer.readers.file_tensor import MAX_TENSORS
from sizer.readers.gguf_header import GgufHeader, read_gguf
from sizer.readers.regular_file import exists

_NAME = re.compile(
    r"(?P<start>.*-)(?P<number>\d{5})(?P<of>-of-)(?P<count>\d{5})(?P<end>\.gguf)", re.IGNORECASE
)
# More than known models have (hundreds of GB in parts of 50 GB).
_MAX_PARTS = 1000
_MAX_ALL_HEADERS_BYTES = 64 * 2**20
_NUMBER, _COUNT = "split.no", "split.count"


def read_gguf_set(path: Path) -> GgufHeader:
    """Read the header of a GGUF file, or of all parts of its model that lie in the same folder."""
    header = read_gguf(path)
    names = part_names(header)
    if not names:
        return header
    if names[_number(header)] != path.name:
        raise InvalidFile(
            f"{_NUMBER}: {_number(header)} in {str(path)!r}; "
            "accepted: the number in the file's name, less one"
        )
    parts = [header]
    for name in names:
        if name != path.name and exists(path.parent / name):
            part = read_gguf(path.parent / name)
            _require_same_set(part, header, names)
            parts.append(part)
            if sum(p.header_bytes for p in parts) > _MAX_ALL_HEADERS_BYTES:
                raise InvalidFile(
                    f"{_COUNT}: the headers of the parts of {str(path)!r} are too long; "
                    f"accepted: {_MAX_ALL_HEADERS_BYTES} bytes in all"
                )
    return _merged(header, sorted(parts, key=_number))


def part_names(header: GgufHeader) -> tuple[str, ...]:
    """Return the file names of all parts of a split model; none for a whole one or another kind of name."""
    found = _NAME.fullmatch(header.path.name)
    count = header.split_count
    if found is None or not 1 < count <= _MAX_PARTS or int(found["count"]) != count:
        return ()
    if not 0 <= _number(header) < count:
        return ()
    of = f"{found['of']}{found['count']}{found['end']}"
    return tuple(f"{found['start']}{number:05}{of}" for number in range(1, count + 1))


def missing_parts(header: GgufHeader) -> tuple[str, ...]:
    """Return the names of the parts that were not found, empty where no names are known."""
    return tuple(name for name in part_names(header) if name not in header.files)


def missing_text(header: GgufHeader) -> str:
    """Return the parts that were not found as the end of a sentence; at most three are named."""
    if not part_names(header) and (header.split_count or 1) > 1:
        return f" under names such as MODEL-00001-of-{header.split_count:05}.gguf"
    missing = missing_parts(header)
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    return f" (missing: {', '.join(missing[:3])}{more})" if missing else ""


def gguf_in_folder(folder: Path) -> Path | None:
    """Return the one GGUF model of a folder, or its first part; None without any, InvalidFile for several.

    Projectors, which lie in the folder of the model that they belong to, are not counted.
    """
    files = sorted(islice(folder.glob("*.[gG][gG][uU][fF]"), _MAX_PARTS), key=lambda file: file.name)
    files = [file for file in files if "mmproj" not in file.name.lower()] or files
    models = {found["start"] if (found := _NAME.fullmatch(file.name)) else file.name for file in files}
    if len(models) > 1:
        raise InvalidFile(
            f"model: {str(folder)!r} holds {len(files)} GGUF files; accepted: one of them, such as "
            f"{files[0].name!r}"
        )
    return files[0] if files else None


def _number(header: GgufHeader) -> int:
    value = header.metadata.get(_NUMBER)
    return value if type(value) is int else -1


def _require_same_set(part: GgufHeader, header: GgufHeader, names: Sequence[str]) -> None:
    number = _number(part)
    expected = names[number] if 0 <= number < len(names) else None
    if part.split_count != header.split_count or expected != part.path.name:
        raise InvalidFile(
            f"{_NUMBER}: part {number} of {part.split_count} in {str(part.path)!r}; "
            f"accepted: the number in its name, less one, of {header.split_count}"
        )


def _merged(opened: GgufHeader, parts: Sequence[GgufHeader]) -> GgufHeader:
    """Return one header with the tensors of all parts; keys of the first part found."""
    tensors = tuple(tensor for part in parts for tensor in part.tensors)
    if len(tensors) > MAX_TENSORS or len({tensor.name for tensor in tensors}) < len(tensors):
        raise InvalidFile(
            f"{_COUNT}: the parts of {str(opened.path)!r} hold {len(tensors)} tensors; "
            f"accepted: at most {MAX_TENSORS}, each in one part"
        )
    return replace(
        opened,
        file_bytes=sum(part.file_bytes for part in parts),
        header_bytes=sum(part.header_bytes for part in parts),
        metadata=parts[0].metadata,
        tensors=tensors,
        files=tuple(part.path.name for part in parts),
    )
