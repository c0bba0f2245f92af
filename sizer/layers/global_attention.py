"""Layers whose heads differ from those of the others, such as Gemma 4's without a sliding window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sizer.tensor_spec import Role, TensorSpec, vector


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalAttention:
    """Layers with heads of another width, and as many KV heads as they have."""

    layers: tuple[int, ...]
    head_dim: int
    num_kv_heads: int
    keys_are_values: bool = False  # one matrix for both
    in_file: bool = False  # GGUF files: with rotation factors of these layers, and a scale for every layer

    def file_tensors(self, layers: Iterable[int]) -> Iterator[TensorSpec]:
        """List what a GGUF file has besides for these layers: buffers of transformers, or computed there."""
        if not self.in_file:
            return
        yield vector(Role.ROPE_FACTORS, "rope_freqs.weight", (self.head_dim // 2,), None)
        for layer in layers:
            yield vector(Role.LAYER_SCALE, f"model.layers.{layer}.layer_scalar.weight", (1,), layer)
