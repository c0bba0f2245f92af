"""An architecture as one short word for links and command lines, and back: every shape, nothing lost.

`hidden_size.576~num_layers.30~mlp.geglu~conv_layers.0-4.6`: fields that are not at their default, joined by
"~", each with its values after dots. Letters that need no escaping in an address or a shell (RFC 3986,
section 2.3), but that a shell expands a "~" at the start of a word, where none ever stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from importlib import import_module
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
# Fields that are kinds of layers, written field by field: `mamba2.layers.0-27~mamba2.num_heads.48`.
_KINDS = {
    "mamba": "mamba.Mamba",
    "mamba2": "mamba.Mamba2",
    "delta_net": "delta_net.GatedDeltaNet",
    "latent_attention": "latent_attention.LatentAttention",
    "global_attention": "global_attention.GlobalAttention",
    "per_layer_inputs": "per_layer_inputs.PerLayerInputs",
    "shared_transformer": "shared_transformer.SharedTransformer",
}
_TEXT_FIELD = "model_type"
_TEXT = re.compile(r"[A-Za-z0-9_-]{1,60}")
_TYPES = {f.name: str(f.type) for f in fields(Architecture) if f.name != "name"}
_REQUIRED = tuple(f.name for f in fields(Architecture) if f.default is MISSING)


def shape_code(architecture: Architecture) -> str:
    """Encode an architecture as one word, without its name."""
    return "~".join(_parts(architecture, ""))


def architecture_of_code(code: str, name: str = "custom") -> Architecture:
    """Decode the architecture from a word of `shape_code`; InvalidArchitecture names what is wrong."""
    if len(code) > MAX_LETTERS:
        raise InvalidArchitecture(
            f"shape: {len(code)} letters are too many; accepted: {ACCEPTED}, at most {MAX_LETTERS} letters"
        )
    found: dict[str, Any] = {}
    of_kinds: dict[str, dict[str, Any]] = {}
    for part in code.split("~"):
        field, _, text = part.partition(".")
        if field in _KINDS:
            subfield, _, text = text.partition(".")
            _take(of_kinds.setdefault(field, {}), _kind_types(field), subfield, text)
        else:
            _take(found, _TYPES, field, text)
    for field, values in of_kinds.items():
        found[field] = _kind(field, values)
    if missing := [field for field in _REQUIRED if field not in found]:
        raise InvalidArchitecture(f"shape: {', '.join(missing)} missing; accepted: {ACCEPTED}")
    return Architecture(**found, name=name)


def _parts(shape: Any, prefix: str) -> Iterable[str]:
    """Yield "field.value" of every field that is not at its default, kinds of layers field by field."""
    for f in fields(shape):
        value = getattr(shape, f.name)
        if f.name == "name" or value == f.default:
            continue
        if f.name in _KINDS and is_dataclass(value):
            yield from _parts(value, f"{f.name}.")
        else:
            yield f"{prefix}{f.name}.{_word(value)}"


def _take(found: dict[str, Any], types: Mapping[str, str], field: str, text: str) -> None:
    """Add the value of a field, which must be one and not be there yet."""
    if field not in types or field in found:
        problem = "is given twice" if field in found else "is not a field"
        raise InvalidArchitecture(f"shape: {shown(field)} {problem}; accepted: {ACCEPTED}")
    found[field] = _value(types[field], field, text)


def _kind_class(field: str) -> Any:
    module, _, name = _KINDS[field].partition(".")
    return getattr(import_module(f"sizer.layers.{module}"), name)


def _kind_types(field: str) -> dict[str, str]:
    return {f.name: str(f.type) for f in fields(_kind_class(field))}


def _kind(field: str, values: dict[str, Any]) -> object:
    kind = _kind_class(field)
    missing = [f.name for f in fields(kind) if f.default is MISSING and f.name not in values]
    if missing:
        raise InvalidArchitecture(f"shape: {field}.{missing[0]} missing; accepted: {ACCEPTED}")
    return kind(**values)


def _word(value: object) -> str:
    match value:
        case bool():
            return str(int(value))
        case LayerSharing(strategy=strategy, repeat=repeat, ends=ends):
            return f"{strategy.value}.{repeat}" + (f".{ends}" if ends else "")
        case tuple():
            return ".".join(_runs(value))
        case _:
            return str(value)


def _runs(numbers: Sequence[int]) -> Iterable[str]:
    """Format numbers in order, three or more consecutive ones as "first-last"."""
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


def _value(kind: str, field: str, text: str) -> object:
    if field == _TEXT_FIELD:
        if not _TEXT.fullmatch(text):
            raise InvalidArchitecture(
                f"shape: {field} is {shown(text)}; accepted: letters, digits, - and _, at most 60"
            )
        return text
    if kind in _ENUMS:
        return parse_enum(_ENUMS[kind], text, field)
    if kind == "bool":
        if text not in ("0", "1"):
            raise InvalidArchitecture(f"shape: {field} is {shown(text)}; accepted: 0 or 1")
        return text == "1"
    if kind == "LayerSharing":
        strategy, _, numbers = text.partition(".")
        repeat, dot, ends = numbers.partition(".")
        return LayerSharing(
            strategy=parse_enum(SharingStrategy, strategy, field),
            repeat=_number(field, repeat),
            ends=_number(field, ends) if dot else 0,
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
