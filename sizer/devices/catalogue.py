"""Devices by name: the catalogue in data/devices.toml, device files, and this machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from sizer.devices.device import HOST, Device
from sizer.devices.device_table import parse_devices
from sizer.errors import InvalidQuantity, UnknownName
from sizer.units import parse_gib

_FILE_SUFFIX = ".toml"

_VARIANT_NAME = r"(.+)-(\d+(?:\.\d+)?)gb"
_BACKEND_NAME = r"(.+)@(cpu|gpu|npu)"

_DEVICES = Path(__file__).parents[1] / "data" / "devices.toml"


@cache
def load_devices() -> Mapping[str, Device]:
    """Return the catalogue by name, in the file's order."""
    return MappingProxyType(parse_devices(_DEVICES.read_text(encoding="utf-8"), _DEVICES.name))


@cache
def _single_device(name: str) -> Device | None:
    """Return the device with exactly that name from its part of the file; None without one.

    Parsing the whole catalogue takes longer than an estimate.
    """
    text = _DEVICES.read_text(encoding="utf-8")
    found = re.search(rf"^\[{re.escape(name)}\]$.*?(?=^\[|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    return None if found is None else parse_devices(found[0], _DEVICES.name)[name]


def asked_device(name: str | None, ram: str | None) -> Device:
    """Return a device by name, with the RAM that is asked for; InvalidQuantity for RAM of no device."""
    if name is None:
        raise InvalidQuantity(f"ram: {ram!r} is a part of a device; give a device with it")
    found = device(name)
    return found if ram is None else found.with_ram(parse_gib(ram, "ram"))


def device_name(name: str | None, ram: str | None, backend: str | None) -> str | None:
    """Return the one name of a device with the RAM and backend asked for, such as pixel-8a-8gb@gpu.

    `device` reads it again. InvalidQuantity for RAM or a backend of no device, or that it does not have.
    """
    if name is None and ram is None and backend is not None:
        raise InvalidQuantity(f"backend: {backend!r} is a part of a device; give a device with it")
    if ram is not None:
        found = asked_device(name, ram)
        if found.name == HOST or str(name).strip().lower().endswith(_FILE_SUFFIX):
            raise InvalidQuantity(f"ram: {name} states its own RAM; accepted: with a device of the catalogue")
        name = found.name
    if name is None or backend is None:
        return name
    kind = backend.strip().lower()
    device(name).with_backend(kind)
    return f"{name}@{kind}"


def name_parts(name: str) -> tuple[str, str | None, str | None]:
    """Return a device's name without RAM and backend, and both as `device_name` takes them.

    >>> name_parts("pixel-8a-8gb@gpu")
    ('pixel-8a', '8GB', 'gpu')
    """
    base, backend = name, None
    if on := re.fullmatch(_BACKEND_NAME, name):
        base, backend = on[1], on[2]
    variant = None if base in load_devices() else re.fullmatch(_VARIANT_NAME, base)
    return (base, None, backend) if variant is None else (variant[1], f"{variant[2]}GB", backend)


def devices_with(names: Iterable[str], ram: str | None, backend: str | None) -> list[Device]:
    """Return the devices of names and sets, each with the RAM and backend asked for."""
    found = [one for name in names for one in devices_named(name)]
    if not found and (ram is not None or backend is not None):
        device_name(None, ram, backend)
    if ram is not None:
        found = [one.with_ram(parse_gib(ram, "ram")) for one in found]
    return found if backend is None else [one.with_backend(backend.strip().lower()) for one in found]


def device(name: str) -> Device:
    """Return the device of that name or alias, ignoring case; "host" is this machine; else UnknownName.

    Words in another order or spelling do as well, if only one device can be meant ("M2 MacBook Air").

    "-4gb" after a name is its variant with that much RAM, InvalidQuantity where it is not sold with it; then
    "@cpu", "@gpu" or "@npu" is what engines are to run on.
    A name that ends in ".toml" is a device file, as `sizer calibrate` writes: see sizer.devices.device_file.
    """
    wanted = name.strip().lower()
    if on := re.fullmatch(_BACKEND_NAME, wanted):
        return device(name.strip()[: len(on[1])]).with_backend(on[2])
    if wanted.endswith(_FILE_SUFFIX):
        # imported on demand: every start would compile it
        from sizer.devices.device_file import read_device_file

        return read_device_file(Path(name.strip()))
    if wanted == HOST:
        return this_host()
    if (alone := _single_device(wanted)) is not None:
        return alone
    by_label = {
        label.lower(): found for found in load_devices().values() for label in (found.name, *found.aliases)
    }
    if wanted in by_label:
        return by_label[wanted]
    if variant := re.fullmatch(_VARIANT_NAME, wanted):
        label, gib = variant[1], float(variant[2])
        if label in by_label:
            return by_label[label].with_ram(gib)
    if (typed := _as_typed(wanted)) is not None:
        return typed
    raise _unknown(name, (*load_devices(), HOST))


def _unknown(name: str, known: Iterable[str]) -> UnknownName:
    """Return the error for a name of no device; the nearest of `known` are named."""
    number = len(load_devices())
    return UnknownName.of("device", name, known, all_of=f"{number} devices (sizer devices lists them)")


def _as_typed(name: str) -> Device | None:
    """Return the device that somebody means by words such as "Raspberry Pi 5 8GB"; None where none is meant.

    UnknownName where several are: a chip that several devices have.
    """
    # imported on demand: names are mostly the catalogue's own
    from sizer.devices.device_names import meant, readings

    known = load_devices().values()
    found, gib = next(
        ((some, gib) for text, gib in readings(name) if (some := meant(text, known))), ((), None)
    )
    if len(found) > 1:
        listed = ", ".join(one.name for one in found)
        raise UnknownName(f"device: {name!r} may be any of several; accepted: one of {listed}")
    if not found:
        return None
    return found[0] if gib is None else found[0].with_ram(gib)


def devices_named(name: str) -> tuple[Device, ...]:
    """Return the devices of a set such as "mid-range", else the one of that name; else UnknownName."""
    wanted = "-".join(name.lower().split())
    members = tuple(d for d in load_devices().values() if wanted in d.sets)
    if members:
        return members
    try:
        return (device(name),)
    except UnknownName:
        from difflib import get_close_matches

        sets = {one for d in load_devices().values() for one in d.sets}
        if get_close_matches(wanted, sets, cutoff=0.8):
            raise _unknown(name, sets) from None
        raise


def this_host() -> Device:
    """Return this machine: RAM, processor and memory bandwidth, measured once per process (< 0.3 s)."""
    # imported on demand: threads and ctypes would slow every start
    from sizer.devices.host import measure_host

    return measure_host()
