"""llama.cpp on a CPU: GGUF files, mapped weights, KV cache, compute and output buffers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from sizer.architecture import Architecture
from sizer.errors import InvalidQuantity
from sizer.formats import gguf
from sizer.formats.gguf_layout import gguf_layout, windowed_layers
from sizer.formats.llamacpp import BASE_TYPES, mix
from sizer.formats.stored import FileBytes, StoredTensor
from sizer.memory import MemoryBreakdown, cache_cells, convolution_state_bytes, kv_cache_bytes
from sizer.runtimes import llamacpp_graph
from sizer.runtimes.llamacpp_weights import weights_bytes, weights_note
from sizer.tensors import tensor_specs
from sizer.workload import CACHE_TYPES, WEIGHTS_IN_MEMORY, Workload

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


class LlamaCpp:
    """llama.cpp's CPU backend with memory-mapped weights."""

    name = "llama.cpp"
    cache_types = ("F16", *(name for name in CACHE_TYPES if name != "F16"))
    weights_in_memory = WEIGHTS_IN_MEMORY
    memory_limit_bytes = None

    @property
    def formats(self) -> tuple[str, ...]:
        """Names of llama.cpp's file types."""
        return tuple(BASE_TYPES)

    def format_name(self, text: str) -> str:
        """Canonical name of a file type, ignoring case."""
        return mix(text).name

    def format_for_bits(self, bits: float) -> str:
        """File type people customarily mean by that many bits, such as Q4_K_M for 4."""
        if bits not in _CUSTOMARY:
            raise InvalidQuantity(
                f"bits: {self.name} has no customary format for {bits:g} bits; "
                f"accepted: {', '.join(f'{b:g}' for b in sorted(_CUSTOMARY))}"
            )
        return _CUSTOMARY[bits]

    def as_stored(self, architecture: Architecture) -> Architecture:
        """Unrolled: a GGUF file holds a shared block as often as it runs, and OpenELM's gate and up apart."""
        unrolled = architecture.unrolled()
        if gguf_layout(architecture) == "openelm":
            return replace(unrolled, fused_gate_up=False)
        return unrolled

    def store(self, architecture: Architecture, format_name: str) -> tuple[StoredTensor, ...]:
        """Every tensor of the GGUF file with the block type llama-quantize gives it."""
        return _stored(self.as_stored(architecture), format_name)

    def file_bytes(self, architecture: Architecture, stored: Sequence[StoredTensor]) -> FileBytes:
        """Bytes of the GGUF file by part."""
        return gguf.file_bytes(architecture.vocab_size, stored)

    def memory(
        self, architecture: Architecture, stored: Sequence[StoredTensor], workload: Workload
    ) -> MemoryBreakdown:
        """Bytes held on a CPU: mapped weights count as held (the system may drop and re-read their pages)."""
        how = workload.weights_in_memory
        return MemoryBreakdown(
            context_tokens=workload.context_tokens,
            weights_bytes=weights_bytes(stored, how),
            kv_cache_bytes=kv_cache_bytes(architecture, workload, self.windowed_layers(architecture))
            + convolution_state_bytes(architecture, workload),
            compute_bytes=compute_buffer_bytes(architecture, workload),
            # one row of logits per sequence (llama_context::output_reserve)
            output_bytes=workload.batch_size * architecture.vocab_size * FLOAT_BYTES,
            overhead_bytes=PROCESS_BYTES + VOCABULARY_ENTRY_BYTES * architecture.vocab_size,
            notes=(weights_note(stored, how),),
        )

    def windowed_layers(self, architecture: Architecture) -> int:
        """How many of the executed layers have a window under llama.cpp: those with a short cache."""
        return len(windowed_layers(architecture))

    def assumptions(self, architecture: Architecture, format_name: str) -> tuple[str, ...]:
        """Notes on an approximate compute buffer, sliding windows and shared blocks."""
        notes = []
        if not llamacpp_graph.knows(architecture):
            notes.append(
                "the compute buffer is approximate (up to 30 % off for LFM2 and OpenELM): llama.cpp's graph "
                "is not followed for a model of this kind"
            )
        notes.extend(_window_notes(architecture))
        if architecture.sharing.repeat > 1:
            notes.append(
                f"llama.cpp stores shared blocks once per run: {architecture.executed_layers} blocks in the "
                f"file for {architecture.num_layers} trained ones"
            )
        return tuple(notes)


def _window_notes(a: Architecture) -> tuple[str, ...]:
    """What llama.cpp's cache makes of a model's sliding windows, where it has any."""
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
def _stored(unrolled: Architecture, format_name: str) -> tuple[StoredTensor, ...]:
    return mix(format_name).assign(unrolled, tensor_specs(unrolled))


def compute_buffer_bytes(architecture: Architecture, workload: Workload) -> int:
    """Bytes of llama.cpp's CPU compute buffer: what ggml's allocator needs for one micro-batch."""
    if llamacpp_graph.knows(architecture):
        return llamacpp_graph.compute_bytes(architecture, workload)
    return approximate_compute_buffer_bytes(architecture, workload)


def approximate_compute_buffer_bytes(architecture: Architecture, workload: Workload) -> int:
    """The largest step of the graph for one micro-batch, for architectures whose graph we do not build.

    Candidates per token, in floats: the logits with three rows beside them; the feed-forward block; and,
    without flash attention, one score row per head over the whole context with its mask. ggml's allocator
    re-uses buffers more finely.
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
    return FLOAT_BYTES * tokens * max(logits, feed_forward, attention)
