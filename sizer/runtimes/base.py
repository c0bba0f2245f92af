"""What every runtime must answer: formats it takes, how it stores a model, what memory it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Protocol

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture, InvalidQuantity, UnknownName
from sizer.formats.levels import NotModelled
from sizer.formats.stored import FileBytes, StorageType, StoredTensor
from sizer.memory import MemoryBreakdown, PeakBytes
from sizer.workload import Workload

if TYPE_CHECKING:
    from sizer.devices.device import Device
    from sizer.file_model import FileModel

# Names of formats that keep any model's weights as they are, in the runtimes' spellings.
_FLOAT_FORMATS = ("f32", "fp32", "q0f32")


class Searchable:
    """Answers about models and searches that follow from how a runtime stores weights."""

    name: str
    splits_layers = False  # True: some layers can lie on a card, the others in the CPU's memory

    def download_bytes(self, *, in_browser: bool) -> int | None:
        """Return none: it is not part of a page or app."""
        return None

    def peak(
        self,
        architecture: Architecture,
        stored: Sequence[StoredTensor],
        workload: Workload,
        device: Device | None,
    ) -> PeakBytes | None:
        """Return none: no peak beyond what is held is known."""
        return None

    @property
    def formats(self) -> tuple[str, ...]:
        """Names of the weight formats it runs."""
        raise NotImplementedError

    def format_name(self, text: str) -> str:
        """Return the canonical name of a format, ignoring case."""
        raise NotImplementedError

    def types_of(self, format_name: str) -> Sequence[StorageType]:
        """Return the storage types that a format can give a tensor."""
        raise NotImplementedError

    def format_for_bits(self, bits: float) -> str:
        """Return the name of the format its users customarily mean by that many bits."""
        raise NotImplementedError

    @property
    def customary_formats(self) -> Mapping[float, str]:
        """Formats its users customarily mean by a number of bits."""
        raise NotImplementedError

    def format_or_alias(self, text: str, by_name: Callable[[], str]) -> str:
        """Return the format by name, or the one meant by another name; raise what `by_name` raises."""
        try:
            return by_name()
        except UnknownName:
            from sizer.names import format_alias

            meant = format_alias(text, self.formats, self.customary_formats)
            if meant is None:
                raise
            return meant

    def nearest_bits(self, bits: float) -> float:
        """Return the number of bits with a customary format that is nearest, the larger of two."""
        if not 1 <= bits <= 32:
            raise InvalidQuantity(f"bits: {bits:g} is no number of bits a weight; accepted: 1 to 32")
        return min(self.customary_formats, key=lambda known: (abs(known - bits), -known))

    def store(self, architecture: Architecture, format_name: str) -> Sequence[StoredTensor]:
        """Return every tensor in the file with the type it is stored as."""
        raise NotImplementedError

    def file_memory(self, model: FileModel, workload: Workload) -> MemoryBreakdown:
        """Return the bytes held of a model known by its file alone; InvalidArchitecture if unknown."""
        raise InvalidArchitecture(
            f"model: {self.name} is sized from a model's layers, which are not known of {model.kind!r} here"
        )

    def why_not_run(self, architecture: Architecture) -> str | None:
        """Return the reason why it cannot run a model that was not trained for it; None if it can."""
        floats = [name for name in self.formats if name.lower() in _FLOAT_FORMATS]
        if not floats:
            return f"model: {self.name} runs models that were trained in its own formats"
        try:
            self.store(architecture, floats[0])
        except InvalidArchitecture as error:
            return str(error)
        return None

    def why_not_searchable(self, format_name: str) -> str | None:
        """Return the reason why models cannot be scored in a format; None if they can."""
        for kind in self.types_of(self.format_name(format_name)):
            if isinstance(kind.levels, NotModelled):
                return f"{kind.name}: {kind.levels.reason}"
        return None

    @property
    def searchable_formats(self) -> tuple[str, ...]:
        """Formats that a search can score models in."""
        return tuple(name for name in self.formats if self.why_not_searchable(name) is None)

    def check_searchable(self, text: str) -> None:
        """Raise UnknownName, with the formats accepted, if models cannot be scored in a format."""
        reason = self.why_not_searchable(text)
        if reason is not None:
            accepted = ", ".join(self.searchable_formats)
            raise UnknownName(
                f"formats: {self.name} {text!r} cannot be searched ({reason}); accepted: {accepted}"
            )


class Runtime(Protocol):
    """An engine that runs a model on a device."""

    @property
    def name(self) -> str:
        """Name as its users write it, such as "llama.cpp"."""

    @property
    def backends(self) -> tuple[str, ...]:
        """Backends it runs on (names of sizer.devices.profile.BACKENDS), its own choice first."""

    @property
    def why_one_ffn_size(self) -> str | None:
        """Reason why its models of Llama's kind have one FFN size for all layers; None if they need not."""

    @property
    def why_no_experts(self) -> str | None:
        """Reason why a search has no models with experts for it; None if it has."""

    @property
    def why_no_windows(self) -> str | None:
        """Reason why none of its models of Llama's kind has sliding windows and sinks; None if one has."""

    @property
    def why_no_convolutions(self) -> str | None:
        """Reason why no model of a search for it has short convolutions in some layers; None if one may."""

    @property
    def splits_layers(self) -> bool:
        """Return True if some layers can lie on a card, the others in the CPU's memory."""

    @property
    def formats(self) -> tuple[str, ...]:
        """Names of the weight formats it runs."""

    @property
    def cache_types(self) -> tuple[str, ...]:
        """Types its KV cache can have, the usual one first."""

    def fixed_cache_type(self, format_name: str) -> str | None:
        """Return the type of KV cache that comes with a format; None where the workload chooses it."""

    @property
    def weights_in_memory(self) -> tuple[str, ...]:
        """Ways it can hold weights that a workload may ask for, the usual one first."""

    @property
    def memory_limit_bytes(self) -> int | None:
        """Bytes this engine can hold on any device, such as WebAssembly's 4 GiB; None without a limit."""

    @property
    def why_no_grid(self) -> str | None:
        """Reason why `sizer.grid` cannot size many architectures at once; None if it can."""

    @property
    def customary_formats(self) -> Mapping[float, str]:
        """Formats its users customarily mean by a number of bits."""

    @property
    def searchable_formats(self) -> tuple[str, ...]:
        """Formats that a search can score models in; never empty."""

    def why_not_run(self, architecture: Architecture) -> str | None:
        """Return the reason why it cannot run a model that was not trained for it; None if it can."""

    def why_not_searchable(self, format_name: str) -> str | None:
        """Return the reason why models cannot be scored in a format; None if they can."""

    def check_searchable(self, text: str) -> None:
        """Raise UnknownName, with the formats accepted, if models cannot be scored in a format."""

    def format_name(self, text: str) -> str:
        """Return canonical name of a format, ignoring case; UnknownName if it does not run it."""

    def format_for_bits(self, bits: float) -> str:
        """Return the name of the format its users customarily mean by that many bits."""

    def nearest_bits(self, bits: float) -> float:
        """Return the number of bits with a customary format that is nearest, the larger of two."""

    def as_stored(self, architecture: Architecture) -> Architecture:
        """Return the architecture with as many blocks as this runtime keeps in its file."""

    def store(self, architecture: Architecture, format_name: str) -> Sequence[StoredTensor]:
        """Return every tensor in the file with the type it is stored as."""

    def file_bytes(self, architecture: Architecture, stored: Sequence[StoredTensor]) -> FileBytes:
        """Return the bytes of the model file by part."""

    def memory(
        self, architecture: Architecture, stored: Sequence[StoredTensor], workload: Workload
    ) -> MemoryBreakdown:
        """Return the bytes held while the workload runs, by part."""

    def download_bytes(self, *, in_browser: bool) -> int | None:
        """Return the bytes of the engine that a page or app brings with a model; None if it is in neither."""

    def peak(
        self,
        architecture: Architecture,
        stored: Sequence[StoredTensor],
        workload: Workload,
        device: Device | None,
    ) -> PeakBytes | None:
        """Return the most bytes it takes while it works; None where that is what it holds, or not known."""

    def file_memory(self, model: FileModel, workload: Workload) -> MemoryBreakdown:
        """Return the bytes held of a model known by its file alone; InvalidArchitecture if unknown."""

    def windowed_layers(self, architecture: Architecture) -> int:
        """Return how many of the executed layers look back on the sliding window alone when it runs them."""

    def assumptions(self, architecture: Architecture, format_name: str) -> tuple[str, ...]:
        """Return what the user should know about how this runtime treats this model."""


def accepted_workload(engine: Runtime, format_name: str, workload: Workload | None) -> Workload:
    """Return the workload as the runtime runs it: its first cache type by default, that of a fixed format."""
    load = workload or _usual_workload(engine.cache_types[0])
    if load.cache_type not in engine.cache_types:
        raise UnknownName.of(f"{engine.name} cache type", load.cache_type, engine.cache_types)
    if load.weights_in_memory not in engine.weights_in_memory:
        raise UnknownName.of(
            f"weights_in_memory of {engine.name}", load.weights_in_memory, engine.weights_in_memory
        )
    if load.gpu_layers is not None and not engine.splits_layers:
        raise InvalidQuantity(f"gpu_layers: {engine.name} does not split a model; accepted with llama.cpp")
    fixed = engine.fixed_cache_type(format_name)
    return load if fixed in (None, load.cache_type) else replace(load, cache_type=fixed)


@cache
def _usual_workload(cache_type: str) -> Workload:
    return Workload(cache_type=cache_type)
