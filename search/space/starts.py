"""Where a search starts: the shapes people choose by hand, at the size of the budget, before any training."""

from __future__ import annotations

from dataclasses import replace
from math import log
from typing import Any

from search.space.config import FFN_RATIO_STEP, SearchConfig
from search.space.formats import format_bits
from search.space.resolve import resolve
from search.space.space import Encoding, Proposal, least_size_fraction, parameters
from search.store.results import Candidate
from sizer.architecture import LayerSharing, SharingStrategy

# hidden_size / num_layers and query heads per KV head of the config.json files: MobileLLM-125M 576 x 30, 9
# heads over 3; GPT-2 small 768 x 12, 12 over 12; SmolLM2-360M 960 x 32, 15 over 5.
_DEEP_AND_THIN = (576 / 30, 3)
_WIDE = (768 / 12, 1)
_MIDDLE = (960 / 32, 3)
# 1536 / 576 and 2560 / 960; GPT-2's 4 without a gate has as many weights as 8/3 with one.
_FFN_RATIO = 8 / 3

# The format the hand-made shapes start in is the one nearest to this: 4 bits and their scales.
_USUAL_BITS = 4.5

# Depths looked at for each of them, between the least and the most.
_DEPTHS = 9

# A small model beside those that fill the budget, as a share of it.
_SMALL = 0.35


def starting_proposals(config: SearchConfig) -> tuple[Proposal, ...]:
    """Shapes tried first: hand-made choices that a search must beat, at both ends of bits, and a small one.

    Deep and thin as MobileLLM, wide as GPT-2, in between as SmolLM2, shared as MobileLLM-LS (each block twice
    in a row); depths are chosen so that the solved width is in the same relation to them.
    """
    usual = min(config.formats, key=lambda name: _distance(_bits(config, name), _USUAL_BITS))
    fewest = min(config.formats, key=lambda name: _bits(config, name))
    most = max(config.formats, key=lambda name: _bits(config, name))
    deep = _shape(_DEEP_AND_THIN, usual, config)
    wide = _shape(_WIDE, usual, config)
    middle = _shape(_MIDDLE, usual, config)
    points = [deep, wide, middle]
    shared = [s for s in config.sharings if s.repeat > 1]
    if shared:
        # MobileLLM-LS's where the space has it
        like = min(shared, key=lambda s: (s.strategy is not SharingStrategy.IMMEDIATE, s.repeat))
        points.append(_shape(_DEEP_AND_THIN, usual, config, sharing=like))
    small = max(_SMALL, least_size_fraction(config))
    points += [
        _shape(_MIDDLE, fewest, config),
        _shape(_MIDDLE, most, config),
        _shape(_MIDDLE, usual, config, size_fraction=small),
    ]
    different: dict[Candidate, Proposal] = {}
    for point in points:
        different.setdefault(resolve(point, config), point)
    return tuple(different.values())


def starting_points(
    config: SearchConfig, encoding: Encoding = Encoding.CATEGORICAL
) -> tuple[dict[str, Any], ...]:
    """The starting proposals as parameters to enqueue; they are taken by the sampler as they are."""
    return tuple(parameters(proposal, config, encoding) for proposal in starting_proposals(config))


def _shape(
    like: tuple[float, int],
    format_name: str,
    config: SearchConfig,
    *,
    sharing: LayerSharing | None = None,
    size_fraction: float = 1.0,
) -> Proposal:
    """The proposal of that form whose width over depth comes nearest to the wanted one."""
    aspect, group = like
    # unshared where the space has that
    sharing = sharing or min(config.sharings, key=lambda s: s.repeat)
    proposal = Proposal(
        format=format_name,
        executed_layers=config.min_executed_layers,
        head_dim=min(config.head_dims, key=lambda d: _distance(d, 64)),
        query_heads_per_kv_head=min(config.query_heads_per_kv_head, key=lambda g: _distance(g, group)),
        ffn_ratio=_ratio(config),
        sharing=sharing.strategy,
        repeat=max(2, sharing.repeat),
        size_fraction=size_fraction,
        tie_embeddings=max(config.tie_embeddings),
    )

    def off(layers: int) -> tuple[bool, float]:
        solved = resolve(replace(proposal, executed_layers=layers), config)
        shape = solved.architecture
        return solved.format != format_name, abs(log(shape.hidden_size / shape.num_layers / aspect))

    low, high = config.min_executed_layers, config.max_executed_layers
    tried = {round(low * (high / low) ** (step / _DEPTHS)) for step in range(_DEPTHS + 1)}
    return replace(proposal, executed_layers=min(sorted(tried), key=off))


def _ratio(config: SearchConfig) -> float:
    steps = round(_FFN_RATIO / FFN_RATIO_STEP)
    return float(min(max(steps * FFN_RATIO_STEP, config.min_ffn_ratio), config.max_ffn_ratio))


def _bits(config: SearchConfig, format_name: str) -> float:
    return format_bits(config.runtime, format_name)


def _distance(value: float, wanted: float) -> float:
    return abs(log(value / wanted))
