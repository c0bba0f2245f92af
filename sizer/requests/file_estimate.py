"""Estimates of models without an architecture here: GGUF files by their header, configs by a count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sizer.devices.usable_memory import budget_bytes
from sizer.errors import InvalidArchitecture
from sizer.file_model import FileModel
from sizer.formats.stored import FileBytes, Weights
from sizer.memory import MemoryBreakdown
from sizer.model_estimate import Estimate
from sizer.runtimes import runtime as runtime_by_name
from sizer.units import format_bytes_binary
from sizer.workload import Workload

if TYPE_CHECKING:
    from sizer.devices.device import Device

# Formats that keep every weight as it is, and bytes of a weight: what a count alone can size.
_PLAIN_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}


def estimate_file(
    model: FileModel,
    *,
    runtime: str,
    workload: Workload,
    format: str | None = None,
    device: Device | None = None,
    max_memory_bytes: int | None = None,
    assumptions: tuple[str, ...] = (),
) -> Estimate:
    """Return what is known of a model without an architecture; every other part has its reason.

    `format` is one that the file is not in; its bytes are not known then. A count without a file is sized in
    plain formats.
    """
    engine = runtime_by_name(runtime)
    weights, memory = model.weights, None
    unsupported: dict[str, str] = {}
    if model.weights is None or format not in (None, model.format):
        weights = _plain_weights(model, format or model.format, engine.name)
        if weights is None:
            unsupported["weights"] = _why_no_weights(model, format or model.format, engine.name)
    try:
        if weights is None or weights is not model.weights:
            raise InvalidArchitecture(
                f"cache and buffers of {model.kind!r} are not known: its layers are not read"
            )
        memory = engine.file_memory(model, workload)
    except InvalidArchitecture as error:
        unsupported["memory"] = str(error).removeprefix("model: ")
    if memory is not None:
        device_limit = budget_bytes(device) if device is not None else None
        limits = (engine.memory_limit_bytes, device_limit, max_memory_bytes)
        known = [limit for limit in limits if limit is not None]
        memory = memory._replace(budget_bytes=min(known, default=None))
    if device is not None:
        reason = f"speed is calculated from the layers of a model, which are not read of {model.kind!r}"
        unsupported |= {"latency": reason, "energy": reason}
    return Estimate(
        shape=None,
        file_model=model,
        format=format or model.format,
        runtime=engine.name,
        workload=workload,
        device=device,
        parameters=model.parameters,
        weights=weights,
        held=memory,
        latency=None,
        energy=None,
        position_limit=model.positions,
        unsupported=unsupported,
        assumptions=(*assumptions, *_notes(model, weights, memory, format or model.format)),
    )


def _why_no_weights(model: FileModel, format_name: str, runtime: str) -> str:
    """Return the reason why a model's bytes in a format are not known, and what is."""
    if model.runs_on not in (None, runtime):
        return f"whether {runtime} runs {model.kind!r} is not known; runtimes that do: {model.runs_on}"
    accepted = model.format if model.weights is not None else ", ".join(_PLAIN_BYTES)
    return (
        f"which tensors {format_name} packs is not known of {model.kind!r}, whose layers are not read; "
        f"accepted: {accepted}"
    )


def _plain_weights(model: FileModel, format_name: str, runtime: str) -> Weights | None:
    """Return the bytes of a counted model in a plain format; None for a format that packs some weights."""
    each, total = _PLAIN_BYTES.get(format_name.lower()), model.parameters.total
    if each is None or model.weights is not None or runtime != "transformers":
        return None
    file = FileBytes(tensor_bytes=each * total, padding_bytes=0, directory_bytes=0)
    return Weights(file, {format_name.upper().replace("FP", "F"): file.tensor_bytes}, total)


def _notes(
    model: FileModel, weights: Weights | None, memory: MemoryBreakdown | None, format_name: str
) -> tuple[str, ...]:
    notes = [model.not_read] if model.not_read else []
    if weights is not None:
        notes += weights.notes(format_name)
    if memory is not None and memory.compute_range is not None:
        low, high = map(format_bytes_binary, memory.compute_range)
        notes.append(
            f"compute buffer not known: {low} to {high} by the sizes that the file states; the total is with "
            "the middle of that range"
        )
    if model.window_note:
        notes.append(model.window_note)
    return tuple(notes)
