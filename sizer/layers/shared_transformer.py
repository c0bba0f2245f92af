"""Transformer blocks that several layers share, each on its own input (Zamba2, arXiv 2411.15242)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from sizer.tensor_spec import Role, TensorSpec, matrix, vector


class BlockWidths(Protocol):
    """Widths of an architecture that a shared block takes over."""

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream."""

    @property
    def intermediate_size(self) -> int:
        """Width of the feed-forward block."""

    @property
    def q_width(self) -> int:
        """Width of all queries."""

    @property
    def kv_width(self) -> int:
        """Width of all keys, or values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedTransformer:
    """Blocks that take turns before the mixers of `layers`, on the layer's input next to the embedding.

    Heads and feed-forward width are those of the architecture. `adapter_rank` is that of the low-rank
    adapters that each use of a block has on its feed-forward block, and maybe on its attention.
    """

    layers: tuple[int, ...]
    num_blocks: int
    adapter_rank: int
    attention_adapters: bool = False
    bias: bool = False  # of the feed-forward block

    def tensors(self, layer: int, use: int, widths: BlockWidths) -> Iterator[TensorSpec]:
        """List what a layer adds: its own matrix, its adapters and, where a block comes first, the block.

        `use` numbers the layers that use a block.
        """
        d, ff, rank = widths.hidden_size, widths.intermediate_size, self.adapter_rank
        q_width, kv_width = widths.q_width, widths.kv_width
        prefix = f"model.layers.{layer}"
        yield from matrix(Role.SHARED_BLOCK_OUT, f"{prefix}.linear", d, d, layer)
        prefix = f"{prefix}.shared_transformer"
        if use < self.num_blocks:
            yield vector(Role.ATTENTION_NORM, f"{prefix}.input_layernorm.weight", (2 * d,), layer)
            for role, name, width in (
                (Role.QUERY, "q_proj", q_width),
                (Role.KEY, "k_proj", kv_width),
                (Role.VALUE, "v_proj", kv_width),
            ):
                yield from matrix(role, f"{prefix}.self_attn.{name}", width, 2 * d, layer)
            yield from matrix(Role.ATTENTION_OUTPUT, f"{prefix}.self_attn.o_proj", d, q_width, layer)
            yield vector(Role.MLP_NORM, f"{prefix}.pre_ff_layernorm.weight", (d,), layer)
            mlp = f"{prefix}.feed_forward"
            yield from matrix(Role.GATE_UP, f"{mlp}.gate_up_proj", 2 * ff, d, layer, bias=self.bias)
            yield from matrix(Role.DOWN, f"{mlp}.down_proj", d, ff, layer, bias=self.bias)
        adapters = [("feed_forward.gate_up_proj", d, 2 * ff)]
        if self.attention_adapters:
            adapters += [(f"self_attn.linear_{name}", 2 * d, 2 * d) for name in ("q", "k", "v")]
        for name, inputs, outputs in adapters:
            adapter = f"{prefix}.{name}_adapter_list.{use}"
            yield from matrix(Role.ADAPTER_DOWN, f"{adapter}.0", rank, inputs, layer)
            yield from matrix(Role.ADAPTER_UP, f"{adapter}.1", outputs, rank, layer)
