"""In a browser: transformers.js (ONNX Runtime, on WebAssembly or WebGPU) and WebLLM (MLC, on WebGPU)."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.architecture import Architecture
from sizer.formats import mlc, onnx
from sizer.formats.stored import FileBytes, StoredTensor
from sizer.memory import MemoryBreakdown
from sizer.runtimes.recipes import (
    RecipeRuntime,
    block_activation_bytes,
    cache_bytes,
    sharing_note,
    sum_bytes,
)
from sizer.units import format_bytes_binary
from sizer.workload import Workload

# WebAssembly's 32-bit memory: 65,536 pages of 64 KiB (WebAssembly core specification 2.0, section 4.2.8).
WASM_HEAP_BYTES = 4 * 2**30

# What every WebGPU implementation must offer (W3C WebGPU, 3.6.2 Limits: maxBufferSize,
# maxStorageBufferBindingSize); many devices offer more.
WEBGPU_BUFFER_BYTES = 256 * 2**20
WEBGPU_BINDING_BYTES = 128 * 2**20

# Nodes of an exported decoder: published files of SmolLM2-135M (30 layers) are 1.3 to 2.7 MB above their
# tensors.
_GRAPH_BYTES_PER_LAYER = 75_000

# mlc-llm compiles for chunks of this many prompt tokens unless told otherwise (prefill_chunk_size).
_MLC_CHUNK_TOKENS = 2048

_FLOAT_BYTES = {"F32": 4, "F16": 2}


class TransformersJs(RecipeRuntime):
    """transformers.js on WebAssembly: the file in memory beside the copy in the 4 GiB heap."""

    name = "transformers.js"
    recipes = onnx.RECIPES
    customary = {32.0: "fp32", 16.0: "fp16", 8.0: "q8f16", 4.0: "q4"}
    cache_types = ("F32", "F16")
    memory_limit_bytes: int | None = WASM_HEAP_BYTES

    def file_bytes(self, architecture: Architecture, stored: Sequence[StoredTensor]) -> FileBytes:
        """Bytes of the .onnx file: tensors, and the graph's nodes in proportion to the layers."""
        return FileBytes(
            tensor_bytes=sum_bytes(stored),
            padding_bytes=0,
            directory_bytes=_GRAPH_BYTES_PER_LAYER * architecture.executed_layers,
        )

    def memory(
        self, architecture: Architecture, stored: Sequence[StoredTensor], workload: Workload
    ) -> MemoryBreakdown:
        """Bytes of the page: weights as the session holds them, and as overhead the downloaded file."""
        float_bytes = _FLOAT_BYTES[workload.cache_type]
        tokens = workload.batch_size * workload.prompt_tokens
        return MemoryBreakdown(
            context_tokens=workload.context_tokens,
            weights_bytes=sum_bytes(stored),
            # each step returns the whole cache as new outputs beside the inputs it came from
            kv_cache_bytes=2 * cache_bytes(architecture, workload),
            compute_bytes=block_activation_bytes(architecture, tokens, float_bytes),
            output_bytes=tokens
            * architecture.vocab_size
            * float_bytes,  # an exported graph gives all positions
            overhead_bytes=self.file_bytes(architecture, stored).total,
        )

    def assumptions(self, architecture: Architecture, format_name: str) -> tuple[str, ...]:
        """Notes on the double copy and the heap."""
        return (
            "the downloaded file stays beside the session's copy of the weights while it loads: counted as "
            "overhead",
            f"a tab can hold {format_bytes_binary(WASM_HEAP_BYTES)} in WebAssembly's memory at most; phones "
            "end pages long before",
            "compute, output and cache are estimates from shapes, not checked against a browser",
            *sharing_note(architecture, self.name),
        )


class TransformersJsWebGpu(TransformersJs):
    """transformers.js on WebGPU: weights in GPU buffers of limited size."""

    name = "transformers.js-webgpu"
    customary = {32.0: "fp32", 16.0: "fp16", 8.0: "q8f16", 4.0: "q4f16"}
    cache_types = ("F16", "F32")

    def assumptions(self, architecture: Architecture, format_name: str) -> tuple[str, ...]:
        """The same notes, and what is larger than a buffer that every device offers."""
        return (
            *super().assumptions(architecture, format_name),
            *buffer_notes(self.store(architecture, format_name)),
        )


class WebLlm(RecipeRuntime):
    """WebLLM: MLC-compiled models on WebGPU."""

    name = "web-llm"
    recipes = mlc.RECIPES
    customary = {32.0: "q0f32", 16.0: "q0f16", 4.0: "q4f16_1", 3.0: "q3f16_1"}
    cache_types = ("F16", "F32")

    def file_bytes(self, architecture: Architecture, stored: Sequence[StoredTensor]) -> FileBytes:
        """Bytes of the parameter shards; the compiled library is a file of its own."""
        return FileBytes(tensor_bytes=sum_bytes(stored), padding_bytes=0, directory_bytes=0)

    def memory(
        self, architecture: Architecture, stored: Sequence[StoredTensor], workload: Workload
    ) -> MemoryBreakdown:
        """Bytes of GPU memory: parameters, cache, and the temporary buffer of one chunk of the prompt.

        The buffer, two MLP rows and half a residual row a token, was read off the memory that WebLLM's list
        of models states for SmolLM2 (135M to 1.7B) and TinyLlama; it is reserved for a whole chunk.
        """
        a, float_bytes = architecture, _FLOAT_BYTES[workload.cache_type]
        per_token = 2 * a.intermediate_size + a.hidden_size // 2
        return MemoryBreakdown(
            context_tokens=workload.context_tokens,
            weights_bytes=sum_bytes(stored),
            kv_cache_bytes=cache_bytes(architecture, workload),
            compute_bytes=_MLC_CHUNK_TOKENS * per_token * float_bytes,
            output_bytes=4 * workload.batch_size * a.vocab_size,
            overhead_bytes=0,
        )

    def assumptions(self, architecture: Architecture, format_name: str) -> tuple[str, ...]:
        """Notes on the compiled buffer and on buffer limits."""
        logits = _MLC_CHUNK_TOKENS * architecture.vocab_size * 2
        return (
            f"temporary buffers for chunks of {_MLC_CHUNK_TOKENS:,} tokens; some published builds (Qwen's) "
            f"keep logits of the whole chunk besides, here {format_bytes_binary(logits)}",
            *buffer_notes(self.store(architecture, format_name)),
            *sharing_note(architecture, self.name),
        )


def buffer_notes(stored: Sequence[StoredTensor]) -> tuple[str, ...]:
    """What a GPU with WebGPU's default limits cannot hold in one buffer; empty where all fits."""
    largest = max(stored, key=lambda tensor: tensor.num_bytes)
    if largest.num_bytes <= WEBGPU_BINDING_BYTES:
        return ()
    limit = "buffer" if largest.num_bytes > WEBGPU_BUFFER_BYTES else "binding"
    limit_bytes = WEBGPU_BUFFER_BYTES if limit == "buffer" else WEBGPU_BINDING_BYTES
    return (
        f"{largest.spec.name} takes {format_bytes_binary(largest.num_bytes)}, more than the "
        f"{format_bytes_binary(limit_bytes)} {limit} that WebGPU promises; some devices offer more",
    )
