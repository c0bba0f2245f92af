"""From a suggestion to a model that fills its share of the size budget: solve width, FFN size and depth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, lcm, log

import numpy as np
from numpy.typing import NDArray

from search.config.axes import Suggestion
from search.config.config import SearchConfig
from search.config.convolutions import Convolutions
from search.config.format_bits import format_bits
from search.space.convolved import convolutions_in, more_bytes, with_convolutions
from search.space.ffn_growth import with_growth, with_step
from search.space.formats import file_bytes
from search.space.windowed import windows_in, with_windows
from search.store.results import Candidate
from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.errors import NoFit
from sizer.grid import Grid, file_bytes_grid
from sizer.runtimes import runtime as runtime_by_name
from sizer.shapes.format_widths import ROW_STEP, row_multiple
from sizer.shapes.near_count import nearest_divisor
from sizer.units import format_bytes

# The file is at least this share of the size that a suggestion aims at, and at most all of it.
LEAST_FILLED = 0.9

# How far a model may be from its suggestion to fill the share: the feed-forward ratio at most halved or
# doubled, the depth off by a quarter or one block, query heads per KV head by half where heads do not divide.
_RATIO_CHANGE = 2.0
_DEPTH_CHANGE = 0.25
_GROUP_CHANGE = 1.5
# A depth off by a tenth is as bad as a feed-forward ratio off by a fifth: depth is what a search is about.
_DEPTH_WEIGHT = 2.0
# Shapes whose changes differ by less than this are taken as equal: the largest file is chosen.
_SAME_CHANGE = 0.05

# Depths tried where any will do: each one where they are few, else in steps of about a tenth.
_MOST_DEPTHS = 48

_Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The model of a suggestion; if none fills its share of the budget, the nearest one and the reason."""

    candidate: Candidate
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Outcome of one attempt: the best shape within the limits, or the nearest one outside them."""

    architecture: Architecture
    size_bytes: int
    off_bytes: int  # distance from the limits; 0 within them


def resolve(suggestion: Suggestion, config: SearchConfig) -> Resolution:
    """Return a model of the suggested form whose file is 0.9 to 1 times its share of the size budget.

    Widths are multiples of the head dimension and of what the format's blocks need; then the FFN size is
    solved, and if that is not enough the depth, then the head dimension changes. If a format whose blocks are
    long (256 weights in the k-quants) has no such shape, the listed format with shorter blocks and the
    nearest bits replaces it; with `allow_fallback` rows of any length are allowed instead. After that any
    depth is tried, then any format, and last a model without sharing.
    """
    nearest: tuple[Candidate, _Found] | None = None
    for attempt, any_depth in _attempts(suggestion, config):
        for head_dim in _by_distance(config.space.head_dims, suggestion.head_dim):
            found = _best_shape(replace(attempt, head_dim=head_dim), config, any_depth=any_depth)
            if found is None:
                continue
            candidate = _candidate(found, attempt, config)
            if found.off_bytes == 0:
                return Resolution(candidate=candidate)
            if nearest is None or found.off_bytes < nearest[1].off_bytes:
                nearest = candidate, found
    if nearest is None:
        space = config.space
        raise NoFit(
            f"hidden_size: no width from {space.min_hidden_size} to {space.max_hidden_size} is a multiple "
            f"of head_dim ({', '.join(map(str, space.head_dims))}) and of "
            f"{_multiple(suggestion, config)}, which rows of {suggestion.format} need"
        )
    candidate, found = nearest
    return Resolution(candidate=candidate, reason=_reason(candidate, found, suggestion, config))


def _candidate(found: _Found, attempt: Suggestion, config: SearchConfig) -> Candidate:
    """Return a shape as a candidate; a runtime's usual KV cache needs no word."""
    usual = runtime_by_name(config.budget.runtime).cache_types[0]
    cache_type = None if attempt.cache_type == usual else attempt.cache_type
    return Candidate(architecture=found.architecture, format=attempt.format, cache_type=cache_type)


def solve(suggestion: Suggestion, config: SearchConfig) -> Candidate | None:
    """Return the model of a suggestion's own format, heads and sharing; None if none fills its share."""
    found = _best_shape(suggestion, config, any_depth=False)
    if found is None or found.off_bytes:
        return None
    return _candidate(found, suggestion, config)


def _reason(candidate: Candidate, found: _Found, suggestion: Suggestion, config: SearchConfig) -> str:
    space, limit = config.space, suggestion.size_fraction * config.budget.max_size_bytes
    return (
        f"file: no shape of {space.min_executed_layers} to {space.max_executed_layers} layers and a width "
        f"of {space.min_hidden_size} to {space.max_hidden_size} has a file of "
        f"{format_bytes(LEAST_FILLED * limit)} to {format_bytes(limit)}; the nearest is "
        f"{format_bytes(found.size_bytes)} ({candidate.describe()})"
    )


def _attempts(suggestion: Suggestion, config: SearchConfig) -> Iterator[tuple[Suggestion, bool]]:
    """Yield what to try, the suggestion itself first, and whether any depth will do."""
    engine = runtime_by_name(config.budget.runtime)
    wanted = engine.format_name(suggestion.format)
    bits = format_bits(config.budget.runtime, wanted)
    listed = dict.fromkeys(map(engine.format_name, config.space.formats))
    others = sorted(
        (name for name in listed if name != wanted),
        key=lambda name: abs(log(format_bits(config.budget.runtime, name) / bits)),
    )
    group, multiple = suggestion.query_heads_per_kv_head, _multiple(suggestion, config)
    shorter = [name for name in others if row_multiple(config.budget.runtime, name, group) < multiple][:1]
    for name in (wanted, *shorter):
        yield replace(suggestion, format=name), False
    every = (*shorter, wanted, *(name for name in others if name not in shorter))
    for name in every:
        yield replace(suggestion, format=name), True
    if suggestion.sharing != LayerSharing() and LayerSharing() in config.space.sharings:
        for name in every:
            yield replace(suggestion, format=name, sharing=LayerSharing()), True


def _by_distance(values: Sequence[int], wanted: int) -> list[int]:
    return sorted(dict.fromkeys((wanted, *values)), key=lambda v: (abs(log(v / wanted)), v))


def _multiple(suggestion: Suggestion, config: SearchConfig) -> int:
    """Return the number that row lengths must be a multiple of for this suggestion."""
    if config.space.allow_fallback:
        return ROW_STEP
    return row_multiple(config.budget.runtime, suggestion.format, suggestion.query_heads_per_kv_head)


def _best_shape(suggestion: Suggestion, config: SearchConfig, *, any_depth: bool) -> _Found | None:
    """Return the shape that fills its share with the least change; None if no width is possible."""
    multiple = _multiple(suggestion, config)
    limit = int(suggestion.size_fraction * config.budget.max_size_bytes)
    least = ceil(LEAST_FILLED * suggestion.size_fraction * config.budget.max_size_bytes)
    rows = _Rows.build(suggestion, config, multiple, any_depth=any_depth)
    if not len(rows.width):
        return None
    if runtime_by_name(config.budget.runtime).why_no_grid is not None:
        rows = _around(rows, suggestion, config, limit)
    wanted = suggestion.ffn_ratio * rows.width
    low = np.maximum(multiple, np.ceil(wanted / _RATIO_CHANGE / multiple) * multiple).astype(np.int64)
    high = np.maximum(low, np.floor(wanted * _RATIO_CHANGE / multiple) * multiple).astype(np.int64)
    # Bytes grow linearly with the feed-forward width, so two sizes give all of them.
    small = rows.file_bytes(low, config)
    if small.min() > limit:
        narrowest = int(small.argmin())
        found = rows.found(narrowest, int(low[narrowest]), int(small[narrowest]), int(small.min()) - limit)
        if rows.has_convolutions:  # whose bytes are only estimated so far
            return _reshaped(found, suggestion, config, multiple, (least, limit))
        return found
    large = rows.file_bytes(high, config)
    slope = np.maximum((large - small) / np.maximum(high - low, 1), 1e-9)
    fullest = np.clip(low + np.floor((limit - small) / slope / multiple) * multiple, low, high)
    emptiest = np.clip(low + np.ceil((least - small) / slope / multiple) * multiple, low, high)
    chosen = np.clip(np.round(wanted / multiple) * multiple, np.minimum(emptiest, fullest), fullest)
    ffn = chosen.astype(np.int64)
    size = rows.file_bytes(ffn, config)
    off = np.maximum(least - size, 0) + np.maximum(size - limit, 0)
    change = np.abs(np.log2(ffn / wanted)) + _DEPTH_WEIGHT * np.abs(np.log2(rows.blocks / rows.wanted_blocks))
    row = int(np.lexsort((-size, np.floor(change / _SAME_CHANGE), off))[0])
    found = rows.found(row, int(ffn[row]), int(size[row]), int(off[row]))
    return _reshaped(found, suggestion, config, multiple, (least, limit))


def _reshaped(
    found: _Found, suggestion: Suggestion, config: SearchConfig, multiple: int, limits: tuple[int, int]
) -> _Found:
    """Return a shape with windows, or FFN sizes that grow, as suggested; within the limits if it was before.

    Mixes give some layers more bits, so that the same number of weights may take other bytes, sinks are
    weights too, and bytes of convolutions are estimated until here: then the largest FFN size shrinks, or the
    smallest grows, step by step.
    """
    shape = with_growth(with_windows(found.architecture, suggestion.windows), suggestion.ffn_growth, multiple)
    if shape == found.architecture and not shape.conv_layers:
        return found
    budget, (least, limit) = config.budget, limits

    def bytes_of(a: Architecture) -> int:
        return file_bytes(a, suggestion.format, budget.runtime, budget.tokenizer_bytes)

    size = bytes_of(shape)
    for _ in range(2 * shape.num_layers):
        if least <= size <= limit or (found.off_bytes and not shape.layer_intermediate_sizes):
            break
        shape = with_step(shape, -multiple if size > limit else multiple)
        size = bytes_of(shape)
    return _named(shape, size, max(least - size, 0) + max(size - limit, 0))


def _named(shape: Architecture, size_bytes: int, off_bytes: int) -> _Found:
    named = replace(shape, name=shape_name(shape))
    return _Found(architecture=named, size_bytes=size_bytes, off_bytes=off_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Shapes considered for one suggestion, as columns: every width with every depth to try."""

    like: Architecture
    format: str
    wanted_blocks: int
    blocks: _Ints  # stored, each counted once
    width: _Ints
    kv_heads: _Ints
    convolutions: Convolutions

    @property
    def has_convolutions(self) -> bool:
        """Return True if shapes have convolutions where they have the layers for them."""
        return self.convolutions.kernel > 0 and self.like.sharing.repeat == 1

    @classmethod
    def build(cls, suggestion: Suggestion, config: SearchConfig, multiple: int, *, any_depth: bool) -> _Rows:
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
        )

    def shape(self, row: int, intermediate_size: int) -> Architecture:
        """Return the architecture of one row."""
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
        return with_convolutions(plain, self.convolutions)

    def found(self, row: int, intermediate_size: int, size_bytes: int, off_bytes: int) -> _Found:
        """Return one row as an outcome."""
        return _named(self.shape(row, intermediate_size), size_bytes, off_bytes)

    def file_bytes(self, intermediate_size: _Ints, config: SearchConfig) -> _Ints:
        """Return the file bytes of every row; of rows with convolutions about as many."""
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

    def select(self, chosen: Sequence[int]) -> _Rows:
        """Return only these rows."""
        return replace(
            self,
            blocks=self.blocks[list(chosen)],
            width=self.width[list(chosen)],
            kv_heads=self.kv_heads[list(chosen)],
        )


def _around(rows: _Rows, suggestion: Suggestion, config: SearchConfig, limit: int) -> _Rows:
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


def shape_name(architecture: Architecture) -> str:
    """Return a short label of a shape: layers x width, heads, FFN size, window, convolution, sharing."""
    a = architecture
    shared = f" {a.sharing.strategy.value}x{a.sharing.repeat}" if a.sharing.repeat > 1 else ""
    shared += f"e{a.sharing.ends}" if a.sharing.ends else ""
    tied = "" if a.tie_embeddings else " untied"
    heads = f"{a.num_heads}/{a.num_kv_heads}h"
    sizes = a.layer_intermediate_sizes
    ffn = f"{sizes[0]}-{sizes[-1]}" if sizes else str(a.intermediate_size)
    windows = windows_in(a)
    window = f" w{windows.positions}/{windows.full_every}" if windows.positions else ""
    convolutions = convolutions_in(a)
    kernel = f" c{convolutions.kernel}/{convolutions.attention_every}" if convolutions.kernel else ""
    return f"{a.num_layers}x{a.hidden_size} {heads} ff{ffn}{window}{kernel}{shared}{tied}"
