"""From a proposal to a model: width, feed-forward width and, if need be, depth that fill its share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, lcm, log

import numpy as np
from numpy.typing import NDArray

from search.space.config import SearchConfig
from search.space.formats import ROW_STEP, file_bytes, format_bits, row_multiple
from search.space.space import Proposal
from search.store.results import Candidate
from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.errors import NoFit
from sizer.grid import Grid, file_bytes_grid
from sizer.runtimes import runtime as runtime_by_name
from sizer.runtimes.llamacpp import LlamaCpp
from sizer.solve import nearest_divisor
from sizer.units import format_bytes

# A file must come to at least this much of what a proposal aims at (and at most to all of it).
LEAST_FILLED = 0.9

# How far a proposal may be bent to fill its share: its feed-forward ratio at most halved or doubled, its
# depth by a quarter or one block, its query heads per KV head by half where heads do not divide.
_RATIO_BEND = 2.0
_DEPTH_BEND = 0.25
_GROUP_BEND = 1.5
# A depth off by a tenth is as bad as a feed-forward ratio off by a fifth: depth is what a search is about.
_DEPTH_WEIGHT = 2.0
# Shapes bent by less than this differ too little to choose by: the largest file is taken.
_SAME_BEND = 0.05

# Depths tried where any will do: each one where they are few, else in steps of about a tenth.
_MOST_DEPTHS = 48

_Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The model a proposal stands for; where none fills its share of the budget, the nearest, and why."""

    candidate: Candidate
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Outcome of one attempt: the best shape inside the limits, or the nearest outside of them."""

    architecture: Architecture
    size_bytes: int
    off_bytes: int  # outside of the limits by so much

    @property
    def inside(self) -> bool:
        """Whether the file is within the limits."""
        return self.off_bytes == 0


def resolve(proposal: Proposal, config: SearchConfig) -> Candidate:
    """The model of `resolve_or_say_why`, for callers that look at the budget themselves."""
    return resolve_or_say_why(proposal, config).candidate


def resolve_or_say_why(proposal: Proposal, config: SearchConfig) -> Resolved:
    """A model of the proposed form whose file is 0.9 to 1 times its share of the size budget.

    Widths are multiples of the head's dimension and of what the format's blocks need; then the feed-forward
    width is set, and if that is not enough the depth, then the head's dimension. Where a format whose blocks
    are long (256 weights in the k-quants) has no such shape, the listed format with shorter blocks and the
    nearest bits takes its place; `allow_fallback` instead lets rows be of any length. Only then the depth may
    be any, then the format, and last nothing is shared.
    """
    nearest: tuple[Candidate, _Found] | None = None
    for attempt, any_depth in _attempts(proposal, config):
        for head_dim in _by_distance(config.head_dims, proposal.head_dim):
            found = _best_shape(replace(attempt, head_dim=head_dim), config, any_depth=any_depth)
            if found is None:
                continue
            candidate = Candidate(architecture=_named(found.architecture), format=attempt.format)
            if found.inside:
                return Resolved(candidate=candidate)
            if nearest is None or found.off_bytes < nearest[1].off_bytes:
                nearest = candidate, found
    if nearest is None:
        raise NoFit(
            f"hidden_size: no width from {config.min_hidden_size} to {config.max_hidden_size} is a multiple "
            f"of head_dim ({', '.join(map(str, config.head_dims))}) and of {_multiple(proposal, config)}, "
            f"which rows of {proposal.format} need"
        )
    return Resolved(candidate=nearest[0], reason=_why(nearest[0], nearest[1], proposal, config))


def _why(candidate: Candidate, found: _Found, proposal: Proposal, config: SearchConfig) -> str:
    limit = proposal.size_fraction * config.max_size_bytes
    return (
        f"file: no shape of {config.min_executed_layers} to {config.max_executed_layers} layers and a width "
        f"of {config.min_hidden_size} to {config.max_hidden_size} comes to "
        f"{format_bytes(LEAST_FILLED * limit)} to {format_bytes(limit)}; the nearest is "
        f"{format_bytes(found.size_bytes)} ({candidate.architecture.name}, {candidate.format})"
    )


def _attempts(proposal: Proposal, config: SearchConfig) -> Iterator[tuple[Proposal, bool]]:
    """What is tried in which order, and whether with any depth: what was proposed comes first."""
    engine = runtime_by_name(config.runtime)
    wanted = engine.format_name(proposal.format)
    bits = format_bits(config.runtime, wanted)
    listed = dict.fromkeys(map(engine.format_name, config.formats))
    others = sorted(
        (name for name in listed if name != wanted),
        key=lambda name: abs(log(format_bits(config.runtime, name) / bits)),
    )
    group, multiple = proposal.query_heads_per_kv_head, _multiple(proposal, config)
    shorter = [name for name in others if row_multiple(config.runtime, name, group) < multiple][:1]
    for name in (wanted, *shorter):
        yield replace(proposal, format=name), False
    every = (*shorter, wanted, *(name for name in others if name not in shorter))
    for name in every:
        yield replace(proposal, format=name), True
    if proposal.sharing is not SharingStrategy.NONE and SharingStrategy.NONE in config.sharing:
        for name in every:
            yield replace(proposal, format=name, sharing=SharingStrategy.NONE), True


def _by_distance(values: Sequence[int], wanted: int) -> list[int]:
    return sorted(dict.fromkeys((wanted, *values)), key=lambda v: (abs(log(v / wanted)), v))


def _multiple(proposal: Proposal, config: SearchConfig) -> int:
    """What rows must be a multiple of for this proposal."""
    if config.allow_fallback:
        return ROW_STEP
    return row_multiple(config.runtime, proposal.format, proposal.query_heads_per_kv_head)


def _best_shape(proposal: Proposal, config: SearchConfig, *, any_depth: bool) -> _Found | None:
    """The shape that fills its share and is bent least; None without any width."""
    multiple = _multiple(proposal, config)
    limit = int(proposal.size_fraction * config.max_size_bytes)
    least = ceil(LEAST_FILLED * proposal.size_fraction * config.max_size_bytes)
    rows = _Rows.of(proposal, config, multiple, any_depth=any_depth)
    if not len(rows.width):
        return None
    if not isinstance(runtime_by_name(config.runtime), LlamaCpp):
        rows = _around(rows, proposal, config, limit)
    wanted = proposal.ffn_ratio * rows.width
    low = np.maximum(multiple, np.ceil(wanted / _RATIO_BEND / multiple) * multiple).astype(np.int64)
    high = np.maximum(low, np.floor(wanted * _RATIO_BEND / multiple) * multiple).astype(np.int64)
    # Bytes grow by the same with every step of the feed-forward width, so two sizes give all of them.
    small = rows.file_bytes(low, config)
    if small.min() > limit:
        narrowest = int(small.argmin())
        return rows.found(narrowest, int(low[narrowest]), int(small[narrowest]), int(small.min()) - limit)
    large = rows.file_bytes(high, config)
    slope = np.maximum((large - small) / np.maximum(high - low, 1), 1e-9)
    fullest = np.clip(low + np.floor((limit - small) / slope / multiple) * multiple, low, high)
    emptiest = np.clip(low + np.ceil((least - small) / slope / multiple) * multiple, low, high)
    chosen = np.clip(np.round(wanted / multiple) * multiple, np.minimum(emptiest, fullest), fullest)
    ffn = chosen.astype(np.int64)
    size = rows.file_bytes(ffn, config)
    off = np.maximum(least - size, 0) + np.maximum(size - limit, 0)
    bent = np.abs(np.log2(ffn / wanted)) + _DEPTH_WEIGHT * np.abs(np.log2(rows.blocks / rows.wanted_blocks))
    row = int(np.lexsort((-size, np.floor(bent / _SAME_BEND), off))[0])
    return rows.found(row, int(ffn[row]), int(size[row]), int(off[row]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Shapes looked at for one proposal: every width with every depth near the one proposed."""

    like: Architecture
    format: str
    wanted_blocks: int
    blocks: _Ints  # stored ones
    width: _Ints
    kv_heads: _Ints

    @classmethod
    def of(cls, proposal: Proposal, config: SearchConfig, multiple: int, *, any_depth: bool) -> _Rows:
        """All widths the configuration allows whose heads divide about as proposed."""
        sharing = _sharing(proposal, config)
        wanted, depths = _depths(proposal.executed_layers, sharing.repeat, config, any_depth)
        step = lcm(proposal.head_dim, multiple)
        first = -(-config.min_hidden_size // step) * step
        heads = range(
            first // proposal.head_dim,
            config.max_hidden_size // proposal.head_dim + 1,
            step // proposal.head_dim,
        )
        kept = [
            (h, kv)
            for h in heads
            if _groups_as(proposal.query_heads_per_kv_head, h, kv := _kv_heads(h, proposal))
        ]
        like = Architecture(
            vocab_size=config.vocab_size,
            num_layers=1,
            hidden_size=proposal.head_dim,
            intermediate_size=ROW_STEP,
            num_heads=1,
            num_kv_heads=1,
            head_dim=proposal.head_dim,
            tie_embeddings=proposal.tie_embeddings,
            sharing=sharing,
        )
        pairs = np.array([(d, h, kv) for d in depths for h, kv in kept], np.int64).reshape(-1, 3)
        return cls(
            like=like,
            format=proposal.format,
            wanted_blocks=wanted,
            blocks=pairs[:, 0],
            width=pairs[:, 1] * proposal.head_dim,
            kv_heads=pairs[:, 2],
        )

    def shape(self, row: int, intermediate_size: int) -> Architecture:
        """Architecture of one row."""
        width, blocks, sharing = int(self.width[row]), int(self.blocks[row]), self.like.sharing
        if blocks == 1 and sharing.repeat > 1:
            # one block run n times is the same model in whichever order
            sharing = replace(sharing, strategy=SharingStrategy.IMMEDIATE)
        return replace(
            self.like,
            num_layers=blocks,
            sharing=sharing,
            hidden_size=width,
            intermediate_size=intermediate_size,
            num_heads=width // self.like.head_dim,
            num_kv_heads=int(self.kv_heads[row]),
        )

    def found(self, row: int, intermediate_size: int, size_bytes: int, off_bytes: int) -> _Found:
        """One row as an outcome."""
        return _Found(
            architecture=self.shape(row, intermediate_size), size_bytes=size_bytes, off_bytes=off_bytes
        )

    def file_bytes(self, intermediate_size: _Ints, config: SearchConfig) -> _Ints:
        """Bytes of the file of every row."""
        if isinstance(runtime_by_name(config.runtime), LlamaCpp):
            grid = Grid.of(
                self.like,
                num_layers=self.blocks,
                hidden_size=self.width,
                intermediate_size=intermediate_size,
                num_heads=self.width // self.like.head_dim,
                num_kv_heads=self.kv_heads,
            )
            return file_bytes_grid(grid, format=self.format)
        return np.array(
            [
                file_bytes(self.shape(row, int(ffn)), self.format, config.runtime)
                for row, ffn in enumerate(intermediate_size)
            ],
            np.int64,
        )

    def some(self, chosen: Sequence[int]) -> _Rows:
        """Only these rows."""
        return replace(
            self,
            blocks=self.blocks[list(chosen)],
            width=self.width[list(chosen)],
            kv_heads=self.kv_heads[list(chosen)],
        )


def _around(rows: _Rows, proposal: Proposal, config: SearchConfig, limit: int) -> _Rows:
    """The rows of each depth next to where the proposed feed-forward ratio crosses the limit.

    For engines that no grid is there for: one shape at a time, found by halving.
    """
    chosen: list[int] = []
    for depth in np.unique(rows.blocks):
        at = np.flatnonzero(rows.blocks == depth)
        low, high = 0, len(at)
        while low < high:
            middle = (low + high) // 2
            ffn = max(ROW_STEP, round(proposal.ffn_ratio * int(rows.width[at[middle]]) / ROW_STEP) * ROW_STEP)
            size = file_bytes(rows.shape(int(at[middle]), ffn), rows.format, config.runtime)
            low, high = (middle + 1, high) if size <= limit else (low, middle)
        chosen.extend(int(row) for row in at[max(0, low - 2) : low + 2])
    return rows.some(chosen)


def _sharing(proposal: Proposal, config: SearchConfig) -> LayerSharing:
    """How blocks are re-used; a model of fewer layers than runs has nothing to share."""
    if proposal.sharing is SharingStrategy.NONE or proposal.repeat > config.max_executed_layers:
        return LayerSharing()
    return LayerSharing(strategy=proposal.sharing, repeat=proposal.repeat)


def _depths(
    executed_layers: int, repeat: int, config: SearchConfig, any_depth: bool
) -> tuple[int, tuple[int, ...]]:
    """Stored blocks for the proposed depth, and the numbers of them to try."""
    most = max(1, config.max_executed_layers // repeat)
    wanted = min(max(1, round(executed_layers / repeat)), most)
    least = min(wanted, -(-config.min_executed_layers // repeat))
    if any_depth:
        tried = np.unique(np.geomspace(least, most, _MOST_DEPTHS).round().astype(np.int64))
        return wanted, tuple(tried.tolist())
    bend = max(1, int(_DEPTH_BEND * wanted))
    return wanted, tuple(range(max(least, wanted - bend), min(most, wanted + bend) + 1))


def _kv_heads(heads: int, proposal: Proposal) -> int:
    return nearest_divisor(heads, heads / proposal.query_heads_per_kv_head)


def _groups_as(query_heads_per_kv_head: int, heads: int, kv_heads: int) -> bool:
    """Whether heads divide about as proposed: 13 heads, say, only divide into 1 or 13 groups."""
    bend = heads / kv_heads / query_heads_per_kv_head
    return 1 / _GROUP_BEND <= bend <= _GROUP_BEND or (kv_heads == 1 and heads <= query_heads_per_kv_head)


def _named(architecture: Architecture) -> Architecture:
    return replace(architecture, name=shape_name(architecture))


def shape_name(architecture: Architecture) -> str:
    """Short label of a shape: layers x width, query/KV heads, sharing."""
    a = architecture
    shared = f" {a.sharing.strategy.value}x{a.sharing.repeat}" if a.sharing.repeat > 1 else ""
    tied = "" if a.tie_embeddings else " untied"
    heads = f"{a.num_heads}/{a.num_kv_heads}h"
    return f"{a.num_layers}x{a.hidden_size} {heads} ff{a.intermediate_size}{shared}{tied}"
