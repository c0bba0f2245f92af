"""Fields that state what they accept: checks, error texts, reading of plain values and documentation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from enum import StrEnum
from typing import Any

from sizer.architecture import parse_enum
from sizer.errors import InvalidQuantity, UnknownName, shown
from sizer.units import parse_bytes, parse_tokens

_ANY: Any = object()
_KEY = "accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldLimits:
    """Numbers that a field accepts: from `low` (itself excluded if `above` is set) to `high`."""

    low: float
    high: float = math.inf
    whole: bool = False
    above: bool = False
    multiple_of: float | None = None

    def accept(self, value: object) -> bool:
        """Return whether the value is within the limits."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        if self.multiple_of is not None and value % self.multiple_of:
            return False
        above_low = self.low < value if self.above else self.low <= value
        return above_low and value <= self.high and math.isfinite(value)

    def check(self, name: str, value: object) -> None:
        """Raise InvalidQuantity, naming the field, for a value outside the limits."""
        if not self.accept(value):
            raise InvalidQuantity(f"{name}: must be {self.text}, got {shown(value)}")

    @property
    def text(self) -> str:
        """The numbers accepted, in words."""
        kind = "whole number" if self.whole else "number"
        if self.multiple_of is not None:
            kind = f"multiple of {self.multiple_of:g}"
        if not self.above:
            return f"a {kind} from {self.low:.15g} to {self.high:.15g}"
        return f"a {kind} above {self.low:g}" + (
            "" if self.high == math.inf else f" and at most {self.high:g}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What a field is for and which values it accepts; of a tuple, which values each element may have."""

    help: str
    limits: FieldLimits | None = None
    choices: type[StrEnum] | tuple[str, ...] | None = None
    before: Any = _ANY  # value in studies stored before the field existed, where it is not the default
    option: str | None = None  # of the command line, where it is not the field's name
    may_be_empty: bool = False  # of a tuple


POSITIVE = FieldLimits(low=0, above=True)


def whole(low: int, high: int) -> FieldLimits:
    """Return limits of a whole number."""
    return FieldLimits(low=low, high=high, whole=True)


def setting(
    default: Any,
    help: str,
    limits: FieldLimits | None = None,
    *,
    choices: type[StrEnum] | tuple[str, ...] | None = None,
    before: Any = _ANY,
    option: str | None = None,
    may_be_empty: bool = False,
) -> Any:
    """Return a dataclass field with its default, its help text and the values it accepts."""
    accepted = Accepted(
        help=help, limits=limits, choices=choices, before=before, option=option, may_be_empty=may_be_empty
    )
    return field(default=default, metadata={_KEY: accepted})


def accepted(one: Field[Any]) -> Accepted:
    """Return what a field made by `setting` accepts."""
    found: Accepted = one.metadata[_KEY]
    return found


def check_fields(settings: Any) -> None:
    """Raise a SizerError for a field whose value is not accepted, or for a `min_` above its `max_`."""
    for one in fields(settings):
        value = getattr(settings, one.name)
        if isinstance(value, tuple) and not value and not accepted(one).may_be_empty:
            raise InvalidQuantity(f"{one.name}: must name at least one")
        for element in value if isinstance(value, tuple) else (value,):
            _check(one, element)
    for one in fields(settings):
        if one.name.startswith("min_") and hasattr(settings, most := f"max_{one.name[4:]}"):
            low, high = getattr(settings, one.name), getattr(settings, most)
            if low > high:
                raise InvalidQuantity(f"{one.name}: must not exceed {most}, got {low} and {high}")


def _check(one: Field[Any], value: Any) -> None:
    allowed = accepted(one)
    if value is None:
        return
    if allowed.limits is not None:
        allowed.limits.check(one.name, value)
    if isinstance(allowed.choices, tuple):
        if value not in allowed.choices:
            raise UnknownName.of(one.name, value, allowed.choices)
    elif allowed.choices is not None:
        parse_enum(allowed.choices, str(value), one.name)
    elif str(one.type) == "tuple[bool, ...]" and not isinstance(value, bool):
        raise InvalidQuantity(f"{one.name}: must be true or false, got {shown(value)}")


def read_value(one: Field[Any], value: Any) -> Any:
    """Return a plain TOML or JSON value as its field holds it: lists as tuples, text as bytes or tokens."""
    if one.name.endswith("_bytes") and isinstance(value, str):
        return parse_bytes(value, one.name)
    if one.name == "context_tokens" and isinstance(value, str):
        return parse_tokens(value, one.name)
    if holds_several(one):
        if isinstance(value, int | float) and not isinstance(value, bool):
            return (value,)
        if not isinstance(value, list | tuple):
            raise InvalidQuantity(f"{one.name}: must be a list, got {shown(value)}")
        return tuple(value)
    kinds = _kinds(str(one.type))
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise InvalidQuantity(f"{one.name}: must be {one.type}, got {shown(value)}")
    return value


def holds_several(one: Field[Any]) -> bool:
    """Return whether a field is a tuple of values; a number alone is read as a tuple of one."""
    return str(one.type).startswith("tuple")


def _kinds(annotation: str) -> tuple[type, ...]:
    names = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,), "None": (type(None),)}
    return tuple(kind for part in annotation.split(" | ") for kind in names[part])


def values_before(all_fields: Iterable[Field[Any]]) -> Mapping[str, Any]:
    """Return what fields younger than some stored studies were before they existed."""
    return {one.name: accepted(one).before for one in all_fields if accepted(one).before is not _ANY}
