"""A device: a phone, board, laptop or browser; every number with its source and date."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum, unique
from typing import NamedTuple

from sizer.devices.profile import Profile, kind_of
from sizer.errors import InvalidQuantity

HOST = "host"
_GIB = 2**30


@unique
class DeviceKind(StrEnum):
    """Kind of a device."""

    PHONE = "phone"
    TABLET = "tablet"
    BOARD = "board"
    LAPTOP = "laptop"
    DESKTOP = "desktop"
    BROWSER = "browser"


@unique
class PowerScope(StrEnum):
    """Where power was measured: into the board or chip, or at the wall with the supply's losses."""

    BOARD = "board"
    WALL = "wall"


class Fact(NamedTuple):
    """A number about a device with its source and date (the source's, else the day of reading)."""

    value: float
    source: str
    date: str


class RamVariants(NamedTuple):
    """Sizes of RAM (of a card: VRAM) that a device is sold with, in GiB, smallest first."""

    gib: tuple[float, ...]
    source: str
    date: str


class Device(NamedTuple):  # a dataclass of its size adds two milliseconds to every start
    """A device by name; a fact that is None is unknown, never guessed.

    Data-sheet figures (`bandwidth_theoretical_bytes_per_s`) and measured ones are separate fields.
    """

    name: str
    title: str
    kind: DeviceKind
    soc: str | None = None
    backend: str = "cpu"  # the one that facts such as bandwidth are about
    other_backends: tuple[str, ...] = ()
    fanless: bool = False  # a laptop without a fan, which slows down as a phone does
    unified_memory: bool = False  # a desktop's GPU that shares the RAM
    no_memory_limit: str | None = None  # why neither RAM nor limit can be given
    variant_of: str | None = None  # name in the catalogue that this is a variant of, by RAM or backend
    only_kind: str | None = None  # "cpu", "gpu" or "npu" where engines are to run on that alone
    ram_variants: RamVariants | None = None
    aliases: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()  # names of sets of devices that it is in, such as "mid-range"
    profiles: tuple[Profile, ...] = ()  # of a device file; the catalogue's are in data/profiles.toml
    ram_bytes: Fact | None = None  # of a graphics card: its own memory
    app_memory_bytes: Fact | None = None
    app_memory_entitled_bytes: Fact | None = None  # iOS, with the increased-memory-limit entitlement
    gpu_buffer_bytes: Fact | None = None  # WebGPU: largest buffer without asking for more
    bandwidth_theoretical_bytes_per_s: Fact | None = None
    bandwidth_measured_bytes_per_s: Fact | None = None
    npu_bandwidth_bytes_per_s: Fact | None = None  # what the NPU itself reaches
    storage_read_bytes_per_s: Fact | None = None
    sustained_speed_share: Fact | None = None  # decoding speed when hot, against that of the first tokens
    cache_bytes: Fact | None = None
    gpu_cores: Fact | None = None
    f32_ops_per_s: Fact | None = None
    f16_ops_per_s: Fact | None = None
    int8_ops_per_s: Fact | None = None
    int4_ops_per_s: Fact | None = None
    battery_joules: Fact | None = None
    load_power_watts: Fact | None = None
    load_power_scope: PowerScope | None = None

    @property
    def backends(self) -> tuple[str, ...]:
        """Return where a model can run: the main backend, the others, and the CPU, which every device has."""
        return tuple(dict.fromkeys((self.backend, *self.other_backends, "cpu")))

    @property
    def rows_name(self) -> str:
        """Return the name under which measured rows of this device are kept, whatever its RAM."""
        return self.variant_of or self.name

    def with_ram(self, gib: float) -> Device:
        """Return the variant with that much RAM; InvalidQuantity where it is not sold with it."""
        known = self.known_gib
        if known and gib not in known:
            sizes = ", ".join(f"{size:g}GB" for size in known)
            raise InvalidQuantity(f"ram: {gib:g} GB is no variant of {self.name}; accepted: {sizes}")
        if self.ram_bytes is not None and self.ram_bytes.value == gib * _GIB:
            return self
        source, date = ("asked for", "") if self.ram_variants is None else self.ram_variants[1:]
        title = re.sub(r" \(\d+ GB\)", "", self.title)
        return self._replace(
            name=f"{self.rows_name}-{gib:g}gb" if self.name != HOST else HOST,
            title=f"{title} ({gib:g} GB)",
            variant_of=self.rows_name,
            aliases=(),
            ram_bytes=Fact(gib * _GIB, source, date),
        )

    def with_backend(self, kind: str) -> Device:
        """Return it with engines on its "cpu", "gpu" or "npu" alone; InvalidQuantity where it has none."""
        known = tuple(dict.fromkeys(kind_of(name) for name in self.backends))
        if kind not in known:
            raise InvalidQuantity(f"backend: {self.name} has no {kind!r}; accepted: {', '.join(known)}")
        return self._replace(
            name=f"{self.name}@{kind}",
            title=f"{self.title} ({kind.upper()})",
            variant_of=self.rows_name,
            aliases=(),
            only_kind=kind,
        )

    def variants(self) -> tuple[Device, ...]:
        """Return it with each size of RAM it is sold with, least first; itself where that is fixed."""
        if self.ram_bytes is not None or self.ram_variants is None:
            return (self,)
        gib, *rest = self.ram_variants
        return tuple(self._replace(ram_bytes=Fact(size * _GIB, *rest)) for size in gib)

    @property
    def known_gib(self) -> tuple[float, ...]:
        """Return the sizes of RAM it is sold with, in GiB; none where only one, or none, is known."""
        variants = self.ram_variants.gib if self.ram_variants else ()
        own = (self.ram_bytes.value / _GIB,) if self.ram_bytes and variants else ()
        return tuple(sorted({*variants, *own}))

    @property
    def bandwidth_bytes_per_s(self) -> Fact | None:
        """Return the memory bandwidth: measured if known, else from the data sheet."""
        return self.bandwidth_measured_bytes_per_s or self.bandwidth_theoretical_bytes_per_s

    @property
    def heat_notes(self) -> tuple[str, ...]:
        """Return what heat does to its speed, in words; nothing where that is not known."""
        share = self.sustained_speed_share
        if share is None:
            return ()
        return (f"{self.name}: speeds are of the first tokens; when hot, {share.value:.0%} ({share.source})",)

    def engine_notes(self, runtime: str, backend: str) -> tuple[str, ...]:
        """Return where an engine runs, and why its measured speeds are not to be trusted, if so, in words."""
        doubts = (p.doubt for p in self.profiles if (p.runtime, p.backend) == (runtime, backend) and p.doubt)
        return (
            f"{runtime} runs on {self.name}'s {backend}",
            *(f"{self.name}: its measured speeds are not to be trusted: {doubt}" for doubt in doubts),
        )

    @property
    def facts(self) -> Mapping[str, Fact]:
        """Return every known number by field name."""
        return {name: fact for name in FACT_FIELDS if (fact := getattr(self, name)) is not None}


# names of the fields that are numbers, each with its source
FACT_FIELDS = tuple(name for name, kind in Device.__annotations__.items() if "Fact" in str(kind))
