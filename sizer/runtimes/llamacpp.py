"""llama.cpp on a CPU: GGUF files, mapped weights, KV cache, compute and output buffers."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.architecture import Architecture
from sizer.errors import InvalidQuantity
from sizer.formats import gguf
from sizer.formats.llamacpp import BASE_TYPES, StoredTensor, mix
from sizer.memory import MemoryBreakdown, cache_cells, kv_cache_bytes
from sizer.runtimes import llamacpp_graph
from sizer.tensors import tensor_specs
from sizer.workload import Workload

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
        """Unrolled: a GGUF file holds a shared block as many times as it runs."""
        return architecture.unrolled()

    def store(self, architecture: Architecture, format_name: str) -> tuple[StoredTensor, ...]:
        """Every tensor of the GGUF file with the block type llama-quantize gives it."""
        unrolled = self.as_stored(architecture)
        return mix(format_name).assign(unrolled, tensor_specs(unrolled))

    def file_bytes(self, architecture: Architecture, stored: Sequence[StoredTensor]) -> gguf.FileBytes:
        """Bytes of the GGUF file by part."""
        return gguf.file_bytes(architecture.vocab_size, stored)

    def memory(
        self, architecture: Architecture, stored: Sequence[StoredTensor], workload: Workload
    ) -> MemoryBreakdown:
        """Bytes held on a CPU: mapped weights count as held (the system may drop and re-read their pages)."""
        return MemoryBreakdown(
            context_tokens=workload.context_tokens,
            weights_bytes=sum(tensor.num_bytes for tensor in stored),
            kv_cache_bytes=kv_cache_bytes(architecture, workload),
            compute_bytes=compute_buffer_bytes(architecture, workload),
            # one row of logits per sequence (llama_context::output_reserve)
            output_bytes=workload.batch_size * architecture.vocab_size * FLOAT_BYTES,
            overhead_bytes=PROCESS_BYTES + VOCABULARY_ENTRY_BYTES * architecture.vocab_size,
        )

    def assumptions(self, architecture: Architecture, format_name: str) -> tuple[str, ...]:
        """Notes on mapped weights, an approximate compute buffer and shared blocks."""
        notes = ["weights are memory-mapped and counted as held; the system can drop and re-read their pages"]
        if not llamacpp_graph.knows(architecture):
            notes.append(
                "the compute buffer is approximate: llama.cpp's graph is followed for models of the Llama, "
                "Qwen2 and Qwen3 kind only"
            )
        if architecture.sharing.repeat > 1:
            notes.append(
                f"llama.cpp stores shared blocks once per run: {architecture.executed_layers} blocks in the "
                f"file for {architecture.num_layers} trained ones"
            )
        return tuple(notes)


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
    feed_forward = 3 * a.intermediate_size + 5 * a.hidden_size
    attention = a.hidden_size + 4 * a.q_width + mask
    if not workload.flash_attention:
        attention += a.num_heads * cells
    return FLOAT_BYTES * tokens * max(logits, feed_forward, attention)
