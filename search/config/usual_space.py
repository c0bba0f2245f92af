"""The space that a budget is searched in unless another is asked for; large models have proxies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search.config.config import BYTE_VOCABULARY, TABLES, SearchConfig
from search.config.presets import presets

# Files beyond this hold models of which no laptop trains many: their proxies are trained.
LARGEST_TRAINED_BYTES = 20_000_000
_PROXIES = ("proxy_width_scale", "proxy_vocab_size")


def usual_space(max_size_bytes: int) -> dict[str, Any]:
    """Return the space and the proxies of a search whose models are too large to train many of; else nothing.

    They are those of the preset whose max file size is nearest.
    """
    if max_size_bytes <= LARGEST_TRAINED_BYTES:
        return {}
    with_proxies = [one.config for one in presets().values() if one.config.training.proxy_width_scale]
    ratios = [max(size, max_size_bytes) / min(size, max_size_bytes) for size in map(_size, with_proxies)]
    values = with_proxies[ratios.index(min(ratios))].to_dict()
    return {name: _held(values[name]) for name in (*TABLES["space"], *_PROXIES)}


def _size(config: SearchConfig) -> int:
    return config.budget.max_size_bytes


def _held(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def tokenizer_for(fields: Mapping[str, Any], base: SearchConfig | None = None) -> dict[str, str]:
    """Return the tokenizer that models of that vocabulary are trained with, where bytes are too few."""
    vocabulary = fields.get("vocab_size", BYTE_VOCABULARY)
    largest = max(vocabulary) if isinstance(vocabulary, tuple) else vocabulary
    trained = fields.get("proxy_vocab_size", (base or SearchConfig()).training.proxy_vocab_size)
    return {"tokenizer": "bpe"} if trained is None and largest > BYTE_VOCABULARY else {}
