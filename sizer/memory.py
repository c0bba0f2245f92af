"""Memory of a running model: its parts, and the KV cache from attention geometry."""

from __future__ import annotations

from dataclasses import dataclass

from sizer.architecture import Architecture
from sizer.errors import InvalidQuantity
from sizer.formats.ggml import TYPES
from sizer.workload import Workload

# llama.cpp pads the cache's cells to this (src/llama-context.cpp, GGML_PAD(n_ctx, 256)).
CACHE_CELLS_MULTIPLE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBreakdown:
    """Bytes a process holds at full context, by part; parts sum to `total_bytes`."""

    context_tokens: int
    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    output_bytes: int
    overhead_bytes: int
    budget_bytes: int | None = None

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
    """Bytes of keys and values stored per token, all executed layers."""
    return 2 * architecture.executed_layers * kv_row_bytes(architecture, cache_type)


def cache_cells(workload: Workload) -> int:
    """Tokens each sequence's cache has room for: the context, padded."""
    return workload.context_tokens + -workload.context_tokens % CACHE_CELLS_MULTIPLE


def kv_cache_bytes(architecture: Architecture, workload: Workload) -> int:
    """Bytes of the KV cache for the workload's context and batch; every executed layer has its own."""
    return workload.batch_size * cache_cells(workload) * kv_bytes_per_token(architecture, workload.cache_type)
