"""A model on a device: its speed and energy, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sizer.architecture import Architecture
from sizer.devices import energy
from sizer.devices.backend import check_gpu_layers, why_no_backend
from sizer.devices.device import Device
from sizer.devices.latency import Latency, latency
from sizer.devices.usable_memory import memory_notes
from sizer.formats.stored import StoredTensor
from sizer.memory import MemoryBreakdown
from sizer.prediction import Prediction
from sizer.runtimes.base import Runtime
from sizer.units import format_bytes_binary
from sizer.workload import Workload

if TYPE_CHECKING:
    from sizer.devices.beyond_memory import BeyondMemory


class OnDevice(NamedTuple):
    """What is known of a model on a device only: speed, energy, notes on both."""

    latency: Latency | None
    energy: Prediction | None
    notes: tuple[str, ...]
    unsupported: Mapping[str, str]
    beyond_memory: BeyondMemory | None = None


def on_device(
    device: Device,
    backend: str | None,
    engine: Runtime,
    architecture: Architecture,
    stored: Sequence[StoredTensor],
    format_name: str,
    workload: Workload,
    file_bytes: int,
    memory: MemoryBreakdown,
) -> OnDevice:
    """Return speed and energy, or the reason why there is none: no backend, or more memory than there is.

    InvalidQuantity where layers are asked for on a GPU that the engine does not run on.
    """
    check_gpu_layers(device, engine, backend, workload.gpu_layers)
    if backend is None:
        reason = why_no_backend(device, engine)
        return OnDevice(None, None, memory_notes(device, device.backend), _no_speed(reason))
    notes = (*memory_notes(device, backend), *device.engine_notes(engine.name, backend))
    executed = engine.as_stored(architecture)
    slower = None
    if memory.fits is False or workload.gpu_layers is not None:
        # imported on demand: most models fit
        from sizer.devices.beyond_memory import beyond_memory

        slower = beyond_memory(
            device=device,
            backend=backend,
            runtime=engine.name,
            architecture=executed,
            stored=stored,
            format_name=format_name,
            memory=memory,
            workload=workload,
        )
    if memory.fits is False and memory.budget_bytes is not None:
        need, have = format_bytes_binary(memory.limited_bytes), format_bytes_binary(memory.budget_bytes)
        reason = f"does not fit: needs {need} of {have}"
        return OnDevice(None, None, notes, _no_speed(reason), slower)
    speed = latency(
        runtime=engine.name,
        architecture=executed,
        stored=stored,
        device=device,
        backend=backend,
        format_name=format_name,
        workload=workload,
        file_bytes=file_bytes,
        windowed_layers=engine.windowed_layers(architecture),
    )
    joules = energy.energy(device=device, latency=speed, architecture=executed, stored=stored)
    missing = {} if speed is not None else {"latency": _why_no_speed(device, engine.name, backend)}
    return OnDevice(
        speed, joules, (*notes, *(speed.notes if speed else ()), *energy.assumptions(device)), missing, slower
    )


def _no_speed(reason: str) -> dict[str, str]:
    return {"latency": reason, "energy": reason}


def _why_no_speed(device: Device, runtime: str, backend: str) -> str:
    return f"neither rows of {runtime} nor a bandwidth are known for the {backend} of {device.name}"
