"""bitnet.cpp, a fork of llama.cpp: its ternary formats in GGUF files, llama.cpp's cache and buffers."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture
from sizer.formats import bitnetcpp, gguf
from sizer.formats.gguf_layout import unknown_layout
from sizer.formats.stored import FileBytes, StoredTensor
from sizer.memory import MemoryBreakdown
from sizer.runtimes.llamacpp import LlamaCpp
from sizer.runtimes.recipes import RecipeRuntime
from sizer.tensors import count_parameters, tensor_specs
from sizer.workload import Workload


class BitnetCpp(RecipeRuntime):
    """bitnet.cpp's CPU kernels for ternary weights."""

    name = "bitnet.cpp"
    recipes = bitnetcpp.RECIPES
    customary = {2.0: "I2_S", 1.58: "I2_S", 1.67: "TL2"}
    cache_types = LlamaCpp.cache_types

    def as_stored(self, architecture: Architecture) -> Architecture:
        """Unrolled, as llama.cpp's files are."""
        return architecture.unrolled()

    def store(self, architecture: Architecture, format_name: str) -> tuple[StoredTensor, ...]:
        """Every tensor of the GGUF file; a layout llama.cpp's calculator does not know is refused."""
        if unknown := unknown_layout(architecture):
            total = count_parameters(tensor_specs(architecture)).total
            raise InvalidArchitecture(
                f"model: {self.name} does not run {architecture.name!r} (it has {', '.join(unknown)}); "
                f"its parameters are: {total:,}"
            )
        return super().store(architecture, format_name)

    def file_bytes(self, architecture: Architecture, stored: Sequence[StoredTensor]) -> FileBytes:
        """Bytes of the GGUF file by part."""
        return gguf.file_bytes(architecture.vocab_size, stored)

    def memory(
        self, architecture: Architecture, stored: Sequence[StoredTensor], workload: Workload
    ) -> MemoryBreakdown:
        """Bytes held, as in llama.cpp."""
        return LlamaCpp().memory(architecture, stored, workload)

    def windowed_layers(self, architecture: Architecture) -> int:
        """As in llama.cpp."""
        return LlamaCpp().windowed_layers(architecture)

    def assumptions(self, architecture: Architecture, format_name: str) -> tuple[str, ...]:
        """Notes on what ternary weights ask of a model, and where llama.cpp's numbers are taken."""
        return (
            "ternary weights need a model trained with them (BitNet b1.58); converting another ruins it",
            "buffers are those of today's llama.cpp, of which bitnet.cpp is an older fork",
            *LlamaCpp().assumptions(architecture, format_name),
        )
