"""Initial points of a search: shapes that people choose by hand, at the size of the budget."""

from __future__ import annotations

from dataclasses import replace
from math import log
from typing import Any

from search.config.axes import AXES, Options, Suggestion
from search.config.config import FFN_RATIO_STEP, SearchConfig
from search.config.format_bits import format_bits
from search.space.resolve import resolve
from search.space.space import Encoding, least_size_fraction, parameters
from search.store.results import Candidate
from sizer.architecture import SharingStrategy

# hidden_size / num_layers and query heads per KV head of the config.json files: MobileLLM-125M 576 x 30, 9
# heads over 3; GPT-2 small 768 x 12, 12 over 12; SmolLM2-360M 960 x 32, 15 over 5.
_DEEP_AND_THIN = (576 / 30, 3)
_WIDE = (768 / 12, 1)
_MIDDLE = (960 / 32, 3)
# 1536 / 576 and 2560 / 960; GPT-2's 4 without a gate has as many weights as 8/3 with one.
_FFN_RATIO = 8 / 3
_HEAD_DIM = 64

# The initial points use the format nearest to this: 4 bits and their scales.
_USUAL_BITS = 4.5

# Depths tried for each of them, between the smallest and the largest.
_DEPTHS = 9

# Size of the one model that does not fill the budget, as a share of it.
_SMALL = 0.35


def initial_suggestions(config: SearchConfig) -> tuple[Suggestion, ...]:
    """Return the suggestions tried first: hand-made shapes that a search must beat, and a small one.

    Deep and thin as MobileLLM, wide as GPT-2, in between as SmolLM2, shared as MobileLLM-LS (each block twice
    in a row), and with the fewest and the most bits; depths are chosen so that the solved width has the same
    ratio to them.
    """
    usual = min(config.space.formats, key=lambda name: _distance(_bits(config, name), _USUAL_BITS))
    fewest = min(config.space.formats, key=lambda name: _bits(config, name))
    most = max(config.space.formats, key=lambda name: _bits(config, name))
    suggestions = [
        _shape(_DEEP_AND_THIN, config, format=usual),
        _shape(_WIDE, config, format=usual),
        _shape(_MIDDLE, config, format=usual),
    ]
    shared = [s for s in config.space.sharings if s.repeat > 1]
    if shared:
        # that of MobileLLM-LS where the space has it
        like = min(shared, key=lambda s: (s.strategy is not SharingStrategy.IMMEDIATE, s.repeat))
        suggestions.append(_shape(_DEEP_AND_THIN, config, format=usual, sharing=like))
    small = max(_SMALL, least_size_fraction(config))
    suggestions += [
        _shape(_MIDDLE, config, format=fewest),
        _shape(_MIDDLE, config, format=most),
        _shape(_MIDDLE, config, format=usual, size_fraction=small),
    ]
    different: dict[Candidate, Suggestion] = {}
    for one in suggestions:
        different.setdefault(resolve(one, config).candidate, one)
    return tuple(different.values())


def initial_points(
    config: SearchConfig, encoding: Encoding = Encoding.CATEGORICAL
) -> tuple[dict[str, Any], ...]:
    """Return the initial suggestions as a sampler's parameters, ready to be enqueued."""
    return tuple(parameters(one, config, encoding) for one in initial_suggestions(config))


def _shape(like: tuple[float, int], config: SearchConfig, **chosen: Any) -> Suggestion:
    """Return the suggestion with the chosen values whose width over depth is nearest to the wanted ratio."""
    (aspect, group), space = like, config.space
    ratio = round(_FFN_RATIO / FFN_RATIO_STEP) * FFN_RATIO_STEP
    usual: dict[str, Any] = {
        # an axis that is not named below starts with its first option
        **{n: a.values.values(config)[0] for n, a in AXES.items() if isinstance(a.values, Options)},
        "executed_layers": space.min_executed_layers,
        "head_dim": min(space.head_dims, key=lambda d: _distance(d, _HEAD_DIM)),
        "query_heads_per_kv_head": min(space.query_heads_per_kv_head, key=lambda g: _distance(g, group)),
        "ffn_ratio": float(min(max(ratio, space.min_ffn_ratio), space.max_ffn_ratio)),
        # unshared and tied where the space allows it
        "sharing": min(space.sharings, key=lambda s: s.repeat),
        "tie_embeddings": max(space.tie_embeddings),
        "size_fraction": 1.0,
    }
    suggestion = Suggestion(**(usual | chosen))

    def error(layers: int) -> tuple[bool, float]:
        solved = resolve(replace(suggestion, executed_layers=layers), config).candidate
        shape = solved.architecture
        return solved.format != suggestion.format, abs(log(shape.hidden_size / shape.num_layers / aspect))

    low, high = space.min_executed_layers, space.max_executed_layers
    tried = {round(low * (high / low) ** (step / _DEPTHS)) for step in range(_DEPTHS + 1)}
    return replace(suggestion, executed_layers=min(sorted(tried), key=error))


def _bits(config: SearchConfig, format_name: str) -> float:
    return format_bits(config.budget.runtime, format_name)


def _distance(value: float, wanted: float) -> float:
    return abs(log(value / wanted))
