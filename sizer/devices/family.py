"""Families of processors and graphics units, whose devices share speed constants."""

from __future__ import annotations

from sizer.devices.device import Device, DeviceKind

_X86 = ("Core", "Ryzen", "Intel", "AMD", "Xeon", "EPYC", "Genuine", "Pentium", "Celeron")


def family_of(device: Device, backend: str) -> str:
    """Return the family of processors: of CPUs "x86", "arm", "arm-board", "apple-cpu" or "wasm".

    Of GPUs "card" (graphics cards and desktops' units), "jetson" and the names of other backends; of NPUs
    the backend.
    """
    is_pc = device.kind in (DeviceKind.LAPTOP, DeviceKind.DESKTOP)
    if backend == "cuda":
        return "jetson" if device.kind is DeviceKind.BOARD else "card"
    if backend == "rocm" or (backend == "vulkan" and device.kind is DeviceKind.DESKTOP):
        return "card"
    if backend != "cpu":
        return backend
    if device.kind is DeviceKind.BROWSER:
        return "wasm"
    soc = device.soc or ""
    if soc.startswith("Apple M"):
        return "apple-cpu"
    if soc.startswith(_X86) or (is_pc and not soc):
        return "x86"
    return "arm-board" if device.kind is DeviceKind.BOARD else "arm"


def instruction_set(device: Device, backend: str) -> str:
    """Return "x86" or "arm" for CPUs, whose kernels are written for each; other backends by their name."""
    if backend != "cpu":
        return backend
    return "x86" if family_of(device, backend) == "x86" else "arm"


def is_small(device: Device) -> bool:
    """True for phones, tablets and boards, whose memory is slower than a laptop's."""
    return device.kind in (DeviceKind.PHONE, DeviceKind.TABLET, DeviceKind.BOARD)
