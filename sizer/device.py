"""Device: what is known about a phone, board, laptop or browser; every number with its source and date."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum, unique
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from sizer.errors import InvalidFile, UnknownName
from sizer.profile import Profile, backend_name, measured_profile
from sizer.units import format_bytes_binary

HOST = "host"

# PocketPal budgets 0.65 of a phone's RAM for a model (a-ghorbani/pocketpal-ai#250); used wherever no limit
# for one app is known, as nothing better is published for boards and laptops.
RAM_SHARE = 0.65

_FILE_SUFFIX = ".toml"
_FILE_BYTES = 1_000_000
_FILE_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"

_DEVICES = Path(__file__).parent / "data" / "devices.toml"


@unique
class DeviceKind(StrEnum):
    """What sort of thing a device is."""

    PHONE = "phone"
    TABLET = "tablet"
    BOARD = "board"
    LAPTOP = "laptop"
    DESKTOP = "desktop"
    BROWSER = "browser"


@unique
class PowerScope(StrEnum):
    """Where a power was measured: into the board or chip, or at the wall with the supply's losses."""

    BOARD = "board"
    WALL = "wall"


class Fact(NamedTuple):
    """One number about a device, where it was read and when (the source's date, else the day of reading)."""

    value: float
    source: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device by name; a fact that is None is unknown, never guessed.

    Sheet figures (`bandwidth_theoretical_bytes_per_s`) and measured ones are kept apart.
    """

    name: str
    title: str
    kind: DeviceKind
    soc: str | None = None
    backend: str = "cpu"  # where a model runs, unless a profile of the runtime says otherwise
    aliases: tuple[str, ...] = ()
    profiles: tuple[Profile, ...] = ()  # of a device file; the catalogue's are in data/profiles.toml
    ram_bytes: Fact | None = None  # of a graphics card: its own memory
    app_memory_bytes: Fact | None = None
    app_memory_entitled_bytes: Fact | None = None  # iOS, with the increased-memory-limit entitlement
    gpu_buffer_bytes: Fact | None = None  # WebGPU: largest buffer without asking for more
    bandwidth_theoretical_bytes_per_s: Fact | None = None
    bandwidth_measured_bytes_per_s: Fact | None = None
    storage_read_bytes_per_s: Fact | None = None
    sustained_speed_share: Fact | None = None  # decoding speed when hot, against that of the first tokens
    cache_bytes: Fact | None = None
    f32_ops_per_s: Fact | None = None
    f16_ops_per_s: Fact | None = None
    int8_ops_per_s: Fact | None = None
    int4_ops_per_s: Fact | None = None
    battery_joules: Fact | None = None
    load_power_watts: Fact | None = None
    load_power_scope: PowerScope | None = None

    @property
    def memory_budget_bytes(self) -> int | None:
        """Bytes one application may hold: its limit if known, else a share of the RAM, else None."""
        if self.app_memory_bytes is not None:
            return int(self.app_memory_bytes.value)
        if self.ram_bytes is None:
            return None
        return int(RAM_SHARE * self.ram_bytes.value)

    @property
    def bandwidth_bytes_per_s(self) -> Fact | None:
        """Bytes per second memory gives: the measured figure if known, else the sheet's."""
        return self.bandwidth_measured_bytes_per_s or self.bandwidth_theoretical_bytes_per_s

    @property
    def assumptions(self) -> tuple[str, ...]:
        """How the memory budget was found, in words."""
        budget = self.memory_budget_bytes
        if budget is None:
            return (f"{self.name}: no RAM or app limit known, so no memory budget",)
        size = format_bytes_binary(budget)
        if self.app_memory_bytes is not None:
            return (f"{self.name}: one app may hold {size} ({self.app_memory_bytes.source})", *self._heat)
        assert self.ram_bytes is not None
        ram = format_bytes_binary(self.ram_bytes.value)
        return (
            f"{self.name}: {size}, {RAM_SHARE:.0%} of {ram} RAM, is taken as usable "
            "by one app (PocketPal's share); no app limit is known",
            *self._heat,
        )

    @property
    def _heat(self) -> tuple[str, ...]:
        share = self.sustained_speed_share
        if share is None:
            return ()
        return (f"{self.name}: speeds are of the first tokens; when hot, {share.value:.0%} ({share.source})",)

    @property
    def facts(self) -> Mapping[str, Fact]:
        """Every known number by field name."""
        return {f.name: fact for f in fields(self) if isinstance(fact := getattr(self, f.name), Fact)}


_FACT_FIELDS = tuple(f.name for f in fields(Device) if f.type == "Fact | None")
_PLAIN_FIELDS = tuple(f.name for f in fields(Device) if f.name not in ("name", "profiles", *_FACT_FIELDS))


@cache
def load_devices() -> Mapping[str, Device]:
    """The catalogue by name, in the file's order."""
    return MappingProxyType(parse_devices(_DEVICES.read_text(encoding="utf-8"), _DEVICES.name))


def parse_devices(text: str, origin: str) -> dict[str, Device]:
    """Devices from TOML text; InvalidFile names the table, key and what is accepted."""
    tables = _toml(text, origin)
    devices: dict[str, Device] = {}
    taken: dict[str, str] = {}
    for name, table in tables.items():
        found = _parse_device(name, table, f"{origin}: {name}")
        for label in (name, *found.aliases):
            owner = taken.setdefault(label.lower(), name)
            if owner != name or label.lower() == HOST:
                raise InvalidFile(
                    f"{origin}: {name}: name {label!r} already belongs to {owner!r} or is reserved"
                )
        devices[name] = found
    return devices


def _toml(text: str, origin: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidFile(f"{origin}: not valid TOML: {error}") from None


def _parse_device(name: str, table: Any, where: str) -> Device:
    if not isinstance(table, dict):
        raise InvalidFile(f"{where}: expected a table, got {table!r}")
    known = (*_PLAIN_FIELDS, *_FACT_FIELDS)
    for key in table:
        if key not in known:
            raise InvalidFile(f"{where}: unknown key {key!r}; accepted: {', '.join(known)}")
    for key in ("title", "kind"):
        if not isinstance(table.get(key), str):
            raise InvalidFile(f"{where}: {key} must be text, got {table.get(key)!r}")
    aliases = table.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise InvalidFile(f"{where}: aliases must be a list of text, got {aliases!r}")
    soc = table.get("soc")
    if soc is not None and not isinstance(soc, str):
        raise InvalidFile(f"{where}: soc must be text, got {soc!r}")
    scope = table.get("load_power_scope")
    if ("load_power_watts" in table) != (scope is not None):
        raise InvalidFile(f"{where}: load_power_watts and load_power_scope belong together")
    known_facts: dict[str, Any] = {
        key: _parse_fact(table[key], f"{where}: {key}") for key in _FACT_FIELDS if key in table
    }
    return Device(
        name=name,
        title=table["title"],
        kind=_member(DeviceKind, table["kind"], f"{where}: kind"),
        soc=soc,
        backend=backend_name(table.get("backend", "cpu"), f"{where}: backend"),
        aliases=tuple(aliases),
        load_power_scope=None if scope is None else _member(PowerScope, scope, f"{where}: load_power_scope"),
        **known_facts,
    )


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


@cache
def _device_alone(name: str) -> Device | None:
    """The device whose table has exactly that name, from its part of the file; None if there is none.

    One table instead of all: reading the whole catalogue takes longer than an estimate.
    """
    text = _DEVICES.read_text(encoding="utf-8")
    found = re.search(rf"^\[{re.escape(name)}\]$.*?(?=^\[|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    return None if found is None else parse_devices(found[0], _DEVICES.name)[name]


def device(name: str) -> Device:
    """The device of that name or alias, ignoring case; "host" is this machine; else UnknownName.

    A name that ends in ".toml" is a device file of one's own, as `sizer calibrate` writes: see parse_file.
    """
    wanted = name.strip().lower()
    if wanted.endswith(_FILE_SUFFIX):
        return _device_file(Path(name.strip()))
    if wanted == HOST:
        return this_host()
    if (alone := _device_alone(wanted)) is not None:
        return alone
    by_label = {
        label.lower(): found for found in load_devices().values() for label in (found.name, *found.aliases)
    }
    if wanted not in by_label:
        raise UnknownName.of("device", name, (*load_devices(), HOST))
    return by_label[wanted]


def _device_file(path: Path) -> Device:
    if not path.is_file():
        raise InvalidFile(f"{path.name}: no such device file")
    if path.stat().st_size > _FILE_BYTES:
        raise InvalidFile(f"{path.name}: larger than {_FILE_BYTES} bytes, not a device file")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFile(f"{path.name}: cannot be read: {error}") from None
    return parse_file(text, path.name)


def parse_file(text: str, origin: str) -> Device:
    """A device from the text of a device file: one [device] table and any number of [[profile]] tables.

    [device] has the catalogue's keys and `name`; a profile has the fields of sizer.profile.Profile (no basis:
    it is measured), and `source` and `date` of what was run.
    """
    tables = _toml(text, origin)
    for key in tables:
        if key not in ("device", "profile"):
            raise InvalidFile(f"{origin}: unknown table {key!r}; accepted: device, profile")
    table = tables.get("device")
    name = table.get("name") if isinstance(table, dict) else None
    if not isinstance(table, dict) or not isinstance(name, str) or not re.fullmatch(_FILE_NAME, name):
        raise InvalidFile(
            f"{origin}: device: needs a name of letters, digits, '.', '_' and '-', got {name!r}"
        )
    if name.lower() == HOST:
        raise InvalidFile(f"{origin}: device: name {name!r} is reserved")
    found = _parse_device(name, {k: v for k, v in table.items() if k != "name"}, f"{origin}: device")
    rows = tables.get("profile", [])
    if not isinstance(rows, list):
        raise InvalidFile(f"{origin}: profile: expected [[profile]] tables, got {rows!r}")
    profiles: dict[tuple[str, str], Profile] = {}
    for number, row in enumerate(rows, start=1):
        profile = measured_profile(row, found.backend, f"{origin}: profile {number}")
        runtime_on = (profile.runtime, profile.backend)
        if profiles.setdefault(runtime_on, profile) is not profile:
            raise InvalidFile(f"{origin}: profile {number}: a second one of {' on '.join(runtime_on)}")
    return replace(found, profiles=tuple(profiles.values()))


def this_host() -> Device:
    """This machine: RAM, processor and memory bandwidth, the latter measured once per process (< 0.3 s)."""
    # loaded when asked for: measuring needs threads and ctypes, which would slow every start
    from sizer.host import measure_host

    return measure_host()
