"""Memory of a running model: its parts, and the KV cache from attention geometry."""

from __future__ import annotations

from typing import NamedTuple

from sizer.architecture import Architecture
from sizer.errors import InvalidQuantity
from sizer.formats.ggml import TYPES
from sizer.workload import Workload

# llama.cpp pads the cache's cells to this (src/llama-context.cpp, GGML_PAD(n_ctx, 256)).
CACHE_CELLS_MULTIPLE = 256


class MemoryBreakdown(NamedTuple):
    """Bytes a process holds at full context, by part; parts sum to `total_bytes`."""

    context_tokens: int
    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    output_bytes: int
    overhead_bytes: int
    budget_bytes: int | None = None
    notes: tuple[str, ...] = ()  # what the user should know about these bytes

    @property
    def total_bytes(self) -> int:
        """Bytes of all parts."""
        return (
            self.weights_bytes
            + self.kv_cache_bytes
            + self.compute_bytes
            + self.output_bytes
            + self.overhead_bytes
        )

    @property
    def fits(self) -> bool | None:
        """Whether the total is within the budget; None without one."""
        return None if self.budget_bytes is None else self.total_bytes <= self.budget_bytes


def kv_row_bytes(architecture: Architecture, cache_type: str) -> int:
    """Bytes of one token's keys (or values) in one executed layer."""
    block = TYPES[cache_type]
    if not block.fits(architecture.head_dim):
        raise InvalidQuantity(
            f"cache_type: {cache_type} needs head_dim to be a multiple of {block.block_elements}, "
            f"got head_dim {architecture.head_dim}"
        )
    return block.row_bytes(architecture.kv_width)


def kv_bytes_per_token(architecture: Architecture, cache_type: str) -> int:
    """Bytes of keys and values stored per token, all executed layers with attention."""
    return _kv_heads(architecture) * _head_bytes(architecture, cache_type)


def _kv_heads(a: Architecture) -> int:
    """KV heads of all executed layers together."""
    if a.layer_num_heads:
        return sum(a.layer_num_heads) * a.num_kv_heads // a.num_heads
    return (a.executed_layers - len(a.conv_layers)) * a.num_kv_heads


def _head_bytes(a: Architecture, cache_type: str) -> int:
    """Bytes of one token's key and value of one head."""
    return 2 * kv_row_bytes(a, cache_type) // a.num_kv_heads


def cache_cells(workload: Workload) -> int:
    """Tokens each sequence's cache has room for: the context, padded."""
    return workload.context_tokens + -workload.context_tokens % CACHE_CELLS_MULTIPLE


def window_cells(architecture: Architecture, workload: Workload) -> int:
    """Cells of a sliding layer's cache: the window and a micro-batch, padded (llama_kv_cache_iswa)."""
    cells = cache_cells(workload)
    if architecture.sliding_window is None:
        return cells
    wanted = min(cells, architecture.sliding_window + min(workload.ubatch_tokens, cells))
    return wanted + -wanted % CACHE_CELLS_MULTIPLE


def kv_cache_bytes(architecture: Architecture, workload: Workload, windowed_layers: int = 0) -> int:
    """Bytes of the KV cache for the workload's context and batch; every executed layer has its own.

    `windowed_layers` of them keep a window instead of the whole context.
    """
    a, cells = architecture, cache_cells(workload)
    heads = _kv_heads(a)
    windowed_heads = windowed_layers * a.num_kv_heads
    kept = (heads - windowed_heads) * cells
    if windowed_layers:
        kept += windowed_heads * window_cells(a, workload)
    if a.layer_num_heads and not workload.flash_attention:
        # values are then kept transposed, in every layer as wide as in the widest (llama_kv_cache's v_trans)
        kept += (a.num_layers * a.num_kv_heads - heads) * cells // 2
    return workload.batch_size * kept * _head_bytes(a, workload.cache_type)


def convolution_state_bytes(architecture: Architecture, workload: Workload) -> int:
    """Bytes of the past inputs that short convolutions keep for each sequence, in F32."""
    a = architecture
    return workload.batch_size * len(a.conv_layers) * (a.conv_kernel - 1) * a.hidden_size * 4
