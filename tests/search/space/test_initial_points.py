"""Starting points: hand-made shapes at the size of the budget, taken by the sampler as they are."""

from __future__ import annotations

import optuna
import pytest

from search.config.config import SearchConfig
from search.space.initial_points import initial_points, initial_suggestions
from search.space.resolve import resolve
from search.space.space import Encoding, suggest
from sizer.architecture import SharingStrategy

CONFIG = SearchConfig()


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        SearchConfig.build(min_size_fraction=1.0),
        SearchConfig.build(sharing=("reverse",), head_dims=(64,), formats=("F16",)),
        SearchConfig.build(min_executed_layers=10, max_executed_layers=10),
        SearchConfig.build(max_size_bytes=300_000, tie_embeddings=(False,), min_ffn_ratio=3.0),
    ],
)
def test_they_are_taken_by_the_sampler_as_they_are(config: SearchConfig, encoding: Encoding) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    points = initial_points(config, encoding)
    for point, suggestion in zip(points, initial_suggestions(config), strict=True):
        study.enqueue_trial(point)
        trial = study.ask()
        assert suggest(trial, config, encoding) == suggestion
        assert trial.params == point
        assert resolve(suggestion, config).reason is None


def test_they_have_the_forms_people_choose() -> None:
    config = SearchConfig.build(
        vocab_size=32_000,
        max_size_bytes=100_000_000,
        max_executed_layers=48,
        max_hidden_size=2048,
        head_dims=(64,),
        query_heads_per_kv_head=(1, 3),
    )
    suggestions = initial_suggestions(config)
    deep, wide, middle, shared, fewest, most, small = (
        resolve(p, config).candidate.architecture for p in suggestions
    )
    aspects = [a.hidden_size / a.num_layers for a in (deep, wide, middle)]
    # MobileLLM-125M 19, GPT-2 small 64, SmolLM2-360M 30
    assert aspects[0] == pytest.approx(19.2, rel=0.3)
    assert aspects[1] == pytest.approx(64, rel=0.3)
    assert aspects[2] == pytest.approx(30, rel=0.3)
    assert [a.num_heads // a.num_kv_heads for a in (deep, wide, middle)] == [3, 1, 3]
    assert shared.sharing.strategy is SharingStrategy.IMMEDIATE
    assert shared.sharing.repeat == 2
    assert (suggestions[4].format, suggestions[5].format) == ("TQ1_0", "F16")
    assert fewest.hidden_size > middle.hidden_size > most.hidden_size
    assert suggestions[6].size_fraction < 0.5
    assert small.hidden_size < middle.hidden_size


@pytest.mark.parametrize("size", [60_000, 300_000, 2_000_000, 8_000_000])
def test_no_two_of_them_are_the_same_model(size: int) -> None:
    config = SearchConfig.build(max_size_bytes=size)
    candidates = [resolve(suggestion, config).candidate for suggestion in initial_suggestions(config)]
    assert len(candidates) >= 4
    assert len(set(candidates)) == len(candidates)
