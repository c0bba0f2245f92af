"""Memory of a running model: its parts, and the KV cache from attention geometry."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sizer.architecture import Architecture
from sizer.errors import InvalidQuantity
from sizer.formats.ggml import TYPES
from sizer.workload import Workload

if TYPE_CHECKING:  # loaded where a model lies on several devices
    from sizer.device_share import DeviceShare

# llama.cpp pads the cache's cells to this (src/llama-context.cpp, GGML_PAD(n_ctx, 256)).
CACHE_CELLS_MULTIPLE = 256


class PeakBytes(NamedTuple):
    """The most bytes a process takes at any moment, with the range it is expected in."""

    value: int
    low: int
    high: int


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
    peak: PeakBytes | None = None  # where an engine is known to take more for a while than it holds
    # least and most bytes of a compute buffer that is not known; `compute_bytes` is then between them
    compute_range: tuple[int, int] | None = None
    devices: tuple[DeviceShare, ...] = ()  # where part of the layers lies on a card, which the limit is of
    draft_bytes: int = 0  # of a second, smaller model that drafts tokens
    projector_bytes: int = 0  # of the encoder and projector of images

    @property
    def total_bytes(self) -> int:
        """Bytes of all parts."""
        return (
            self.weights_bytes
            + self.kv_cache_bytes
            + self.compute_bytes
            + self.output_bytes
            + self.overhead_bytes
            + self.draft_bytes
            + self.projector_bytes
        )

    @property
    def companions(self) -> dict[str, int]:
        """Bytes held in addition to the model, by name: a draft model, a projector; empty without."""
        parts = {"draft model": self.draft_bytes, "projector": self.projector_bytes}
        return {name: size for name, size in parts.items() if size}

    @property
    def limited_bytes(self) -> int:
        """Bytes that a memory limit is held against: the card's, with what llama.cpp adds there, or all."""
        card = sum(share.total_bytes for share in self.devices if share.device == "gpu")
        return card + self.draft_bytes + self.projector_bytes if self.devices else self.total_bytes

    def to_dict(self) -> dict[str, Any]:
        """Return the parts as plain JSON values; of a compute buffer that is not known the range."""
        document: dict[str, Any] = {
            "context": self.context_tokens,
            "weights_bytes": self.weights_bytes,
            "kv_cache_bytes": self.kv_cache_bytes,
            "compute_bytes": self.compute_bytes if self.compute_range is None else None,
            "output_bytes": self.output_bytes,
            "overhead_bytes": self.overhead_bytes,
            "total_bytes": self.total_bytes,
            "peak_bytes": self.peak and self.peak._asdict(),
            "budget_bytes": self.budget_bytes,
            "fits": self.fits,
        }
        if self.devices:
            document["devices"] = [share._asdict() for share in self.devices]
        document |= {key: size for key in ("draft_bytes", "projector_bytes") if (size := getattr(self, key))}
        if self.compute_range is not None:
            for part, (low, high) in (("compute", self.compute_range), ("total", self.total_range)):
                document |= {f"{part}_bytes_low": low, f"{part}_bytes_high": high}
        return document

    @property
    def total_range(self) -> tuple[int, int]:
        """Least and most bytes of all parts; both the total where every part is known."""
        low, high = self.compute_range or (self.compute_bytes, self.compute_bytes)
        rest = self.total_bytes - self.compute_bytes
        return rest + low, rest + high

    @property
    def fits(self) -> bool | None:
        """True if the total is within the budget; None without one, or where the range holds the budget."""
        if self.budget_bytes is None:
            return None
        if self.devices:
            return self.limited_bytes <= self.budget_bytes
        low, high = self.total_range
        return True if high <= self.budget_bytes else False if low > self.budget_bytes else None


def kv_row_bytes(architecture: Architecture, cache_type: str) -> int:
    """Return the bytes of one token's keys (or values) in one executed layer.

    Of latent attention it is the one row that holds both.
    """
    block = TYPES[cache_type]
    if latent := architecture.latent_attention:
        if not block.fits(latent.latent_width):
            raise InvalidQuantity(
                f"cache_type: {cache_type} needs the latent row to be a multiple of {block.block_elements}, "
                f"got {latent.latent_width} (kv_rank + rope_head_dim)"
            )
        return block.row_bytes(latent.latent_width)
    if not block.fits(architecture.head_dim):
        raise InvalidQuantity(
            f"cache_type: {cache_type} needs head_dim to be a multiple of {block.block_elements}, "
            f"got head_dim {architecture.head_dim}"
        )
    return block.row_bytes(architecture.kv_width)


@lru_cache(maxsize=64)
def kv_bytes_per_token(architecture: Architecture, cache_type: str) -> int:
    """Return the bytes of keys and values stored per token, all executed layers with attention."""
    of_global = _global_layers(architecture) * global_row_bytes(architecture, cache_type)
    return _kv_heads(architecture) * head_bytes(architecture, cache_type) + of_global


def _global_layers(a: Architecture) -> int:
    """Return the number of layers that cache heads of another width."""
    if a.global_attention is None:
        return 0
    return sum(layer < a.num_layers - a.shared_kv_layers for layer in a.global_attention.layers)


def global_row_bytes(a: Architecture, cache_type: str) -> int:
    """Return the bytes of one token's keys and values in one of those layers."""
    if a.global_attention is None:
        return 0
    heads = replace(a, head_dim=a.global_attention.head_dim, num_kv_heads=a.global_attention.num_kv_heads)
    return 2 * kv_row_bytes(heads, cache_type)


def _kv_heads(a: Architecture) -> int:
    """Return KV heads of all executed layers together, those of global attention left out."""
    if a.layer_num_heads:
        return sum(a.layer_num_heads) * a.num_kv_heads // a.num_heads
    layers = a.num_cached_layers - _global_layers(a)
    return layers if a.latent_attention else layers * a.num_kv_heads


def head_bytes(a: Architecture, cache_type: str) -> int:
    """Return the bytes of one token's key and value of one head, or of its latent row."""
    if a.latent_attention or not a.num_kv_heads:
        return kv_row_bytes(a, cache_type)
    return 2 * kv_row_bytes(a, cache_type) // a.num_kv_heads


def cache_cells(workload: Workload) -> int:
    """Return the tokens that each sequence's cache has room for: the context, padded."""
    return workload.context_tokens + -workload.context_tokens % CACHE_CELLS_MULTIPLE


def window_cells(architecture: Architecture, workload: Workload) -> int:
    """Return cells of a sliding layer's cache: window plus micro-batch, padded (llama_kv_cache_iswa)."""
    cells = cache_cells(workload)
    if architecture.sliding_window is None:
        return cells
    wanted = min(cells, architecture.sliding_window + min(workload.ubatch_tokens, cells))
    return wanted + -wanted % CACHE_CELLS_MULTIPLE


def kv_cache_bytes(architecture: Architecture, workload: Workload, windowed_layers: int = 0) -> int:
    """Return bytes of the KV cache for the workload's context and batch, one cache per executed layer.

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
    of_global = _global_layers(a) * cells * global_row_bytes(a, workload.cache_type)
    return workload.batch_size * (kept * head_bytes(a, workload.cache_type) + of_global)


def expanded_bytes_per_token(architecture: Architecture, cache_type: str) -> int:
    """Return the bytes of a token where latent attention caches the keys and values of every head."""
    a, latent, block = architecture, architecture.latent_attention, TYPES[cache_type]
    assert latent is not None, "only latent attention has a row to expand"
    row = sum(block.row_bytes(a.num_heads * width) for width in (latent.head_dim, latent.value_head_dim))
    return a.num_cached_layers * row


def convolution_state_elements(architecture: Architecture, *, whole_kernel: bool = False) -> int:
    """Return past inputs that convolutions of one sequence keep: one fewer than their kernel, or as many."""
    a = architecture
    kept = a.conv_kernel if whole_kernel else a.conv_kernel - 1
    elements = len(a.conv_layers) * kept * a.hidden_size
    for _, kind in a.recurrent:
        kept = kind.conv_kernel if whole_kernel else kind.conv_kernel - 1
        elements += len(kind.layers) * kept * kind.conv_channels
    return elements


def recurrent_state_elements(architecture: Architecture) -> int:
    """Return elements of the recurrent states of one sequence, whatever its length."""
    return sum(len(kind.layers) * kind.state_elements for _, kind in architecture.recurrent)


def state_elements_of_layer(architecture: Architecture, layer: int) -> int:
    """Return past inputs and states that llama.cpp keeps of one layer for a sequence."""
    a = architecture
    elements = (a.conv_kernel - 1) * a.hidden_size if layer in a.conv_layers else 0
    for _, kind in a.recurrent:
        if layer in kind.layers:
            elements += (kind.conv_kernel - 1) * kind.conv_channels + kind.state_elements
    return elements


def state_bytes(architecture: Architecture, workload: Workload) -> int:
    """Return bytes of the state that llama.cpp keeps for each sequence in F32 (llama_memory_recurrent)."""
    elements = convolution_state_elements(architecture) + recurrent_state_elements(architecture)
    return 4 * workload.batch_size * elements
