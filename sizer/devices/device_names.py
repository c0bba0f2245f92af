"""Names that people type for devices: words in any order and spelling, without the maker's name."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sizer.devices.device import Device

Key = tuple[str, ...]

# Words that name a maker or a line and tell no device from another.
_DROPPED = frozenset(
    (*("google", "apple", "nvidia", "amd", "intel", "xiaomi", "qualcomm", "raspberrypi"),
     *("geforce", "radeon", "core", "gpu", "phone", "smartphone", "with", "pc", "soc", "chip"),
     *("jetson", "gen", "generation", "nd", "rd", "th", "inch"))
)  # fmt: skip
_SAME_WORDS = {
    "+": "plus",
    "samsung": "galaxy",
    "rpi": "pi",
    "raspberry": "",
    "orangepi": "orange pi",
    "opi": "orange pi",
}
_WORD = re.compile(r"[a-z]+|[0-9]+(?:\.[0-9]+)?|\+")
_RAM = re.compile(r"(.+?)[\s_(-]*?(\d+(?:\.\d+)?)\s?gi?b\)?(?: (?:of )?(?:ram|memory|vram))?$")


def key(name: str) -> Key:
    """Return the words and numbers of a name, in order of the alphabet.

    >>> key("Samsung Galaxy S24+") == key("galaxy-s24-plus")
    True
    """
    spelled = " ".join(_SAME_WORDS.get(word, word) for word in _WORD.findall(name.lower()))
    words = _WORD.findall(spelled.replace("galaxy galaxy", "galaxy"))
    return tuple(sorted(word for word in words if word not in _DROPPED))


def split_ram(name: str) -> tuple[str, float] | None:
    """Return a name without the RAM at its end, and that RAM in GiB; None without one.

    >>> split_ram("Raspberry Pi 5 (8GB)")
    ('raspberry pi 5', 8.0)
    """
    found = _RAM.fullmatch(name.strip().lower())
    return None if found is None else (found[1].rstrip(" (-_"), float(found[2]))


def meant(name: str, devices: Iterable[Device]) -> tuple[Device, ...]:
    """Return the devices that a typed name means: by their names or aliases, else by title, else by chip."""
    wanted, known = key(name), [*devices]
    if not wanted:
        return ()
    for labels in (_names, _titles, _chips):
        if found := tuple(d for d in known if wanted in {key(label) for label in labels(d)}):
            return found
    return ()


def _names(device: Device) -> tuple[str, ...]:
    return (device.name, *device.aliases)


def _titles(device: Device) -> tuple[str, ...]:
    return (device.title.partition(" (")[0],)


def _chips(device: Device) -> tuple[str, ...]:
    return (device.soc,) if device.soc else ()
