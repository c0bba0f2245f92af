"""This machine as a Device: RAM and processor from the operating system, memory bandwidth measured."""

from __future__ import annotations

import ctypes
import os
import platform
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from time import monotonic, perf_counter

from sizer.devices.device import HOST, Device, DeviceKind, Fact

# Two buffers of this size exceed the caches of every device in the catalogue.
_PROBE_BYTES = 48 * 2**20
_PROBE_SECONDS = 0.1


@cache
def measure_host() -> Device:
    """Return this machine: RAM, processor and memory bandwidth, measured once per process (< 0.3 s)."""
    today = _today()
    ram = _ram_bytes()
    return Device(
        name=HOST,
        title=f"this machine ({_processor()})",
        kind=DeviceKind.DESKTOP,
        soc=_processor(),
        ram_bytes=None if ram is None else Fact(ram, "this machine's operating system", today),
        bandwidth_measured_bytes_per_s=Fact(
            _copy_bytes_per_s(), "memory copy on this machine, bytes read and written", today
        ),
    )


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _ram_bytes() -> int | None:
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model", "Hardware") and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def _copy_bytes_per_s() -> float:
    """Measure bytes read plus written per second by memmove on up to four threads, best of several rounds."""
    workers = min(4, os.cpu_count() or 1)
    # a repeated pattern, not zeros: untouched zero pages would be read from one cached page
    source = (ctypes.c_char * _PROBE_BYTES).from_buffer(bytearray(range(256)) * (_PROBE_BYTES // 256))
    target = (ctypes.c_char * _PROBE_BYTES)()
    share = _PROBE_BYTES // workers

    def copy(worker: int) -> None:
        # ctypes releases the interpreter lock while it copies
        ctypes.memmove(ctypes.byref(target, worker * share), ctypes.byref(source, worker * share), share)

    fastest = float("inf")
    with ThreadPoolExecutor(workers) as pool:
        end = monotonic() + _PROBE_SECONDS
        while fastest == float("inf") or monotonic() < end:
            start = perf_counter()
            list(pool.map(copy, range(workers)))
            fastest = min(fastest, perf_counter() - start)
    return 2 * share * workers / fastest
