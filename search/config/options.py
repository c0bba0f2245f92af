"""Options of `sizer search run`, one for each field of a search; also accepted as keys of its TOML file.

Each field has an option, of its name unless it declares another; two fields of one are the ends of a range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass
from typing import Any

from search.config.config import TABLES
from search.config.fields import accepted, holds_several
from sizer.errors import InvalidQuantity
from sizer.units import format_bytes, parse_bytes, parse_tokens

# Further devices are given as the first is.
_OF_DEVICE = "other_devices"
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOption:
    """One option: the fields that it sets, and what it is for."""

    name: str  # without dashes in front
    table: str
    fields: tuple[Field[Any], ...]

    @property
    def key(self) -> str:
        """Its name in a TOML file and as a parameter."""
        return self.name.replace("-", "_")

    @property
    def is_range(self) -> bool:
        """True if it sets the ends of a range."""
        return len(self.fields) == 2

    @property
    def is_list(self) -> bool:
        """True if it takes several values, separated by commas or given again."""
        return self.key == "device" or holds_several(self.fields[0])

    @property
    def is_flag(self) -> bool:
        """True if it is on or off."""
        return str(self.fields[0].type) == "bool"

    @property
    def help(self) -> str:
        """What it is for, what it accepts and its default, in one sentence."""
        first = self.fields[0]
        limits = accepted(first)
        about = limits.help.replace("`", "").replace('"', "")
        about = about.split(", before")[0] if self.is_range else about
        if self.is_range:
            about = "range LOW:HIGH, " + about.removeprefix("smallest ")
        if self.key == "device":
            about += "; given again for several, on all of which the limits hold"
        choices = f": {', '.join(map(str, limits.choices))}" if limits.choices else ""
        defaults = [_shown(one.name, one.default) for one in self.fields]
        default = ":".join(defaults)
        return f"{about[0].upper()}{about[1:]}{choices}.{f' [{default}]' if default else ''}"


def _shown(name: str, default: Any) -> str:
    """Return a default as a person would type it; empty where there is none."""
    if default is None:
        return ""
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, tuple):
        return ",".join(_shown(name, value) for value in default)
    if name.endswith("_bytes"):
        return format_bytes(default).replace(" ", "")
    return f"{default:g}" if isinstance(default, float) else str(default)


def _options() -> Mapping[str, SearchOption]:
    found: dict[str, SearchOption] = {}
    for table, names in TABLES.items():
        for name, one in names.items():
            if name == _OF_DEVICE:
                continue
            option = accepted(one).option or name.replace("_", "-")
            before = found[option].fields if option in found else ()
            found[option] = SearchOption(name=option, table=table, fields=(*before, one))
    return {option.key: option for option in found.values()}


OPTIONS: Mapping[str, SearchOption] = _options()


def values_of(option: SearchOption, given: Any) -> dict[str, Any]:
    """Return the fields that an option sets, from its text (or texts) or from a value of a TOML file."""
    texts = [str(v) for v in given] if isinstance(given, list | tuple) else [str(given)]
    if option.is_range:
        return _range(option, texts)
    if option.is_list:
        parts = [part.strip() for text in texts for part in text.split(",") if part.strip()]
        if option.key == "device":
            return {"device": parts[0] if parts else "", _OF_DEVICE: tuple(parts[1:])}
        one = option.fields[0]
        kind = str(one.type).removeprefix("tuple[").split(",")[0]
        return {one.name: tuple(_read(option.name, kind, part) for part in parts)}
    one = option.fields[0]
    if len(texts) != 1:
        raise InvalidQuantity(f"{option.name}: takes one value, got {', '.join(texts)}")
    if one.name.endswith("_bytes"):
        return {one.name: parse_bytes(texts[0], option.name)}
    if one.name == "context_tokens":
        return {one.name: parse_tokens(texts[0], option.name)}
    return {one.name: _read(option.name, str(one.type).split(" | ")[0], texts[0])}


def words_of(values: Mapping[str, Any]) -> list[str]:
    """Return the options of `sizer search run` that set the given fields, one word each.

    >>> words_of({"formats": ("Q4_0", "Q8_0"), "max_executed_layers": 48, "keep_finalists": False})
    ['--format=Q4_0,Q8_0', '--layers=:48', '--no-keep-finalists']
    """
    words = []
    for option in OPTIONS.values():
        texts = [_word(values[one.name]) if one.name in values else "" for one in option.fields]
        if not any(texts):
            continue
        if option.is_flag:
            words.append(f"--{'no-' * (not values[option.fields[0].name])}{option.name}")
        else:
            words.append(f"--{option.name}={':'.join(texts)}")
    return words


def _word(value: Any) -> str:
    """Return a field's value as its option takes it, without rounding; empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(map(_word, value))
    return str(value).removesuffix(".0")


def _range(option: SearchOption, texts: Sequence[str]) -> dict[str, Any]:
    low, _, high = texts[0].partition(":")
    ends = (low, high if ":" in texts[0] else low)
    if len(texts) != 1 or not any(ends):
        raise InvalidQuantity(f"{option.name}: cannot read {texts[0][:80]!r}; accepted: LOW:HIGH")
    return {
        one.name: _read(option.name, str(one.type), end.strip())
        for one, end in zip(option.fields, ends, strict=True)
        if end.strip()
    }


def _read(name: str, kind: str, text: str) -> Any:
    """Return one value of a field's kind; InvalidQuantity names the option."""
    if kind == "str":
        return text
    if kind == "bool":
        if text.lower() in (*_TRUE, *_FALSE):
            return text.lower() in _TRUE
        raise InvalidQuantity(f"{name}: must be true or false, got {text[:80]!r}")
    try:
        return int(text) if kind == "int" else float(text)
    except ValueError:
        wanted = "whole numbers" if kind == "int" else "numbers"
        raise InvalidQuantity(f"{name}: cannot read {text[:80]!r}; accepted: {wanted}") from None
