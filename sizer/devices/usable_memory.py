"""Memory that one app may hold on a device, by kind of device, with the source of each rule."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from sizer.devices.device import Device
from sizer.units import format_bytes_binary

_GIB = 2**30

# Android: github a-ghorbani/pocketpal-ai#250, fitted to crashes of phones on its leaderboard
_PHONE_SHARE = 0.65
_PHONE_LESS_BYTES = 1_200_000_000
# Metal's recommendedMaxWorkingSetSize as llama.cpp prints it: 10.7 of 16 GiB (2/3; 11453 MB in the logs of
# its own runs), 72 of 96 and 144 of 192 GiB (3/4); later systems allow up to 0.84 (antirez/ds4#893: 107.5 of
# 128 GiB), and `sysctl iogpu.wired_limit_mb` sets it
_SMALL_MAC_SHARE, _LARGE_MAC_SHARE, _LARGE_MAC_GIB = 2 / 3, 3 / 4, 36
# CUDA sees 7805 of 8192 MiB of an RTX 4070 Laptop GPU (ggml-org/llama.cpp#20184)
_CARD_SHARE = 0.95
# a Raspberry Pi of 2 GB has 1.8 for programs (aidatatools/ollama-benchmark#9), and its system takes some
_BOARD_SHARE = 0.85
# Windows 11 needs 4 GB (microsoft.com/windows/windows-11-specifications); half of a small machine
_SYSTEM_BYTES = 4 * _GIB

CARDS = ("cuda", "rocm", "vulkan")


class UsableMemory(NamedTuple):
    """Bytes that one app may hold, None where they are not known, and the rule or the reason in words."""

    num_bytes: int | None
    why: str


# One device is asked for with many models.
@lru_cache(maxsize=1024)
def usable_memory(device: Device, backend: str) -> UsableMemory:
    """Return the bytes one app may hold on a device when a model runs on that backend."""
    if device.app_memory_bytes is not None:
        return UsableMemory(int(device.app_memory_bytes.value), device.app_memory_bytes.source)
    kind, ram = device.kind.value, device.ram_bytes
    if backend == "cpu" and has_card(device):
        return UsableMemory(None, "the machine's RAM is not known, so no memory budget")
    if ram is None:
        reason = device.no_memory_limit or "no RAM or app limit known"
        return UsableMemory(None, f"{reason}, so no memory budget")
    size = format_bytes_binary(ram.value)
    if backend == "metal" and kind in ("laptop", "desktop"):
        share = _SMALL_MAC_SHARE if ram.value < _LARGE_MAC_GIB * _GIB else _LARGE_MAC_SHARE
        why = f"{share:.0%} of {size} unified memory, Metal's working set (iogpu.wired_limit_mb changes it)"
        return UsableMemory(int(share * ram.value), why)
    if has_card(device):
        why = f"{_CARD_SHARE:.0%} of {size} VRAM: the driver keeps the rest (llama.cpp#20184)"
        return UsableMemory(int(_CARD_SHARE * ram.value), why)
    if kind == "board":
        why = f"{_BOARD_SHARE:.0%} of {size} RAM: firmware and system keep the rest (ollama-benchmark#9)"
        return UsableMemory(int(_BOARD_SHARE * ram.value), why)
    if kind in ("laptop", "desktop"):
        usable = max(ram.value - _SYSTEM_BYTES, ram.value / 2)
        why = f"{size} RAM less 4 GiB for the system, at least half (Windows 11's need)"
        return UsableMemory(int(usable), why)
    usable = min(_PHONE_SHARE * ram.value, ram.value - _PHONE_LESS_BYTES)
    why = f"65% of {size} RAM and at most all but 1.2 GB (PocketPal's share); no app limit is known"
    return UsableMemory(int(max(usable, 0)), why)


def budget_bytes(device: Device, backend: str | None = None) -> int | None:
    """Return the bytes one app may hold with the least RAM the device has; None where that is not known."""
    return usable_memory(device.variants()[0], backend or device.backend).num_bytes


def most_budget_bytes(device: Device, backend: str | None = None) -> int | None:
    """Return the bytes one app may hold with the most RAM the device is sold with; None if not known."""
    return usable_memory(device.variants()[-1], backend or device.backend).num_bytes


def variant_for(device: Device, num_bytes: int, backend: str) -> Device:
    """Return the device with the least RAM it is sold with that holds so much, else with the most."""
    variants = device.variants()
    budgets = ((v, usable_memory(v, backend).num_bytes) for v in variants)
    return next((v for v, budget in budgets if budget is None or num_bytes <= budget), variants[-1])


@lru_cache(maxsize=1024)
def memory_notes(device: Device, backend: str) -> tuple[str, ...]:
    """Return how the memory budget on a backend was found, and what heat does, in words."""
    budget, why = usable_memory(device, backend)
    if budget is None:
        return (f"{device.name}: {why}", *device.heat_notes)
    sold = ""
    if device.variant_of is None and len(device.known_gib) > 1:
        sold = f"; sold with {', '.join(f'{gib:g}' for gib in device.known_gib)} GB: --ram chooses"
    held = f"{device.name}: one app may hold {format_bytes_binary(budget)} ({why}{sold})"
    return (held, *device.heat_notes)


def has_card(device: Device) -> bool:
    """True if the device's memory is that of a graphics card, apart from the machine's."""
    return (
        device.kind.value in ("desktop", "laptop") and device.backend in CARDS and not device.unified_memory
    )
