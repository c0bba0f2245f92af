"""ExecuTorch with XNNPACK on a CPU: .pte files of its Llama, planned memory, packed weights."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture, InvalidQuantity
from sizer.formats import executorch
from sizer.formats.stored import FileBytes, StoredTensor
from sizer.memory import MemoryBreakdown
from sizer.runtimes.executorch_plan import kv_cache_bytes, planned_bytes
from sizer.runtimes.recipes import RecipeRuntime
from sizer.tensors import Access
from sizer.workload import Workload

# The context a file is exported for by default: ModelArgs.max_context_len of examples/models/llama.
EXPORTED_CONTEXT = 2048

# XNNPACK packs each matrix at load, with a bias and a sum next to each row, and the file's own pages are
# given back. Without its weight cache (not used by ExecuTorch 1.5.1's wheel) every graph packs its own.
_PACKED_ROW_BYTES = 8

# Read off the oracle's processes (docs/method.md): what is held beyond planned memory, weights and workspace.
_PROCESS_BYTES = 1_780_000
_GRAPH_BYTES = 8_700


# About what ExecuTorch 1.5 with XNNPACK adds to an app for arm64 (pub.dev modelport_executorch 0.1.0)
_LIBRARY_BYTES = 7_600_000


class ExecuTorch(RecipeRuntime):
    """ExecuTorch's Llama runner on the XNNPACK backend."""

    name = "executorch"
    backends = ("cpu", "ane", "metal", "hexagon", "vulkan")  # XNNPACK unless built for another
    recipes = executorch.RECIPES
    customary = {32.0: "fp32", 8.0: "8da8w-e8", 4.0: "8da4w-g32-e8"}
    cache_types = ("F32",)

    def download_bytes(self, *, in_browser: bool) -> int | None:
        """Return the bytes of the library as an app's package has it."""
        return _LIBRARY_BYTES

    def store(self, architecture: Architecture, format_name: str) -> Sequence[StoredTensor]:
        """Return every tensor of the .pte file: shared blocks once, a tied table twice."""
        executorch.check_layout(architecture)
        stored = super().store(architecture, format_name)
        wanted = self.recipes[format_name].embedding
        if not wanted.fits(architecture.hidden_size):
            raise InvalidArchitecture(
                f"hidden_size: {format_name} keeps the embedding in groups of 32, "
                f"got {architecture.hidden_size}"
            )
        return stored

    def file_bytes(self, architecture: Architecture, stored: Sequence[StoredTensor]) -> FileBytes:
        """Return the bytes of the .pte file for the usual context."""
        return executorch.file_bytes(architecture, stored, EXPORTED_CONTEXT)

    def memory(
        self, architecture: Architecture, stored: Sequence[StoredTensor], workload: Workload
    ) -> MemoryBreakdown:
        """Return bytes held: matrices packed for every run, mapped tables, planned activations and cache."""
        if workload.batch_size != 1:
            raise InvalidQuantity(
                f"batch_size: ExecuTorch's Llama runs one sequence, got {workload.batch_size}"
            )
        a, context = architecture, workload.context_tokens
        cache = kv_cache_bytes(a, context)
        chunk = min(workload.ubatch_tokens, context)
        pieces = executorch.file_pieces(a, stored, context)
        return MemoryBreakdown(
            context_tokens=context,
            weights_bytes=sum(held_bytes(a, tensor) for tensor in stored),
            kv_cache_bytes=cache,
            compute_bytes=planned_bytes(a, chunk, context) - cache + workspace_bytes(a, chunk),
            output_bytes=0,  # one row of logits, planned with the rest
            overhead_bytes=process_bytes(a, pieces, context),
        )

    def assumptions(self, architecture: Architecture, format_name: str) -> tuple[str, ...]:
        """Return the notes on the export, the tied table and shared blocks."""
        per_token = executorch.rotary_bytes(architecture, 1)
        notes = [
            f"the file is exported for a context of {EXPORTED_CONTEXT:,} tokens; each token more adds "
            f"{per_token} bytes of position tables",
            "memory is planned for prompts in chunks of the micro-batch (`max_seq_length` of the export); "
            "XNNPACK holds packed copies of the matrices, not pages of the file",
        ]
        if architecture.tie_embeddings:
            notes.append(
                "a tied table is stored twice under executorch: as the embedding and as the head's matrix"
            )
        if architecture.sharing.repeat > 1:
            notes.append(
                "shared blocks are stored once in a .pte file, but XNNPACK packs them into memory for each "
                "run unless its weight cache is on"
            )
        return tuple(notes)


def held_bytes(architecture: Architecture, tensor: StoredTensor) -> int:
    """Return bytes a tensor takes in memory: packed for every run of its block, or mapped from the file."""
    if tensor.spec.access is not Access.MATMUL:
        return tensor.num_bytes
    rows = tensor.spec.num_elements // tensor.spec.row_length
    layer = tensor.spec.layer
    runs = 1 if layer is None else architecture.sharing.runs(layer, architecture.num_layers)
    return runs * (tensor.num_bytes + _PACKED_ROW_BYTES * rows)


def workspace_bytes(architecture: Architecture, prompt_tokens: int) -> int:
    """Return bytes of the workspace that graphs share: two FFN rows of floats and one of bytes a token.

    Norms of queries and keys take about as much for each of their numbers.
    """
    a = architecture
    normed = a.q_width + a.kv_width if a.qk_norm else 0
    return (2 * 4 + 1) * prompt_tokens * (a.intermediate_size + normed)


def process_bytes(architecture: Architecture, pieces: executorch.FilePieces, context_tokens: int) -> int:
    """Return the bytes of program, position tables, loaded graphs and threads."""
    tables = executorch.rotary_bytes(architecture, context_tokens)
    return _PROCESS_BYTES + _GRAPH_BYTES * len(pieces.graphs) + tables + pieces.program
