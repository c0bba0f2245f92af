"""Shapes that are considered for one suggestion, as columns, and the bytes of their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, lcm

import numpy as np
from numpy.typing import NDArray

from search.config.axes import Suggestion
from search.config.config import SearchConfig
from search.config.convolutions import Convolutions
from search.config.experts import Experts
from search.config.format_bits import format_bits
from search.space.convolved import more_bytes, with_convolutions
from search.space.experts import with_experts
from search.space.formats import file_bytes
from search.space.shape_name import shape_name
from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.grid import Grid, file_bytes_grid
from sizer.runtimes import runtime as runtime_by_name
from sizer.shapes.format_widths import ROW_STEP
from sizer.shapes.near_count import nearest_divisor

# How far a model may be from its suggestion to fill the share: the depth off by a quarter or one block, query
# heads per KV head by half where heads do not divide.
_DEPTH_CHANGE = 0.25
_GROUP_CHANGE = 1.5

# Depths tried where any will do: each one where they are few, else in steps of about a tenth.
_MOST_DEPTHS = 48

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SolvedShape:
    """Outcome of one attempt: the best shape within the limits, or the nearest one outside them."""

    architecture: Architecture
    size_bytes: int
    off_bytes: int  # distance from the limits; 0 within them


def solved(shape: Architecture, size_bytes: int, off_bytes: int) -> SolvedShape:
    """Return a shape under its own name as an outcome."""
    named = replace(shape, name=shape_name(shape))
    return SolvedShape(architecture=named, size_bytes=size_bytes, off_bytes=off_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeRows:
    """Shapes considered for one suggestion, as columns: every width with every depth to try."""

    like: Architecture
    format: str
    wanted_blocks: int
    blocks: Ints  # stored, each counted once
    width: Ints
    kv_heads: Ints
    convolutions: Convolutions
    experts: Experts

    @property
    def has_convolutions(self) -> bool:
        """Return True if shapes have convolutions where they have the layers for them."""
        return self.convolutions.kernel > 0 and self.like.sharing.repeat == 1 and self.experts.count == 1

    @classmethod
    def build(
        cls, suggestion: Suggestion, config: SearchConfig, multiple: int, *, any_depth: bool
    ) -> ShapeRows:
        """Return all widths of the space whose heads divide about as suggested."""
        # a model with fewer layers than repeats has nothing to share
        sharing = suggestion.sharing
        if sharing.executed(sharing.fewest_layers) > config.space.max_executed_layers:
            sharing = LayerSharing()
        wanted, depths = _depths(suggestion.executed_layers, sharing, config, any_depth)
        step = lcm(suggestion.head_dim, multiple)
        first = -(-config.space.min_hidden_size // step) * step
        heads = range(
            first // suggestion.head_dim,
            config.space.max_hidden_size // suggestion.head_dim + 1,
            step // suggestion.head_dim,
        )
        kept = [
            (h, kv)
            for h in heads
            if _groups_as(suggestion.query_heads_per_kv_head, h, kv := _kv_heads(h, suggestion))
        ]
        like = Architecture(
            vocab_size=suggestion.vocab_size,
            num_layers=sharing.fewest_layers,
            hidden_size=suggestion.head_dim,
            intermediate_size=ROW_STEP,
            num_heads=1,
            num_kv_heads=1,
            head_dim=suggestion.head_dim,
            tie_embeddings=suggestion.tie_embeddings,
            sharing=sharing,
        )
        pairs = np.array([(d, h, kv) for d in depths for h, kv in kept], np.int64).reshape(-1, 3)
        return cls(
            like=like,
            format=suggestion.format,
            wanted_blocks=wanted,
            blocks=pairs[:, 0],
            width=pairs[:, 1] * suggestion.head_dim,
            kv_heads=pairs[:, 2],
            convolutions=suggestion.convolutions,
            experts=suggestion.experts,
        )

    def shape(self, row: int, intermediate_size: int) -> Architecture:
        """Return the architecture of one row; the FFN size is that of all its experts together."""
        width, blocks, sharing = int(self.width[row]), int(self.blocks[row]), self.like.sharing
        if blocks == 1 and sharing.repeat > 1:
            # one block run n times is the same model in whichever order
            sharing = replace(sharing, strategy=SharingStrategy.IMMEDIATE)
        plain = replace(
            self.like,
            num_layers=blocks,
            sharing=sharing,
            hidden_size=width,
            intermediate_size=intermediate_size,
            num_heads=width // self.like.head_dim,
            num_kv_heads=int(self.kv_heads[row]),
        )
        return with_convolutions(with_experts(plain, self.experts), self.convolutions)

    def found(self, row: int, intermediate_size: int, size_bytes: int, off_bytes: int) -> SolvedShape:
        """Return one row as an outcome."""
        return solved(self.shape(row, intermediate_size), size_bytes, off_bytes)

    def file_bytes(self, intermediate_size: Ints, config: SearchConfig) -> Ints:
        """Return the file bytes of every row; of rows with convolutions about as many.

        Of rows with experts those of one block as wide as all of them.
        """
        if runtime_by_name(config.budget.runtime).why_no_grid is None:
            grid = Grid.build(
                self.like,
                num_layers=self.blocks,
                hidden_size=self.width,
                intermediate_size=intermediate_size,
                num_heads=self.width // self.like.head_dim,
                num_kv_heads=self.kv_heads,
            )
            size = file_bytes_grid(grid, format=self.format, metadata_bytes=config.budget.tokenizer_bytes)
            if self.has_convolutions:
                bits = format_bits(config.budget.runtime, self.format)
                size = size + more_bytes(grid, self.convolutions, bits)
            return size
        return np.array(
            [
                file_bytes(self.shape(row, int(ffn)), self.format, config.budget.runtime)
                for row, ffn in enumerate(intermediate_size)
            ],
            np.int64,
        )

    def select(self, chosen: Sequence[int]) -> ShapeRows:
        """Return only these rows."""
        return replace(
            self,
            blocks=self.blocks[list(chosen)],
            width=self.width[list(chosen)],
            kv_heads=self.kv_heads[list(chosen)],
        )


def around_limit(rows: ShapeRows, suggestion: Suggestion, config: SearchConfig, limit: int) -> ShapeRows:
    """Return the rows of each depth around the width at which the suggested FFN ratio reaches the limit.

    For runtimes without a grid, which size one shape at a time: found by bisection.
    """
    chosen: list[int] = []
    for depth in np.unique(rows.blocks):
        at = np.flatnonzero(rows.blocks == depth)
        low, high = 0, len(at)
        while low < high:
            middle = (low + high) // 2
            ffn = max(
                ROW_STEP, round(suggestion.ffn_ratio * int(rows.width[at[middle]]) / ROW_STEP) * ROW_STEP
            )
            size = file_bytes(rows.shape(int(at[middle]), ffn), rows.format, config.budget.runtime)
            low, high = (middle + 1, high) if size <= limit else (low, middle)
        chosen.extend(int(row) for row in at[max(0, low - 2) : low + 2])
    return rows.select(chosen)


def _depths(
    executed_layers: int, sharing: LayerSharing, config: SearchConfig, any_depth: bool
) -> tuple[int, tuple[int, ...]]:
    """Return the stored blocks of the suggested depth, and the numbers of blocks to try."""
    fewest = sharing.fewest_layers
    most = max(fewest, int(sharing.stored(config.space.max_executed_layers)))
    wanted = min(max(fewest, round(sharing.stored(executed_layers))), most)
    least = min(wanted, max(fewest, ceil(sharing.stored(config.space.min_executed_layers))))
    if any_depth:
        tried = np.unique(np.geomspace(least, most, _MOST_DEPTHS).round().astype(np.int64))
        return wanted, tuple(tried.tolist())
    change = max(1, int(_DEPTH_CHANGE * wanted))
    return wanted, tuple(range(max(least, wanted - change), min(most, wanted + change) + 1))


def _kv_heads(heads: int, suggestion: Suggestion) -> int:
    return nearest_divisor(heads, heads / suggestion.query_heads_per_kv_head)


def _groups_as(query_heads_per_kv_head: int, heads: int, kv_heads: int) -> bool:
    """Return whether heads divide about as suggested: 13 heads, say, only divide into 1 or 13 groups."""
    change = heads / kv_heads / query_heads_per_kv_head
    return 1 / _GROUP_CHANGE <= change <= _GROUP_CHANGE or (
        kv_heads == 1 and heads <= query_heads_per_kv_head
    )
