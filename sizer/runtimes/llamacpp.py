"""llama.cpp on a CPU: GGUF files, mapped weights, KV cache, compute and output buffers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial, reduce
from typing import TYPE_CHECKING

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture, InvalidQuantity
from sizer.formats import gguf
from sizer.formats.ggml import TYPES, BlockType
from sizer.formats.gguf_layout import gguf_layout, windowed_layers
from sizer.formats.llamacpp import BASE_TYPES, mix
from sizer.formats.stored import FileBytes, StoredModel, StoredTensor
from sizer.memory import (
    MemoryBreakdown,
    cache_cells,
    expanded_bytes_per_token,
    kv_cache_bytes,
    state_bytes,
)
from sizer.runtimes import llamacpp_buffer, llamacpp_graph
from sizer.runtimes.base import Searchable
from sizer.runtimes.llamacpp_weights import weights_bytes, weights_note
from sizer.tensors import tensor_groups, tensor_specs
from sizer.workload import CACHE_TYPES, WEIGHTS_IN_MEMORY, Workload

if TYPE_CHECKING:
    from sizer.file_model import FileModel

# What people run at each width; llama.cpp's own default at 4 bits is Q4_K_M (tools/quantize/README.md).
_CUSTOMARY = {
    32.0: "F32",
    16.0: "F16",
    8.0: "Q8_0",
    6.0: "Q6_K",
    5.0: "Q5_K_M",
    4.0: "Q4_K_M",
    3.0: "Q3_K_M",
    2.0: "Q2_K",
    1.58: "TQ1_0",
}

# Fixed process memory and per-entry vocabulary structures: gguf-parser-go v0.25.0,
# file_estimate__llamacpp.go:428-453 (5 MiB; 4+4 bytes of scores and types, 32+24+32 of token maps).
PROCESS_BYTES = 5 * 2**20
VOCABULARY_ENTRY_BYTES = 4 + 4 + 32 + 24 + 32

FLOAT_BYTES = 4

# libllama, libggml-base and one libggml-cpu of the npm package @node-llama-cpp/linux-arm64 3.22.1, and
# wllama.wasm of @wllama/wllama 3.13.0, llama.cpp in a browser; neither compressed
_LIBRARY_BYTES = 4_212_712 + 952_096 + 1_039_496
_WASM_BYTES = 10_244_628


class LlamaCpp(Searchable):
    """llama.cpp's CPU backend with memory-mapped weights."""

    name = "llama.cpp"
    splits_layers = True
    # a build for a phone's GPU or NPU is made on purpose; for Metal, CUDA and ROCm it is the usual one
    backends = ("metal", "cuda", "rocm", "cpu", "vulkan", "opencl", "webgpu", "hexagon")
    cache_types = ("F16", *(name for name in CACHE_TYPES if name != "F16"))
    weights_in_memory = WEIGHTS_IN_MEMORY
    memory_limit_bytes = None
    why_no_grid = None
    why_one_ffn_size = None  # `deci` is Llama with a size for each layer
    why_no_experts = None  # `llama` has them, as Mixtral
    why_no_windows = None  # `granite_swa` is Llama with windows in some layers, and sinks
    why_no_convolutions = None  # `lfm2` is Llama with convolutions in some layers, and norms of query and key

    def download_bytes(self, *, in_browser: bool) -> int | None:
        """Return the bytes of its libraries for a phone's CPU, or of wllama's WebAssembly."""
        return _WASM_BYTES if in_browser else _LIBRARY_BYTES

    def fixed_cache_type(self, format_name: str) -> str | None:
        """Return none: the workload chooses the type of the KV cache."""
        return None

    @property
    def formats(self) -> tuple[str, ...]:
        """Names of llama.cpp's file types."""
        return tuple(BASE_TYPES)

    def types_of(self, format_name: str) -> Sequence[BlockType]:
        """Return the block type that a mix is named after; all that it adds or falls back to are modelled."""
        return (TYPES[BASE_TYPES[format_name]],)

    def format_name(self, text: str) -> str:
        """Return canonical name of a file type, ignoring case; of another name the one that is meant."""
        return self.format_or_alias(text, lambda: mix(text).name)

    @property
    def customary_formats(self) -> Mapping[float, str]:
        """File types people mean by a number of bits."""
        return _CUSTOMARY

    def format_for_bits(self, bits: float) -> str:
        """Return file type people customarily mean by that many bits, such as Q4_K_M for 4."""
        if bits not in _CUSTOMARY:
            raise InvalidQuantity(
                f"bits: {self.name} has no customary format for {bits:g} bits; "
                f"accepted: {', '.join(f'{b:g}' for b in sorted(_CUSTOMARY))}"
            )
        return _CUSTOMARY[bits]

    def as_stored(self, architecture: Architecture) -> Architecture:
        """Return the architecture unrolled: a GGUF file stores a shared block once per run."""
        unrolled = architecture.unrolled()
        if not architecture.beyond_llama:
            return unrolled
        layout = gguf_layout(architecture)
        if layout == "openelm":
            return replace(unrolled, fused_gate_up=False)
        if layout is None:
            return unrolled
        from sizer.formats.gguf_other_layers import as_in_file

        return as_in_file(unrolled, layout)

    def store(self, architecture: Architecture, format_name: str) -> Sequence[StoredTensor]:
        """Return every tensor of the GGUF file with the block type llama-quantize gives it."""
        return _stored(self.as_stored(architecture), format_name)

    def file_bytes(self, architecture: Architecture, stored: Sequence[StoredTensor]) -> FileBytes:
        """Return the bytes of the GGUF file by part."""
        return gguf.file_bytes(architecture.vocab_size, stored)

    def memory(
        self, architecture: Architecture, stored: Sequence[StoredTensor], workload: Workload
    ) -> MemoryBreakdown:
        """Return bytes held on a CPU, mapped weights included (the system may drop and reread pages)."""
        how = workload.weights_in_memory
        whole = MemoryBreakdown(
            context_tokens=workload.context_tokens,
            weights_bytes=weights_bytes(stored, how),
            kv_cache_bytes=self._kv_cache_bytes(architecture, workload) + state_bytes(architecture, workload),
            compute_bytes=compute_buffer_bytes(architecture, workload),
            # one row of logits per sequence (llama_context::output_reserve)
            output_bytes=workload.batch_size * architecture.vocab_size * FLOAT_BYTES,
            overhead_bytes=PROCESS_BYTES + VOCABULARY_ENTRY_BYTES * architecture.vocab_size,
            notes=(weights_note(stored, how),),
        )
        if workload.gpu_layers is None:
            return whole
        from sizer.runtimes.llamacpp_devices import split_memory

        least = whole.compute_bytes
        if llamacpp_graph.knows(architecture):
            ends = (architecture, workload, architecture.executed_layers, workload.batch_size)
            least = max(llamacpp_buffer.allocation_ends(*ends))
        return split_memory(whole, architecture.unrolled(), stored, workload, least)

    def _kv_cache_bytes(self, architecture: Architecture, workload: Workload) -> int:
        if architecture.latent_attention and gguf_layout(architecture) == "minicpm3":
            per_token = expanded_bytes_per_token(architecture, workload.cache_type)
            return workload.batch_size * cache_cells(workload) * per_token
        return kv_cache_bytes(architecture, workload, self.windowed_layers(architecture))

    def file_memory(self, model: FileModel, workload: Workload) -> MemoryBreakdown:
        """Return the bytes held of a GGUF file, its cache by its keys; InvalidArchitecture without them."""
        from sizer.file_model import file_memory

        if model.weights is None or model.layers is None:
            raise InvalidArchitecture(
                f"model: the keys of {model.name!r} do not say what is cached (block_count, head_count_kv, "
                "key_length)"
            )
        vocabulary = model.size("vocab_size")
        overhead = PROCESS_BYTES + VOCABULARY_ENTRY_BYTES * vocabulary
        return file_memory(model, workload, overhead, workload.batch_size * vocabulary * FLOAT_BYTES)

    def windowed_layers(self, architecture: Architecture) -> int:
        """Return how many of the executed layers have a window under llama.cpp: those with a short cache."""
        return len(windowed_layers(architecture))

    def assumptions(self, architecture: Architecture, format_name: str) -> tuple[str, ...]:
        """Return the notes on an approximate compute buffer, sliding windows and shared blocks."""
        notes: list[str] = []
        if architecture.model_type is not None:  # of a model that people have, not of a shape alone
            from sizer.formats.gguf_names import converter_note

            notes.extend(converter_note(architecture.model_type))
        if not llamacpp_graph.knows(architecture):
            a = architecture
            compared = not (a.recurrent or a.latent_attention or a.attention_sinks or a.per_layer_inputs)
            how_far = "up to 30 % off for LFM2 and OpenELM" if compared else "compared with none"
            notes.append(
                f"the compute buffer is approximate ({how_far}): llama.cpp's graph is not followed for a "
                "model of this kind"
            )
        elif architecture.layer_intermediate_sizes:
            notes.append("the compute buffer is that of a model whose FFN sizes are all the largest one")
        notes.extend(_window_notes(architecture))
        if architecture.sharing.repeat > 1:
            notes.append(
                f"llama.cpp stores shared blocks once per run: {architecture.executed_layers} blocks in the "
                f"file for {architecture.num_layers} trained ones"
            )
        return tuple(notes)


def _window_notes(a: Architecture) -> tuple[str, ...]:
    """Return what llama.cpp's cache makes of a model's sliding windows, where it has any."""
    if not a.sliding_layers:
        return ()
    window = f"{len(a.sliding_layers)} of {a.num_layers} layers look back on {a.sliding_window} positions"
    if windowed_layers(a):
        return (
            f"{window}: llama.cpp's tools cache that many and a micro-batch for them (with --swa-full, and "
            "as a library by default, the whole context)",
        )
    return (f"{window}, but llama.cpp keeps the whole context for a model of this kind",)


# One model is asked for with many workloads and devices.
@lru_cache(maxsize=64)
def _stored(unrolled: Architecture, format_name: str) -> Sequence[StoredTensor]:
    groups = mix(format_name).assign_groups(unrolled, tensor_groups(unrolled))
    return StoredModel(groups, partial(_listed, unrolled, format_name))


@lru_cache(maxsize=64)
def _listed(unrolled: Architecture, format_name: str) -> tuple[StoredTensor, ...]:
    return mix(format_name).assign(unrolled, tensor_specs(unrolled))


def compute_buffer_bytes(architecture: Architecture, workload: Workload) -> int:
    """Return the bytes of llama.cpp's CPU compute buffer: what ggml's allocator needs for one micro-batch."""
    if llamacpp_graph.knows(architecture):
        return llamacpp_buffer.compute_bytes(architecture, workload)
    return approximate_compute_buffer_bytes(architecture, workload)


def approximate_compute_buffer_bytes(
    architecture: Architecture, workload: Workload, maximum: Callable[[int, int], int] = max
) -> int:
    """Return largest step of the graph for one micro-batch, for architectures whose graph we do not build.

    Candidates per token, in floats: the logits and three more rows; the feed-forward block; and,
    without flash attention, one score row per head over the whole context with its mask. ggml's allocator
    re-uses buffers more finely. `maximum` is that of columns where the architecture has these for numbers.
    """
    a = architecture
    tokens = min(workload.ubatch_tokens, workload.context_tokens)
    cells = cache_cells(workload)
    mask = cells // 2 if workload.flash_attention else cells
    logits = a.vocab_size + 3 * a.hidden_size
    feed_forward = 3 * a.active_mlp_width + 5 * a.hidden_size
    attention = a.hidden_size + 4 * a.q_width + mask
    if not workload.flash_attention:
        attention += a.num_heads * cells
    # what a recurrent layer makes of a row: gate and inputs, those after the convolution, its output
    mixer = 2 * a.hidden_size + 4 * max((kind.conv_channels for _, kind in a.recurrent), default=0)
    return FLOAT_BYTES * tokens * reduce(maximum, (logits, feed_forward, attention, mixer))
