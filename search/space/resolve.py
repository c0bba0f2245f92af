"""From a suggestion to a model that fills its share of the size budget: solve width, FFN size and depth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, log

import numpy as np

from search.config.axes import Suggestion
from search.config.config import SearchConfig
from search.config.experts import Experts
from search.config.format_bits import format_bits
from search.space.convolved import without_sharing
from search.space.ffn_growth import with_growth, with_step
from search.space.formats import file_bytes
from search.space.shape_rows import ShapeRows, SolvedShape, around_limit, solved
from search.space.windowed import with_windows
from search.store.results import Candidate
from sizer.architecture import Architecture, LayerSharing
from sizer.errors import NoFit
from sizer.runtimes import runtime as runtime_by_name
from sizer.shapes.format_widths import ROW_STEP, row_multiple
from sizer.units import format_bytes

# The file is at least this share of the size that a suggestion aims at, and at most all of it.
LEAST_FILLED = 0.9

# How far a model may be from its suggestion to fill the share: the feed-forward ratio at most halved or
# doubled; of depth and heads the rows have what is near enough.
_RATIO_CHANGE = 2.0
# A depth off by a tenth is as bad as a feed-forward ratio off by a fifth: depth is what a search is about.
_DEPTH_WEIGHT = 2.0
# Shapes whose changes differ by less than this are taken as equal: the largest file is chosen.
_SAME_CHANGE = 0.05

# Rounds in which bytes of experts are met: which types a mix gives them is known of one shape at a time.
_TRIES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The model of a suggestion; if none fills its share of the budget, the nearest one and the reason."""

    candidate: Candidate
    reason: str | None = None


def resolve(suggestion: Suggestion, config: SearchConfig) -> Resolution:
    """Return a model of the suggested form whose file is 0.9 to 1 times its share of the size budget.

    Widths are multiples of the head dimension and of what the format's blocks need; then the FFN size is
    solved, and if that is not enough the depth, then the head dimension changes. If a format whose blocks are
    long (256 weights in the k-quants) has no such shape, the listed format with shorter blocks and the
    nearest bits replaces it; with `allow_fallback` rows of any length are allowed instead. After that any
    depth is tried, then any format, then a model without sharing, and last all of that without experts.
    """
    nearest: tuple[Candidate, SolvedShape] | None = None
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


def _candidate(found: SolvedShape, attempt: Suggestion, config: SearchConfig) -> Candidate:
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


def _reason(candidate: Candidate, found: SolvedShape, suggestion: Suggestion, config: SearchConfig) -> str:
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
    if suggestion.experts != Experts() and Experts() in config.space.expert_mixes:
        yield from _attempts(replace(suggestion, experts=Experts()), config)


def _by_distance(values: Sequence[int], wanted: int) -> list[int]:
    return sorted(dict.fromkeys((wanted, *values)), key=lambda v: (abs(log(v / wanted)), v))


def _multiple(suggestion: Suggestion, config: SearchConfig) -> int:
    """Return the number that row lengths must be a multiple of for this suggestion."""
    if config.space.allow_fallback:
        return ROW_STEP
    return row_multiple(config.budget.runtime, suggestion.format, suggestion.query_heads_per_kv_head)


def _best_shape(suggestion: Suggestion, config: SearchConfig, *, any_depth: bool) -> SolvedShape | None:
    """Return the shape that fills its share with the least change; None if no width is possible."""
    suggestion = without_sharing(suggestion)
    multiple = _multiple(suggestion, config)
    limit = int(suggestion.size_fraction * config.budget.max_size_bytes)
    least = ceil(LEAST_FILLED * suggestion.size_fraction * config.budget.max_size_bytes)
    rows = ShapeRows.build(suggestion, config, multiple, any_depth=any_depth)
    if not len(rows.width):
        return None
    if runtime_by_name(config.budget.runtime).why_no_grid is not None:
        rows = around_limit(rows, suggestion, config, limit)
    if suggestion.experts.count == 1:
        found, fits = _best_row(rows, suggestion, config, multiple, (least, limit))
        # bytes of convolutions are only estimated so far
        return (
            _reshaped(found, suggestion, config, multiple, (least, limit))
            if fits or rows.has_convolutions
            else found
        )
    more = 0  # bytes that experts take beyond those of one block as wide as all of them
    for _ in range(_TRIES):
        found, _ = _best_row(rows, suggestion, config, multiple, (least - more, limit - more))
        shape, counted = found.architecture, found.size_bytes
        size = file_bytes(shape, suggestion.format, config.budget.runtime, config.budget.tokenizer_bytes)
        found = solved(shape, size, max(least - size, 0) + max(size - limit, 0))
        if not found.off_bytes:
            break
        more = size - counted
    return found


def _best_row(
    rows: ShapeRows, suggestion: Suggestion, config: SearchConfig, multiple: int, limits: tuple[int, int]
) -> tuple[SolvedShape, bool]:
    """Return the row with the least change, by the bytes that rows count, and whether any fits."""
    least, limit = limits
    experts = suggestion.experts
    multiple *= experts.count
    # the ratio is that of what a token uses
    wanted = suggestion.ffn_ratio * rows.width * experts.count / experts.used
    low = np.maximum(multiple, np.ceil(wanted / _RATIO_CHANGE / multiple) * multiple).astype(np.int64)
    high = np.maximum(low, np.floor(wanted * _RATIO_CHANGE / multiple) * multiple).astype(np.int64)
    # Bytes grow linearly with the feed-forward width, so two sizes give all of them.
    small = rows.file_bytes(low, config)
    if small.min() > limit:
        narrowest = int(small.argmin())
        over = int(small.min()) - limit
        return rows.found(narrowest, int(low[narrowest]), int(small[narrowest]), over), False
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
    return rows.found(row, int(ffn[row]), int(size[row]), int(off[row])), True


def _reshaped(
    found: SolvedShape, suggestion: Suggestion, config: SearchConfig, multiple: int, limits: tuple[int, int]
) -> SolvedShape:
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
    return solved(shape, size, max(least - size, 0) + max(size - limit, 0))
