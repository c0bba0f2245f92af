"""Which of a device's CPU, GPU and NPU an engine runs on: its own choice, or the one asked for."""

from __future__ import annotations

from functools import lru_cache

from sizer.devices.device import Device
from sizer.devices.profile import BACKEND_KINDS, kind_of
from sizer.errors import InvalidQuantity
from sizer.runtimes.base import Runtime


def backends_of(device: Device, engine: Runtime) -> tuple[str, ...]:
    """Return the backends of a device that an engine runs on, the engine's default first.

    A backend that the engine was measured on here (a device file) comes before the engine's own order.
    """
    return _backends_of(device, engine.name, engine.backends)


# One device is asked for with many models.
@lru_cache(maxsize=1024)
def _backends_of(device: Device, runtime: str, in_order: tuple[str, ...]) -> tuple[str, ...]:
    measured = [p.backend for p in device.profiles if p.runtime == runtime]
    # a browser reaches any GPU through WebGPU
    browser = ("webgpu",) if any(kind_of(name) == "gpu" for name in device.backends) else ()
    present = {*device.backends, *measured, *browser}
    return tuple(dict.fromkeys((*measured, *(name for name in in_order if name in present))))


def choose_backend(device: Device, engine: Runtime, asked: str | None = None) -> str | None:
    """Return the backend an engine runs on: the first of the kind asked for ("cpu", "gpu" or "npu").

    Without one asked for, that of the device's name (`galaxy-s24@gpu`), else the engine's default.

    None where the engine runs on nothing that the device has; InvalidQuantity where it runs there, but on
    nothing of the kind asked for.
    """
    able = backends_of(device, engine)
    asked = asked or device.only_kind
    if asked is None:
        return next(iter(able), None)
    wanted = asked.strip().lower()
    kinds = tuple(dict.fromkeys(kind_of(name) for name in able))
    if wanted not in kinds:
        known = ", ".join(kinds) or "none on this device"
        raise InvalidQuantity(
            f"backend: {engine.name} on {device.name} has no {wanted!r}; accepted: {known}"
            if wanted in BACKEND_KINDS
            else f"backend: unknown {asked!r}; accepted: {', '.join(BACKEND_KINDS)}"
        )
    return next(name for name in able if kind_of(name) == wanted)


def check_gpu_layers(device: Device, engine: Runtime, runs_on: str | None, layers: int | None) -> None:
    """Raise InvalidQuantity where layers are asked for on a GPU and the engine runs on none there."""
    if not layers or (runs_on is not None and kind_of(runs_on) == "gpu"):
        return
    where = "with --backend gpu" if any(kind_of(b) == "gpu" for b in backends_of(device, engine)) else "0"
    reason = "runs on its CPU here" if where != "0" else "has no GPU to run on there"
    raise InvalidQuantity(f"gpu_layers: {layers} on {device.name}: {engine.name} {reason}; accepted: {where}")


def why_no_backend(device: Device, engine: Runtime) -> str:
    """Return the reason why an engine has no speed on a device, in words."""
    runs = ", ".join(engine.backends)
    return f"{engine.name} runs on {runs}; {device.name} has {', '.join(device.backends)}"
