"""A model known by its file alone: exact bytes, and from its keys the cache that llama.cpp keeps for it.

Rules: src/llama-kv-cache.cpp, llama-memory-recurrent.cpp and llama-hparams.cpp of llama.cpp as in
llama-cpp-python 0.3.36.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sizer.errors import InvalidQuantity
from sizer.formats.ggml import TYPES
from sizer.formats.stored import Weights
from sizer.memory import CACHE_CELLS_MULTIPLE, MemoryBreakdown
from sizer.tensors import ParameterCounts
from sizer.workload import Workload

_FLOAT_BYTES = 4

# The compute buffer by the rule for graphs that are not followed, against the graphs that are: 0.90 to 1.23
# times. State-space layers have steps that the rule does not know.
_COMPUTE_LOW, _COMPUTE_HIGH, _COMPUTE_HIGH_WITH_STATE = 0.7, 1.5, 3.0


class CachedLayer(NamedTuple):
    """Keys and values of one layer: elements for each token, and the window that it looks back on."""

    key_width: int
    value_width: int
    window: int | None = None


class FileModel(NamedTuple):
    """Facts of a model file whose architecture has no reader here; a size that the keys lack is None."""

    name: str
    kind: str  # general.architecture, or model_type of a config.json
    not_read: str  # reason why there is no architecture
    parameters: ParameterCounts
    weights: Weights | None
    format: str
    shape: Mapping[str, int | None]  # num_layers, hidden_size and the like, as in the estimate's document
    layers: tuple[CachedLayer, ...] | None = None  # None: the keys do not state what is cached
    state_bytes: int = 0  # of recurrent layers, per sequence
    window_note: str = ""
    positions: int | None = None
    runs_on: str | None = None  # the one runtime that is known to run it; None: those that take its file

    def size(self, key: str) -> int:
        """Return a size of the shape; 0 if the keys lack it."""
        return self.shape.get(key) or 0

    def to_dict(self) -> dict[str, Any]:
        """Return the shape with the keys of an architecture's document; what is not known is None."""
        keys = dict.fromkeys(("tie_embeddings", "sharing"))
        return {"name": self.name, **self.shape, **keys, "model_type": self.kind}


def file_memory(
    model: FileModel, workload: Workload, overhead_bytes: int, output_bytes: int
) -> MemoryBreakdown:
    """Return bytes that llama.cpp holds for a model file; the compute buffer has a range."""
    assert model.weights is not None
    assert model.layers is not None
    low, high = compute_range(model, workload)
    return MemoryBreakdown(
        context_tokens=workload.context_tokens,
        weights_bytes=model.weights.file.tensor_bytes,
        kv_cache_bytes=cache_bytes(model.layers, workload) + workload.batch_size * model.state_bytes,
        compute_bytes=(low + high) // 2,
        compute_range=(low, high),
        output_bytes=output_bytes,
        overhead_bytes=overhead_bytes,
    )


def cache_bytes(layers: tuple[CachedLayer, ...], workload: Workload) -> int:
    """Return bytes of keys and values of all layers at full context: a cell a token, of a window as many."""
    return workload.batch_size * sum(
        _cells(layer.window, workload)
        * sum(_row_bytes(width, workload.cache_type) for width in (layer.key_width, layer.value_width))
        for layer in layers
    )


def _cells(window: int | None, workload: Workload) -> int:
    """Return cells of one layer's cache: the context, or window and micro-batch, padded."""
    context = _padded(workload.context_tokens)
    if window is None:
        return context
    return min(context, _padded(window + min(workload.ubatch_tokens, context)))


def _padded(cells: int) -> int:
    return cells + -cells % CACHE_CELLS_MULTIPLE


def _row_bytes(width: int, cache_type: str) -> int:
    kind = TYPES[cache_type]
    if not kind.fits(width):
        raise InvalidQuantity(
            f"cache_type: {cache_type} needs rows of a multiple of {kind.block_elements}, got {width}"
        )
    return kind.row_bytes(width)


def compute_range(model: FileModel, workload: Workload) -> tuple[int, int]:
    """Return the least and most bytes of the compute buffer, from the sizes that are known."""
    tokens = min(workload.ubatch_tokens, workload.context_tokens)
    hidden, q_width = model.size("hidden_size"), model.size("num_heads") * model.size("head_dim")
    cells = _padded(workload.context_tokens)
    attention = hidden + 4 * q_width + (cells // 2 if workload.flash_attention else cells)
    if not workload.flash_attention:
        attention += model.size("num_heads") * cells
    feed_forward = 3 * model.size("intermediate_size") + 5 * hidden
    logits = model.size("vocab_size") + 3 * hidden
    largest = _FLOAT_BYTES * tokens * max(logits, feed_forward, attention)
    high = _COMPUTE_HIGH_WITH_STATE if model.state_bytes else _COMPUTE_HIGH
    # every token of a micro-batch can have logits, which are then part of the buffer
    least = max(_FLOAT_BYTES * tokens * model.size("vocab_size"), round(_COMPUTE_LOW * largest))
    return least, max(least, round(high * largest))
