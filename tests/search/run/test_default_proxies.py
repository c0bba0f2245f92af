"""Budgets of models too large to train are searched by proxies, unless the models are asked for."""

from __future__ import annotations

from search.config.config import SearchConfig
from search.run.default_proxies import MOST_PARAMETERS, with_default_proxies
from search.space.initial_points import initial_suggestions
from search.space.resolve import resolve
from search.training.scaled_proxy import proxy_of
from sizer.tensors import count_parameters, tensor_specs

LARGE = SearchConfig.build(max_size_bytes=100_000_000, vocab_size=32000, formats=("Q4_0", "Q8_0"))


def test_large_models_are_searched_by_proxies_that_can_be_trained() -> None:
    found = with_default_proxies(LARGE)
    assert found.training.proxy_vocab_size == 256
    assert found.training.proxy_width_scale is not None
    for suggestion in initial_suggestions(found):
        proxy = proxy_of(resolve(suggestion, found).candidate.architecture, found)
        assert proxy is not None
        assert count_parameters(tensor_specs(proxy)).total <= MOST_PARAMETERS
    assert found.changed(proxy_width_scale=None, proxy_vocab_size=None) == LARGE


def test_small_models_and_what_was_asked_for_stay() -> None:
    for config in (SearchConfig(), LARGE.changed(proxy_width_scale=1.0)):
        assert with_default_proxies(config) == config
