"""Tables of devices as TOML: the catalogue's and those of device files."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from sizer.devices.device import FACT_FIELDS, HOST, Device, DeviceKind, Fact, PowerScope, RamVariants
from sizer.devices.profile import backend_name
from sizer.errors import InvalidFile

_NOT_WRITTEN = ("name", "profiles", "variant_of", *FACT_FIELDS)
_PLAIN_FIELDS = tuple(name for name in Device._fields if name not in _NOT_WRITTEN)


def parse_devices(text: str, origin: str) -> dict[str, Device]:
    """Parse devices from TOML text; InvalidFile names the table, key and what is accepted."""
    tables = toml_tables(text, origin)
    devices: dict[str, Device] = {}
    taken: dict[str, str] = {}
    for name, table in tables.items():
        found = parse_device(name, table, f"{origin}: {name}")
        for label in (name, *found.aliases):
            owner = taken.setdefault(label.lower(), name)
            if owner != name or label.lower() == HOST:
                raise InvalidFile(
                    f"{origin}: {name}: name {label!r} already belongs to {owner!r} or is reserved"
                )
        devices[name] = found
    return devices


def toml_tables(text: str, origin: str) -> dict[str, Any]:
    """Parse TOML text; InvalidFile where it is none."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:  # a number of many digits
        raise InvalidFile(f"{origin}: not valid TOML: {str(error)[:200]}") from None


def parse_device(name: str, table: Any, where: str) -> Device:
    """Parse the table of one device; InvalidFile names the key, the value and what is accepted."""
    if not isinstance(table, dict):
        raise InvalidFile(f"{where}: expected a table, got {table!r}")
    known = (*_PLAIN_FIELDS, *FACT_FIELDS)
    for key in table:
        if key not in known:
            raise InvalidFile(f"{where}: unknown key {key!r}; accepted: {', '.join(known)}")
    for key in ("title", "kind", "soc", "no_memory_limit"):
        default = None if key in ("title", "kind") else ""
        if not isinstance(table.get(key, default), str):
            raise InvalidFile(f"{where}: {key} must be text, got {table.get(key)!r}")
    aliases, sets, others = (_texts(table, key, where) for key in ("aliases", "sets", "other_backends"))
    for key in ("unified_memory", "fanless"):
        if not isinstance(table.get(key, False), bool):
            raise InvalidFile(f"{where}: {key} must be true or false, got {table[key]!r}")
    scope = table.get("load_power_scope")
    if ("load_power_watts" in table) != (scope is not None):
        raise InvalidFile(f"{where}: load_power_watts and load_power_scope belong together")
    known_facts: dict[str, Any] = {
        key: _parse_fact(table[key], f"{where}: {key}") for key in FACT_FIELDS if key in table
    }
    return Device(
        name=name,
        title=table["title"],
        kind=_member(DeviceKind, table["kind"], f"{where}: kind"),
        soc=table.get("soc"),
        backend=backend_name(table.get("backend", "cpu"), f"{where}: backend"),
        other_backends=tuple(backend_name(other, f"{where}: other_backends") for other in others),
        unified_memory=table.get("unified_memory", False),
        fanless=table.get("fanless", False),
        no_memory_limit=table.get("no_memory_limit"),
        ram_variants=_variants(table["ram_variants"], f"{where}: ram_variants")
        if "ram_variants" in table
        else None,
        aliases=aliases,
        sets=sets,
        load_power_scope=None if scope is None else _member(PowerScope, scope, f"{where}: load_power_scope"),
        **known_facts,
    )


def _texts(table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise InvalidFile(f"{where}: {key} must be a list of text, got {found!r}")
    return tuple(found)


_EnumT = TypeVar("_EnumT", bound=StrEnum)


def _member(kind: type[_EnumT], text: object, where: str) -> _EnumT:
    for member in kind:
        if member.value == text:
            return member
    raise InvalidFile(f"{where}: unknown value {text!r}; accepted: {', '.join(m.value for m in kind)}")


def _parse_fact(table: Any, where: str) -> Fact:
    keys = set(table) if isinstance(table, dict) else set()
    if keys != {"value", "source", "date"}:
        raise InvalidFile(f"{where}: needs exactly value, source and date, got {table!r}")
    value, source, date = table["value"], table["source"], table["date"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e18:
        raise InvalidFile(f"{where}: value must be a number above 0, got {value!r}")
    for key, text in (("source", source), ("date", date)):
        if not isinstance(text, str) or not text.strip():
            raise InvalidFile(f"{where}: {key} must be text, got {text!r}")
    return Fact(value, source, date)


def _variants(table: Any, where: str) -> RamVariants:
    sizes = table.get("gib") if isinstance(table, dict) else None
    if not isinstance(sizes, list) or not sizes or set(table) != {"gib", "source", "date"}:
        raise InvalidFile(f"{where}: needs exactly gib (a list), source and date, got {table!r}")
    rest = {"source": table["source"], "date": table["date"]}
    facts = [_parse_fact({"value": size, **rest}, where) for size in sizes]
    return RamVariants(tuple(sorted(fact.value for fact in facts)), facts[0].source, facts[0].date)
