"""What every runtime must answer: formats it takes, how it stores a model, what memory it holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sizer.architecture import Architecture
from sizer.formats.stored import FileBytes, StoredTensor
from sizer.memory import MemoryBreakdown
from sizer.workload import Workload


class Runtime(Protocol):
    """An engine that runs a model on a device."""

    @property
    def name(self) -> str:
        """Name as its users write it, such as "llama.cpp"."""

    @property
    def formats(self) -> tuple[str, ...]:
        """Names of the weight formats it runs."""

    @property
    def cache_types(self) -> tuple[str, ...]:
        """Types its KV cache can have, the usual one first."""

    @property
    def weights_in_memory(self) -> tuple[str, ...]:
        """Ways it can hold weights that a workload may ask for, the usual one first."""

    @property
    def memory_limit_bytes(self) -> int | None:
        """Bytes this engine can hold on any device, such as WebAssembly's 4 GiB; None without a limit."""

    def format_name(self, text: str) -> str:
        """Canonical name of a format, ignoring case; UnknownName if it does not run it."""

    def format_for_bits(self, bits: float) -> str:
        """Name of the format its users customarily mean by that many bits."""

    def as_stored(self, architecture: Architecture) -> Architecture:
        """The architecture with as many blocks as this runtime keeps in its file."""

    def store(self, architecture: Architecture, format_name: str) -> tuple[StoredTensor, ...]:
        """Every tensor in the file with the type it is stored as."""

    def file_bytes(self, architecture: Architecture, stored: Sequence[StoredTensor]) -> FileBytes:
        """Bytes of the model file by part."""

    def memory(
        self, architecture: Architecture, stored: Sequence[StoredTensor], workload: Workload
    ) -> MemoryBreakdown:
        """Bytes held while the workload runs, by part."""

    def windowed_layers(self, architecture: Architecture) -> int:
        """How many of the executed layers look back on the sliding window alone when it runs them."""

    def assumptions(self, architecture: Architecture, format_name: str) -> tuple[str, ...]:
        """What the user should know about how this runtime treats this model."""
