"""Constants of speed and energy in data/profiles.toml, as `python -m sizer.calibration.fit` writes them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from sizer.devices.profile import Profile
from sizer.prediction import Basis

_PROFILES = Path(__file__).parents[1] / "data" / "profiles.toml"


class Pooled(NamedTuple):
    """Constants over all measured devices of a kind of backend, the last resort."""

    efficiency: float  # share of a device's bandwidth that decoding reaches
    small_bytes_per_s: float  # reached by phones and boards, for one without a known bandwidth
    large_bytes_per_s: float  # the same of laptops and desktops
    seconds_per_layer: float
    decode_factor: float
    blind_factor: float  # of devices without a known bandwidth
    engine_factor: float  # of engines predicted from other engines
    ops_per_byte: float  # prefill operations per second for each byte per second decoding reaches
    prefill_factor: float


class PoolConstants(NamedTuple):
    """Constants of a family of devices under one engine, "" for all: see sizer.calibration.pools."""

    family: str
    runtime: str
    efficiency: float
    small_bytes_per_s: float
    large_bytes_per_s: float
    seconds_per_layer: float
    ops_per_unit: float
    by_cores: bool
    prompt_fixed_s: float
    call_tokens: int
    float_op_cost: float
    decode_factor: float
    blind_factor: float
    prefill_factor: float


class LoadConstants(NamedTuple):
    """Constants of loading a model, over all measured devices."""

    storage_read_bytes_per_s: float
    storage_factor: float
    init_seconds_per_byte: float
    init_factor: float
    init_runtime: str  # the runtime whose initialization was measured


class Heat(NamedTuple):
    """Decoding speed that is left after minutes of it, over all devices measured cold and hot."""

    share: float
    factor: float


class Energies(NamedTuple):
    """Constants of energy, over all measured devices."""

    power_factor: float  # how far a device's power differs from its stated one
    high_joules_per_byte: float  # the most a whole machine was measured to take per byte read


class Profiles(NamedTuple):
    """All fitted constants, as written by `python -m sizer.calibration.fit`."""

    cpu: Pooled
    gpu: Pooled
    npu: Pooled
    heat: Heat
    start: LoadConstants
    energy: Energies
    seconds_per_layer: Mapping[tuple[str, str], float]  # by runtime and backend or kind
    blocks: tuple[tuple[str, str, str, str], ...]  # device, chip, runtime and the text of each profile
    formats: Mapping[
        tuple[str, str, str], tuple[float, float]
    ]  # runtime, kind and format: costs of bytes, ops
    pools: tuple[tuple[str, str, str], ...]  # family, runtime and the text of each pool

    def of_kind(self, kind: str) -> Pooled:
        """Return the constants of "cpu", "gpu" or "npu"."""
        return {"cpu": self.cpu, "gpu": self.gpu, "npu": self.npu}[kind]


@cache
def profiles() -> Profiles:
    """Return the constants in data/profiles.toml, read once; a device's own are parsed on demand."""
    head, *blocks = _PROFILES.read_text(encoding="utf-8").split("[[profile]]\n")
    pools = re.findall(_POOL, head)
    # the tables of kinds; rows of one shape are read by a pattern, which is twenty times faster
    table = tomllib.loads(head[: head.index("\n[[")])
    return Profiles(
        cpu=Pooled(**_only(Pooled, table["cpu"])),
        gpu=Pooled(**_only(Pooled, table["gpu"])),
        npu=Pooled(**_only(Pooled, table["npu"])),
        heat=Heat(**_only(Heat, table["heat"])),
        start=LoadConstants(**_only(LoadConstants, table["start"])),
        energy=Energies(**_only(Energies, table["energy"])),
        seconds_per_layer={
            (name, kind): float(layer_s) for name, kind, layer_s in re.findall(_RUNTIME, head)
        },
        formats={
            (runtime, kind, name): (float(byte_cost), float(op_cost))
            for runtime, kind, name, byte_cost, op_cost in re.findall(_FORMAT, head)
        },
        blocks=tuple((*re.findall(_LABELS, block), block) for block in blocks),
        pools=tuple((*re.findall(_POOL_LABELS, block), block) for block in pools),
    )


# the first three keys of each profile: reading all as TOML takes longer than an estimate
_LABELS = r'(?m)^(?:device|soc|runtime) = "(.*)"$'
_POOL = r"\[\[pool\]\]\n((?:.+\n)+)"
_RUNTIME = r'\[\[runtime\]\]\nname = "(.*)"\nkind = "(.*)"\nseconds_per_layer = (.*)\n'
_FORMAT = (
    r'\[\[format\]\]\nruntime = "(.*)"\nkind = "(.*)"\nname = "(.*)"\nbyte_cost = (.*)\nop_cost = (.*)\n'
)
_POOL_LABELS = r'(?m)^(?:family|runtime) = "(.*)"$'


def _only(
    kind: type[Pooled | PoolConstants | LoadConstants | Energies | Heat], table: Mapping[str, Any]
) -> dict[str, Any]:
    return {name: table[name] for name in kind._fields}


@cache
def read_profile(block: str) -> Profile:
    table = tomllib.loads(block)
    known = {name: table[name] for name in Profile._fields if name in table}
    return Profile(**known | {"basis": Basis(table["basis"])})


@cache
def _read_pool(block: str) -> PoolConstants:
    return PoolConstants(**_only(PoolConstants, tomllib.loads(block)))


def family_pool(family: str, runtime: str) -> PoolConstants | None:
    """Return the pool of a family under an engine, else under all engines; None without rows."""
    blocks = {engine: block for name, engine, block in profiles().pools if name == family}
    block = blocks.get(runtime) or blocks.get("")
    return None if block is None else _read_pool(block)
