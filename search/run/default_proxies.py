"""Scaled proxies by default: what is trained where the models of a budget are too large to train many."""

from __future__ import annotations

from search.config.config import BYTE_VOCABULARY, SearchConfig, Tokenizer
from search.config.proxy_width import WIDTH_STEP
from search.space.initial_points import initial_suggestions
from search.space.resolve import resolve
from search.training.scaled_proxy import scaled_proxy
from sizer.architecture import Architecture
from sizer.tensors import count_parameters, tensor_specs

# Presets train proxies of up to 15M parameters in place of models of 125M and more.
MOST_PARAMETERS = 20_000_000
_SCALES = (0.5, 0.25, 0.125, 0.0625)


def with_default_proxies(config: SearchConfig) -> SearchConfig:
    """Return the search with proxies of bytes that can be trained, where its own models are too large.

    Models of up to 20M parameters are trained as they are, and so are all where a width of proxies is given
    (1 for the models' own), or where several vocabularies are compared, which proxies of one cannot tell
    apart.
    """
    training, space = config.training, config.space
    if training.proxy_width_scale is not None or training.proxy_vocab_size is not None:
        return config
    if len(set(space.vocab_size)) > 1 or any(dim % WIDTH_STEP for dim in space.head_dims):
        return config
    resolved = [resolve(suggestion, config) for suggestion in initial_suggestions(config)]
    shapes = {one.candidate.architecture for one in resolved if one.reason is None}
    if max(map(_parameters, shapes), default=0) <= MOST_PARAMETERS:
        return config
    for scale in _SCALES:
        proxies = [scaled_proxy(one, width_scale=scale, vocab_size=BYTE_VOCABULARY) for one in shapes]
        if max(map(_parameters, proxies)) <= MOST_PARAMETERS:
            break
    return config.changed(
        proxy_width_scale=scale, proxy_vocab_size=BYTE_VOCABULARY, tokenizer=Tokenizer.BYTE.value
    )


def _parameters(architecture: Architecture) -> int:
    return count_parameters(tensor_specs(architecture)).total
