"""An architecture as one short word for links and command lines, and back: every shape, nothing lost.

`hidden_size.576~num_layers.30~mlp.geglu~conv_layers.0-4.6`: fields that are not at their default, joined by
"~", each with its values after dots. Letters that need no escaping in an address or a shell (RFC 3986,
section 2.3), but that a shell expands a "~" at the start of a word, where none ever stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, fields
from enum import StrEnum
from typing import Any

from sizer.architecture import (
    MAX_LAYERS,
    Architecture,
    BlockNorms,
    LayerSharing,
    MlpKind,
    NormKind,
    PositionKind,
    SharingStrategy,
    parse_enum,
)
from sizer.errors import InvalidArchitecture, shown

PREFIX = "shape:"
ACCEPTED = "field.value joined by ~, such as hidden_size.576~num_layers.30"

# The longest of the catalogue's models takes about 600 letters.
MAX_LETTERS = 20_000
_DIGITS = 12
_ENUMS: dict[str, type[StrEnum]] = {
    "MlpKind": MlpKind,
    "NormKind": NormKind,
    "PositionKind": PositionKind,
    "BlockNorms": BlockNorms,
}
_TYPES = {f.name: str(f.type) for f in fields(Architecture) if f.name != "name"}
_REQUIRED = tuple(f.name for f in fields(Architecture) if f.default is MISSING)


def shape_code(architecture: Architecture) -> str:
    """The architecture as one word, its name left out."""
    parts = []
    for f in fields(Architecture):
        value = getattr(architecture, f.name)
        if f.name != "name" and value != f.default:
            parts.append(f"{f.name}.{_word(value)}")
    return "~".join(parts)


def architecture_of_code(code: str, name: str = "custom") -> Architecture:
    """The architecture that a word of `shape_code` says; InvalidArchitecture says what is wrong with it."""
    if len(code) > MAX_LETTERS:
        raise InvalidArchitecture(
            f"shape: {len(code)} letters are too many; accepted: {ACCEPTED}, at most {MAX_LETTERS} letters"
        )
    found: dict[str, Any] = {}
    for part in code.split("~"):
        field, _, text = part.partition(".")
        if field not in _TYPES or field in found:
            told = "stands twice" if field in found else "is no field"
            raise InvalidArchitecture(f"shape: {shown(field)} {told}; accepted: {ACCEPTED}")
        found[field] = _value(field, text)
    if missing := [field for field in _REQUIRED if field not in found]:
        raise InvalidArchitecture(f"shape: {', '.join(missing)} missing; accepted: {ACCEPTED}")
    return Architecture(**found, name=name)


def _word(value: object) -> str:
    match value:
        case bool():
            return str(int(value))
        case LayerSharing(strategy=strategy, repeat=repeat):
            return f"{strategy.value}.{repeat}"
        case tuple():
            return ".".join(_runs(value))
        case _:
            return str(value)


def _runs(numbers: Sequence[int]) -> Iterable[str]:
    """Numbers in their order, three or more that follow each other as "first-last"."""
    start = 0
    while start < len(numbers):
        end = start + 1
        while end < len(numbers) and numbers[end] == numbers[end - 1] + 1:
            end += 1
        if end - start > 2:
            yield f"{numbers[start]}-{numbers[end - 1]}"
        else:
            yield from map(str, numbers[start:end])
        start = end


def _value(field: str, text: str) -> object:
    kind = _TYPES[field]
    if kind in _ENUMS:
        return parse_enum(_ENUMS[kind], text, field)
    if kind == "bool":
        if text not in ("0", "1"):
            raise InvalidArchitecture(f"shape: {field} is {shown(text)}; accepted: 0 or 1")
        return text == "1"
    if kind == "LayerSharing":
        strategy, _, repeat = text.partition(".")
        return LayerSharing(
            strategy=parse_enum(SharingStrategy, strategy, field), repeat=_number(field, repeat)
        )
    if kind.startswith("tuple"):
        return tuple(_numbers(field, text))
    return _number(field, text)


def _number(field: str, text: str) -> int:
    if not re.fullmatch(rf"[0-9]{{1,{_DIGITS}}}", text):
        raise InvalidArchitecture(f"shape: {field} is {shown(text)}; accepted: a whole number")
    return int(text)


def _numbers(field: str, text: str) -> Iterable[int]:
    count = 0
    for part in text.split("."):
        first, dash, last = part.partition("-")
        start = _number(field, first)
        run = range(start, (_number(field, last) if dash else start) + 1)
        count += len(run)
        if not run or count > MAX_LAYERS:
            raise InvalidArchitecture(
                f"shape: {field} has {shown(part)}; accepted: up to {MAX_LAYERS} numbers"
            )
        yield from run
