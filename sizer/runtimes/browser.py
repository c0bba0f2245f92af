"""transformers.js in a browser (ONNX Runtime, on WebAssembly or WebGPU), and limits of WebGPU's buffers."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.architecture import Architecture
from sizer.formats import onnx
from sizer.formats.stored import FileBytes, StoredTensor, sum_bytes
from sizer.memory import MemoryBreakdown
from sizer.runtimes.recipes import (
    RecipeRuntime,
    block_activation_bytes,
    cache_bytes,
    sharing_note,
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

# Files of the npm packages: ort-wasm-simd-threaded.asyncify.wasm of onnxruntime-web 1.30.0, which
# transformers.js loads for WebAssembly and for WebGPU, and transformers.web.min.js of transformers.js 4.3.2.
_ORT_WASM_BYTES = 26_781_914
_TRANSFORMERS_JS_BYTES = 456_110

_FLOAT_BYTES = {"F32": 4, "F16": 2}


class TransformersJs(RecipeRuntime):
    """transformers.js on WebAssembly: the file in memory plus the copy in the 4 GiB heap."""

    name = "transformers.js"
    kinds_not_run = ("mamba", "shared_transformer")  # src/models (4.x) has neither Mamba, Jamba nor Zamba2
    backends: tuple[str, ...] = ("cpu",)
    recipes = {**onnx.RECIPES, **onnx.UNLISTED}
    unlisted = frozenset(onnx.UNLISTED)
    aliases = {"quantized": "q8", "auto": "q8"}  # suffix of the file's name; the default on WebAssembly
    customary = {32.0: "fp32", 16.0: "fp16", 8.0: "q8", 4.0: "q4"}
    cache_types = ("F32", "F16")
    memory_limit_bytes: int | None = WASM_HEAP_BYTES

    def download_bytes(self, *, in_browser: bool) -> int | None:
        """Return the bytes of ONNX Runtime's WebAssembly and of the library, not compressed."""
        return _ORT_WASM_BYTES + _TRANSFORMERS_JS_BYTES

    def file_bytes(self, architecture: Architecture, stored: Sequence[StoredTensor]) -> FileBytes:
        """Return the bytes of the .onnx file: tensors, and the graph's nodes in proportion to the layers."""
        return FileBytes(
            tensor_bytes=sum_bytes(stored),
            padding_bytes=0,
            directory_bytes=_GRAPH_BYTES_PER_LAYER * architecture.executed_layers,
        )

    def memory(
        self, architecture: Architecture, stored: Sequence[StoredTensor], workload: Workload
    ) -> MemoryBreakdown:
        """Return bytes of the page: weights held by the session, and as overhead the downloaded file."""
        float_bytes = _FLOAT_BYTES[workload.cache_type]
        tokens = workload.batch_size * workload.prompt_tokens
        return MemoryBreakdown(
            context_tokens=workload.context_tokens,
            weights_bytes=sum_bytes(stored),
            # each step returns the whole cache as new outputs next to the inputs it came from
            kv_cache_bytes=2 * cache_bytes(architecture, workload),
            compute_bytes=block_activation_bytes(architecture, tokens, float_bytes),
            output_bytes=tokens
            * architecture.vocab_size
            * float_bytes,  # an exported graph gives all positions
            overhead_bytes=self.file_bytes(architecture, stored).total,
        )

    def assumptions(self, architecture: Architecture, format_name: str) -> tuple[str, ...]:
        """Return the notes on the double copy and the heap."""
        return (
            "the downloaded file stays in memory with the session's copy of the weights while it loads: "
            "counted as overhead",
            f"a tab can hold {format_bytes_binary(WASM_HEAP_BYTES)} in WebAssembly's memory at most; phones "
            "end pages long before",
            "compute, output and cache are estimates from shapes, not checked against a browser",
            *sharing_note(architecture, self.name),
        )


class TransformersJsWebGpu(TransformersJs):
    """transformers.js on WebGPU: weights in GPU buffers of limited size."""

    name = "transformers.js-webgpu"
    backends = ("webgpu",)
    aliases = {"quantized": "q8", "auto": "fp32"}
    customary = {32.0: "fp32", 16.0: "fp16", 8.0: "q8", 4.0: "q4f16"}
    cache_types = ("F16", "F32")

    def assumptions(self, architecture: Architecture, format_name: str) -> tuple[str, ...]:
        """Return the same notes, and what is larger than a buffer that every device offers."""
        return (
            *super().assumptions(architecture, format_name),
            *buffer_notes(self.store(architecture, format_name)),
        )


def buffer_notes(stored: Sequence[StoredTensor]) -> tuple[str, ...]:
    """Return what a GPU with WebGPU's default limits cannot hold in one buffer; empty where all fits."""
    largest = max(stored, key=lambda tensor: tensor.num_bytes)
    if largest.num_bytes <= WEBGPU_BINDING_BYTES:
        return ()
    limit = "buffer" if largest.num_bytes > WEBGPU_BUFFER_BYTES else "binding"
    limit_bytes = WEBGPU_BUFFER_BYTES if limit == "buffer" else WEBGPU_BINDING_BYTES
    return (
        f"{largest.spec.name} takes {format_bytes_binary(largest.num_bytes)}, more than the "
        f"{format_bytes_binary(limit_bytes)} {limit} that WebGPU promises; some devices offer more",
    )
