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
from sizer.shape_words import in_words
from sizer.workload import Workload


class BitnetCpp(RecipeRuntime):
    """bitnet.cpp's CPU kernels for ternary weights."""

    name = "bitnet.cpp"
    backends = ("cpu",)
    recipes = bitnetcpp.RECIPES
    # a fork of 2024 of llama.cpp, which had none of these but Mamba (3rdparty/llama.cpp)
    kinds_not_run = (
        *("mamba2", "delta_net", "latent_attention", "attention_sinks", "per_layer_inputs"),
        *("global_attention", "conv_layers"),
    )
    customary = {2.0: "I2_S", 1.58: "I2_S", 1.67: "TL2"}
    cache_types = LlamaCpp.cache_types

    def as_stored(self, architecture: Architecture) -> Architecture:
        """Return the architecture unrolled, as llama.cpp's files are."""
        return architecture.unrolled()

    def store(self, architecture: Architecture, format_name: str) -> Sequence[StoredTensor]:
        """Return every tensor of the GGUF file; a layout llama.cpp's calculator does not know is refused."""
        if unknown := unknown_layout(architecture):
            raise InvalidArchitecture(
                f"model: {self.name} runs no model of this kind (it has {in_words(unknown)})"
            )
        return super().store(architecture, format_name)

    def file_bytes(self, architecture: Architecture, stored: Sequence[StoredTensor]) -> FileBytes:
        """Return the bytes of the GGUF file by part."""
        return gguf.file_bytes(architecture.vocab_size, stored)

    def memory(
        self, architecture: Architecture, stored: Sequence[StoredTensor], workload: Workload
    ) -> MemoryBreakdown:
        """Return the bytes held, as in llama.cpp."""
        return LlamaCpp().memory(architecture, stored, workload)

    def windowed_layers(self, architecture: Architecture) -> int:
        """Return the layers with windows, as in llama.cpp."""
        return LlamaCpp().windowed_layers(architecture)

    def assumptions(self, architecture: Architecture, format_name: str) -> tuple[str, ...]:
        """Return notes on what ternary weights ask of a model, and where llama.cpp's numbers are taken."""
        return (
            "ternary weights need a model trained with them (BitNet b1.58); converting another ruins it",
            "buffers are those of today's llama.cpp, of which bitnet.cpp is an older fork",
            *LlamaCpp().assumptions(architecture, format_name),
        )
