"""estimate(): the one public calculation, from an architecture to parameters, bytes, memory and speed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sizer.architecture import Architecture
from sizer.errors import UnknownName
from sizer.formats.stored import FileBytes, StoredTensor
from sizer.memory import MemoryBreakdown
from sizer.runtimes import runtime as runtime_by_name
from sizer.tensors import ParameterCounts, count_parameters, tensor_specs
from sizer.units import format_bytes
from sizer.workload import Workload

if TYPE_CHECKING:  # speed and energy are loaded for a device only: they take a third of the time to start
    from sizer.device import Device
    from sizer.latency import Latency
    from sizer.prediction import Prediction
    from sizer.runtimes.base import Runtime

SCHEMA = "sizer.estimate/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Everything known about one model in one format on one runtime, its inputs included."""

    architecture: Architecture
    format: str
    runtime: str
    workload: Workload
    device: Device | None
    parameters: ParameterCounts
    bytes_by_type: dict[str, int]
    stored_weights: int  # weights in the file: a block that llama.cpp unrolls counts each time
    file: FileBytes
    memory: MemoryBreakdown
    latency: Latency | None
    energy: Prediction | None
    assumptions: tuple[str, ...]

    @property
    def bits_per_weight(self) -> float:
        """Bits of tensor data per weight in the file, norms and embeddings included."""
        return 8 * self.file.tensor_bytes / self.stored_weights

    def to_dict(self) -> dict[str, Any]:
        """The estimate as plain JSON values, in the layout of schema sizer.estimate/1."""
        p, m = self.parameters, self.memory
        return {
            "schema": SCHEMA,
            "device": self.device.name if self.device else None,
            "architecture": self.architecture.to_dict(),
            "parameters": {
                "total": p.total,
                "active": p.active,
                "embedding": p.embedding,
                "attention": p.attention,
                "mlp": p.mlp,
                "norm": p.norm,
                "head": p.head,
                "non_embedding": p.non_embedding,
            },
            "weights": {
                "format": self.format,
                "runtime": self.runtime,
                "tensor_bytes": self.file.tensor_bytes,
                "file_bytes": self.file.total,
                "file_bytes_low": self.file.low,
                "file_bytes_high": self.file.high,
                "bits_per_weight": self.bits_per_weight,
                "bytes_by_type": dict(self.bytes_by_type),
            },
            "memory": {
                "context": m.context_tokens,
                "weights_bytes": m.weights_bytes,
                "kv_cache_bytes": m.kv_cache_bytes,
                "compute_bytes": m.compute_bytes,
                "output_bytes": m.output_bytes,
                "overhead_bytes": m.overhead_bytes,
                "total_bytes": m.total_bytes,
                "budget_bytes": m.budget_bytes,
                "fits": m.fits,
            },
            "latency": {
                key: getattr(self.latency, key).to_dict() if self.latency else None
                for key in ("load_s", "prefill_tokens_per_s", "time_to_first_token_s", "decode_tokens_per_s")
            },
            "energy": self._energy_document(),
            "assumptions": list(self.assumptions),
        }

    def _repr_html_(self) -> str:
        """The table that a notebook shows."""
        from sizer.notebook import estimate_table_html

        return estimate_table_html(self)

    def _energy_document(self) -> dict[str, Any] | None:
        if self.energy is None or self.device is None:
            return None
        from sizer.energy import battery_share

        share = battery_share(self.device, self.energy)
        document: dict[str, Any] = {"joules_per_token": self.energy.to_dict()}
        return document | ({"battery_share_per_1000_tokens": share.to_dict()} if share else {})


def estimate(
    *,
    architecture: Architecture,
    format: str,
    runtime: str = "llama.cpp",
    workload: Workload | None = None,
    device: Device | None = None,
    assumptions: tuple[str, ...] = (),
) -> Estimate:
    """Parameters, file bytes, memory bytes, speed and energy of a model that need not exist.

    `assumptions` are notes of the caller (how a shape was chosen) that go before the engine's own.
    Raises UnknownName for a format or runtime that is not known.
    """
    engine = runtime_by_name(runtime)
    format_name = engine.format_name(format)
    load = workload or Workload(cache_type=engine.cache_types[0])
    if load.cache_type not in engine.cache_types:
        raise UnknownName.of(f"{engine.name} cache type", load.cache_type, engine.cache_types)
    if load.weights_in_memory not in engine.weights_in_memory:
        raise UnknownName.of(
            f"weights_in_memory of {engine.name}", load.weights_in_memory, engine.weights_in_memory
        )
    stored = engine.store(architecture, format_name)
    file = engine.file_bytes(architecture, stored)
    memory = engine.memory(architecture, stored, load)
    limits = (engine.memory_limit_bytes, device.memory_budget_bytes if device else None)
    if known := [limit for limit in limits if limit is not None]:
        memory = memory._replace(budget_bytes=min(known))
    on_device = _OnDevice(None, None, ())
    if device is not None:
        on_device = _on_device(device, engine, architecture, stored, load, file.total)
    bytes_by_type: dict[str, int] = {}
    for tensor in stored:
        bytes_by_type[tensor.type.name] = bytes_by_type.get(tensor.type.name, 0) + tensor.num_bytes
    return Estimate(
        architecture=architecture,
        format=format_name,
        runtime=engine.name,
        workload=load,
        device=device,
        parameters=count_parameters(tensor_specs(architecture)),
        bytes_by_type=bytes_by_type,
        stored_weights=sum(tensor.spec.num_elements for tensor in stored),
        file=file,
        memory=memory,
        latency=on_device.latency,
        energy=on_device.energy,
        assumptions=(
            *assumptions,
            *_format_notes(format_name, bytes_by_type),
            *_tokenizer_notes(file),
            *memory.notes,
            *engine.assumptions(architecture, format_name),
            *on_device.notes,
        ),
    )


class _OnDevice(NamedTuple):
    """What only a device tells: speed, energy, notes on both."""

    latency: Latency | None
    energy: Prediction | None
    notes: tuple[str, ...]


def _on_device(
    device: Device,
    engine: Runtime,
    architecture: Architecture,
    stored: tuple[StoredTensor, ...],
    workload: Workload,
    file_bytes: int,
) -> _OnDevice:
    from sizer import energy
    from sizer.latency import latency

    executed = engine.as_stored(architecture)
    speed = latency(
        runtime=engine.name,
        architecture=executed,
        stored=stored,
        device=device,
        workload=workload,
        file_bytes=file_bytes,
        windowed_layers=engine.windowed_layers(architecture),
    )
    joules = energy.energy(device=device, latency=speed, architecture=executed, stored=stored)
    return _OnDevice(speed, joules, (*device.assumptions, *energy.assumptions(device)))


def _tokenizer_notes(file: FileBytes) -> tuple[str, ...]:
    if file.tokenizer is None:
        return ("the tokenizer is a file of its own and not counted",)
    t = file.tokenizer
    return (
        f"tokenizer: {t.name}, {format_bytes(t.value)} in the file "
        f"({format_bytes(t.low)} to {format_bytes(t.high)})",
    )


def _format_notes(format_name: str, bytes_by_type: dict[str, int]) -> tuple[str, ...]:
    total = sum(bytes_by_type.values())
    largest_first = sorted(bytes_by_type.items(), key=lambda item: -item[1])
    shares = ", ".join(f"{name} {size / total:.1%}" for name, size in largest_first)
    return (f"{format_name} stores these tensors as {shares} of the bytes",)
