"""Names that people type for devices: words in any order and spelling, without the maker's name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from sizer.devices.device import Device

Key = tuple[str, ...]

# Words that name a maker or a line and tell no device from another.
_DROPPED = frozenset(
    (*("google", "apple", "nvidia", "amd", "intel", "xiaomi", "qualcomm", "raspberrypi"),
     *("geforce", "radeon", "core", "gpu", "phone", "smartphone", "with", "pc", "soc", "chip"),
     *("jetson", "gen", "generation", "nd", "rd", "th", "inch", "class", "rtx", "gtx", "rx"))
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
_YEAR = re.compile(r"20[12]\d")
_WHAT = re.compile(r"(?:laptop|desktop|pc|phone|board|computer)(?:,| with(?: an?)?) ")
_BRACKETS = re.compile(r"\s*\(([^()]*)\)")
_CARD = re.compile(r"\b(?:nvidia|geforce|rtx|gtx|radeon|rx|arc|quadro|tesla)\b")
_CORES = re.compile(r",?\s*\b\d+[- ](?:[cg]pu )?cores?\b(?: [cg]pu)?")
_RAM_INSIDE = re.compile(
    r",?\s*(?:\s-\s*)?\b(\d+(?:\.\d+)?)\s?gi?b\b(?: (?:of )?(?:ram|memory|vram|lpddr\w*|ddr\w*)\S*)?"
)
_RAM = re.compile(r"(.+?)[\s_(-]*?(\d+(?:\.\d+)?)\s?gi?b\)?(?: (?:of )?(?:ram|memory|vram))?$")


def key(name: str) -> Key:
    """Return the words and numbers of a name, in order of the alphabet.

    >>> key("Samsung Galaxy S24+") == key("galaxy-s24-plus")
    True
    """
    spelled = " ".join(_SAME_WORDS.get(word, word) for word in _WORD.findall(name.lower()))
    words = _WORD.findall(spelled.replace("galaxy galaxy", "galaxy"))
    return tuple(sorted(word for word in words if word not in _DROPPED and not _YEAR.fullmatch(word)))


def split_ram(name: str) -> tuple[str, float] | None:
    """Return a name without the RAM at its end, and that RAM in GiB; None without one.

    >>> split_ram("Raspberry Pi 5 (8GB)")
    ('raspberry pi 5', 8.0)
    """
    found = _RAM.fullmatch(name.strip().lower())
    return None if found is None else (found[1].rstrip(" (-_"), float(found[2]))


def readings(name: str) -> Iterator[tuple[str, float | None]]:
    """Yield what a typed name may mean, the likeliest first, each with its RAM in GiB where it has one.

    As it stands; without RAM at its end; of a PC with a card in brackets, the card alone; else without
    numbers of cores and RAM, without brackets, the part before a slash, and what stands in brackets.

    >>> [text for text, _ in readings("Ryzen 9 7950X (Nvidia 4080)")][-1]
    'nvidia 4080'
    """
    text = _WHAT.sub("", name.strip().lower(), count=1)
    yield name, None
    if (parts := split_ram(text)) is not None:
        yield parts
    inside = _BRACKETS.findall(text)
    cards = [one for one in inside if _CARD.search(one)]
    if cards:
        # the card computes, whatever it is built into
        yield from ((one, None) for one in cards)
        return
    sizes = [float(size) for size in _RAM_INSIDE.findall(text)]
    gib = sizes[0] if len(sizes) == 1 else None
    for short in (text, _BRACKETS.sub("", text), text.partition(" / ")[0], *inside):
        yield _RAM_INSIDE.sub("", _CORES.sub("", short)).strip(" ,-"), gib


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
