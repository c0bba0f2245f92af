"""estimate(): calculate parameters, bytes, memory, speed and energy of an architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture, InvalidQuantity
from sizer.formats.stored import FileBytes, StoredTensor, Weights, sum_bytes
from sizer.memory import MemoryBreakdown
from sizer.runtimes import runtime as runtime_by_name
from sizer.runtimes import runtimes_that_run
from sizer.runtimes.base import Runtime, accepted_workload
from sizer.tensors import ParameterCounts, mtp_note, parameters_of
from sizer.workload import Workload

if TYPE_CHECKING:  # speed and energy are loaded for a device only: they take a third of the time to start
    from sizer.devices.beyond_memory import BeyondMemory
    from sizer.devices.device import Device
    from sizer.devices.latency import Latency
    from sizer.download import FirstDownload
    from sizer.file_model import FileModel
    from sizer.max_context import MaxContext
    from sizer.prediction import Prediction

SCHEMA = "sizer.estimate/1"
_LATENCY_KEYS = (
    *("load_s", "prefill_tokens_per_s", "time_to_first_token_s", "decode_tokens_per_s"),
    *("decode_at_start_tokens_per_s", "sustained_tokens_per_s"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One model in one format on one runtime: the inputs and every result that is known.

    A part that cannot be worked out is None, and `unsupported` has the reason under the part's name in the
    document. `file`, `memory` and the like raise InvalidArchitecture with that reason.
    """

    shape: Architecture | None  # read as `architecture`; None: known by its file alone
    format: str
    runtime: str
    workload: Workload
    device: Device | None
    parameters: ParameterCounts
    weights: Weights | None
    held: MemoryBreakdown | None  # read as `memory` where it is known
    latency: Latency | None
    energy: Prediction | None
    assumptions: tuple[str, ...]
    backend: str | None = None  # of the device, on which the runtime runs; None: none that it has
    unsupported: Mapping[str, str] = field(default_factory=dict)
    beyond_memory: BeyondMemory | None = None  # its speed where it does not fit
    file_model: FileModel | None = None  # where there is no architecture
    draft: Estimate | None = None  # of a second model that drafts tokens for this one
    position_limit: int | None = None  # longest context of the model; None: a shape that nobody trained

    @property
    def name(self) -> str:
        """Return the name of the model."""
        if self.shape is not None:
            return self.shape.name
        return self.file_model.name if self.file_model is not None else ""

    @property
    def architecture(self) -> Architecture:
        """Return the architecture; InvalidArchitecture if the model is known by its file alone."""
        if self.shape is None:
            raise InvalidArchitecture(f"model: the architecture of {self.name!r} is not read")
        return self.shape

    @property
    def file(self) -> FileBytes:
        """Return the bytes of the model file by part; InvalidArchitecture if the runtime has none."""
        return self._known_weights.file

    @property
    def bytes_by_type(self) -> dict[str, int]:
        """Return the bytes of tensors by storage type; InvalidArchitecture if the runtime has no file."""
        return self._known_weights.bytes_by_type

    @property
    def bits_per_weight(self) -> float:
        """Return bits of tensor data per weight in the file, norms and embeddings included."""
        return self._known_weights.bits_per_weight

    @property
    def memory(self) -> MemoryBreakdown:
        """Return the bytes of memory by part; InvalidArchitecture with the reason if they are not known."""
        if self.held is None:
            raise self.not_known("memory")
        return self.held

    @property
    def fits(self) -> bool | None:
        """True if it is within the memory's limit; None without one, False if the runtime cannot hold it."""
        return self.weights is not None and (self.held.fits if self.held else None)

    @property
    def budget_bytes(self) -> int | None:
        """Return the most bytes of memory that the model may hold; None if no limit is known."""
        if self.held is not None:
            return self.held.budget_bytes
        if self.device is None:
            return None
        from sizer.devices.usable_memory import budget_bytes

        return budget_bytes(self.device)

    @property
    def max_context(self) -> MaxContext | None:
        """Return the largest context that fits the memory limit; None without a limit. Takes milliseconds."""
        if self.held is None or self.weights is None:
            return None
        from sizer.max_context import max_context

        return max_context(self._memory_by_workload(), self.workload, self.held, self.position_limit)

    def _memory_by_workload(self) -> Callable[[Workload], MemoryBreakdown]:
        """Return the function that estimates this model's memory with another workload."""
        from sizer.max_context import with_additions

        engine, known = runtime_by_name(self.runtime), self.file_model
        stored = () if known else self.stored_tensors()

        def alone(load: Workload) -> MemoryBreakdown:
            return (
                engine.file_memory(known, load) if known else engine.memory(self.architecture, stored, load)
            )

        of_draft = self.draft._memory_by_workload() if self.draft else None
        return with_additions(alone, self.memory, self.workload, of_draft)

    def stored_tensors(self) -> Sequence[StoredTensor]:
        """Return every tensor with the type that it is stored as."""
        own = self._known_weights.own
        return own or runtime_by_name(self.runtime).store(self.architecture, self.format)

    @property
    def named_format(self) -> str:
        """Return the format to size a changed model in: of a file's own types, the nearest one by name."""
        known = runtime_by_name(self.runtime)
        return self.format if self.format in known.formats else known.format_for_bits(4.0)

    @property
    def _known_weights(self) -> Weights:
        if self.weights is None:
            raise self.not_known("weights")
        return self.weights

    def not_known(self, part: str) -> InvalidArchitecture:
        """Return the error that has the reason why a part is missing, and the count of parameters."""
        return InvalidArchitecture(
            f"model: {self.unsupported[part]} ({self.name!r} has {self.parameters.total:,} parameters)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values in the layout of schema sizer.estimate/1."""
        known = self.shape or self.file_model
        return {
            "schema": SCHEMA,
            "device": self.device.name if self.device else None,
            "backend": self.backend,
            "architecture": known.to_dict() if known else None,
            "parameters": self.parameters.to_dict(),
            "weights": self.weights
            and {"format": self.format, "runtime": self.runtime} | self.weights.to_dict(),
            "memory": self._memory_document(),
            "latency": self._latency_document(),
            "energy": self._energy_document(),
            "download": (found := self.first_download) and found.to_dict(),
            **({"beyond_memory": self.beyond_memory.to_dict()} if self.beyond_memory else {}),
            "unsupported": dict(self.unsupported),
            "assumptions": list(self.assumptions),
        }

    @property
    def first_download(self) -> FirstDownload | None:
        """Return what the user of a page or app downloads; None for an engine that is in neither."""
        from sizer.download import first_download

        in_browser = self.device is not None and self.device.kind == "browser"
        engine_bytes = runtime_by_name(self.runtime).download_bytes(in_browser=in_browser)
        if engine_bytes is None or self.weights is None:
            return None
        vocab_size = self.shape.vocab_size if self.shape else 0  # a file of no known shape has its tokenizer
        return first_download(self.weights.file, vocab_size, engine_bytes)

    def _memory_document(self) -> dict[str, Any] | None:
        if self.held is None:
            return None
        longest = self.max_context
        return self.held.to_dict() | {
            "max_context": longest and longest.tokens,
            "max_context_limited_by": longest and longest.limited_by,
        }

    def _latency_document(self) -> dict[str, Any] | None:
        if "latency" in self.unsupported:
            return None
        if self.latency is None:
            return dict.fromkeys(_LATENCY_KEYS)
        found = {key: getattr(self.latency, key) for key in _LATENCY_KEYS}
        return {key: figure.to_dict() for key, figure in found.items() if figure is not None}

    def _repr_html_(self) -> str:
        """Return the table that a notebook shows."""
        from sizer.notebook import estimate_table_html

        return estimate_table_html(self.to_dict(), self.workload.prompt_tokens)

    def _energy_document(self) -> dict[str, Any] | None:
        if self.energy is None or self.device is None:
            return None
        from sizer.devices.energy import battery_share, chat

        share = battery_share(self.device, self.energy)
        document: dict[str, Any] = {"joules_per_token": self.energy.to_dict()}
        document |= {"battery_share_per_1000_tokens": share.to_dict()} if share else {}
        if self.latency is not None:
            tokens, of_battery = chat(self.device, self.latency, self.energy)
            document["ten_minute_chat"] = {
                "tokens": tokens.to_dict(),
                "battery_share": of_battery.to_dict() if of_battery else None,
            }
        return document


def estimate(
    *,
    architecture: Architecture,
    format: str,
    runtime: str = "llama.cpp",
    workload: Workload | None = None,
    device: Device | None = None,
    own_weights: Weights | None = None,
    backend: str | None = None,
    max_memory_bytes: int | None = None,
    is_hypothetical: bool = False,
    metadata_bytes: int | None = None,
    assumptions: tuple[str, ...] = (),
) -> Estimate:
    """Return parameters, file bytes, memory bytes, speed and energy of a model that need not exist.

    `own_weights` are those of a file that exists; `format` is then a label. `backend` is "cpu", "gpu" or
    "npu", None for the runtime's own choice. `max_memory_bytes` is a limit of the caller's; of several the
    smallest counts. A hypothetical model's context is limited by memory alone. `metadata_bytes` are those of
    a GGUF file, tokenizer included, where known. `assumptions` are the caller's notes (how a shape was
    chosen), before the runtime's. Raises UnknownName for an unknown format or runtime.
    """
    asked = _Asked(
        architecture,
        format,
        runtime,
        workload,
        device,
        own_weights,
        backend,
        max_memory_bytes,
        is_hypothetical,
        metadata_bytes,
        tuple(assumptions),
    )
    if own_weights is not None:  # a file's, which are not compared
        return _estimate(asked)
    return _estimate_once(asked, architecture.name, architecture.model_type)


class _Asked(NamedTuple):
    """The arguments of estimate()."""

    architecture: Architecture
    format: str
    runtime: str
    workload: Workload | None
    device: Device | None
    own_weights: Weights | None
    backend: str | None
    max_memory_bytes: int | None
    is_hypothetical: bool
    metadata_bytes: int | None
    assumptions: tuple[str, ...]


@lru_cache(maxsize=4096)
def _estimate_once(asked: _Asked, name: str, model_type: str | None) -> Estimate:
    """Return the estimate of a shape; names are arguments too, as they are no part of its equality."""
    return _estimate(asked)


def _estimate(asked: _Asked) -> Estimate:
    """Return the estimate, not remembered."""
    architecture, format, runtime, workload, device, own_weights = asked[:6]
    backend, max_memory_bytes, is_hypothetical, metadata_bytes, assumptions = asked[6:]
    engine = runtime_by_name(runtime)
    format_name = engine.format_name(format) if own_weights is None else format
    load = accepted_workload(engine, format_name, workload)
    parameters = parameters_of(architecture)
    if architecture.mtp_layers:
        assumptions = (*assumptions, mtp_note(architecture))
    try:
        stored = own_weights.own if own_weights else engine.store(architecture, format_name)
    except InvalidArchitecture as error:
        return Estimate(
            shape=architecture,
            format=format_name,
            runtime=engine.name,
            workload=load,
            device=device,
            parameters=parameters,
            weights=None,
            held=None,
            latency=None,
            energy=None,
            assumptions=assumptions,
            unsupported=_without_weights(error, architecture, on_device=device is not None),
        )
    weights = own_weights or Weights.of(engine.file_bytes(architecture, stored), stored, metadata_bytes)
    memory = engine.memory(architecture, stored, load)
    if own_weights is not None:  # tensors that the architecture does not have, such as rope_freqs
        more = weights.file.tensor_bytes - sum_bytes(stored)
        memory = memory._replace(weights_bytes=memory.weights_bytes + more)
    device, runs_on, limit = _place(engine, device, backend, memory)
    peak = engine.peak(architecture, stored, load, device)
    memory = memory._replace(budget_bytes=limit, peak=peak)
    there = None
    if device is not None:
        from sizer.devices.on_device import on_device

        size = weights.file.total
        there = on_device(device, runs_on, engine, architecture, stored, format_name, load, size, memory)
    if max_memory_bytes is not None:  # no limit of the device: the model may run and be refused
        memory = memory._replace(budget_bytes=min(max_memory_bytes, limit or max_memory_bytes))
    return Estimate(
        shape=architecture,
        format=format_name,
        runtime=engine.name,
        workload=load,
        device=device,
        parameters=parameters,
        weights=weights,
        held=memory,
        latency=there.latency if there else None,
        energy=there.energy if there else None,
        position_limit=(positions := _positions(architecture, is_hypothetical=is_hypothetical)),
        assumptions=(
            *assumptions,
            *_too_long(load.context_tokens, positions),
            *weights.notes(format_name),
            *memory.notes,
            *engine.assumptions(architecture, format_name),
            *(there.notes if there else ()),
        ),
        backend=runs_on,
        unsupported=there.unsupported if there else {},
        beyond_memory=there.beyond_memory if there else None,
    )


def _place(
    engine: Runtime, device: Device | None, backend: str | None, memory: MemoryBreakdown
) -> tuple[Device | None, str | None, int | None]:
    """Return the device's variant, the backend that runs the model, and the most bytes it may hold there."""
    if device is None:
        if backend is not None:
            raise InvalidQuantity(f"backend: {backend!r} is a part of a device; give a device with it")
        return None, None, engine.memory_limit_bytes
    from sizer.devices.backend import choose_backend
    from sizer.devices.usable_memory import usable_memory, variant_for

    runs_on = choose_backend(device, engine, backend)
    main = runs_on or device.backend
    variant = variant_for(device, memory.total_bytes, main)
    limits = (engine.memory_limit_bytes, usable_memory(variant, main).num_bytes)
    return variant, runs_on, min((limit for limit in limits if limit is not None), default=None)


def _positions(architecture: Architecture, *, is_hypothetical: bool) -> int | None:
    """Return how many positions a model is made for; None where it has no attention or is not made yet."""
    return architecture.max_position_embeddings if architecture.num_heads and not is_hypothetical else None


def _too_long(context_tokens: int, positions: int | None) -> tuple[str, ...]:
    if positions is None or context_tokens <= positions:
        return ()
    return (f"the context is longer than the {positions:,} positions that the model is made for",)


def _without_weights(
    error: InvalidArchitecture, architecture: Architecture, *, on_device: bool
) -> dict[str, str]:
    """Return why each part is missing that needs weights: the runtime's refusal, and runtimes that run it."""
    able = ", ".join(runtimes_that_run(architecture)) or "none that is known here"
    reason = f"{str(error).removeprefix('model: ')}; runtimes that do: {able}"
    parts = ("weights", "memory", *(("latency", "energy") if on_device else ()))
    return dict.fromkeys(parts, reason)
