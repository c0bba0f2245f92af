"""The space: what a sampler is asked in both encodings, and from a suggestion to parameters and back."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.config.axes import AXES, Suggestion, sharing_label
from search.config.config import SearchConfig
from search.config.format_bits import format_bits
from search.space.formats import smallest_file_bytes
from search.space.space import Encoding, least_size_fraction, parameters, suggest
from sizer.architecture import LayerSharing, SharingStrategy

CONFIG = SearchConfig()


def asked(config: SearchConfig, encoding: Encoding, seed: int = 0) -> tuple[Suggestion, optuna.Trial]:
    """A random suggestion and the trial it was asked of."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    return suggest(trial, config, encoding), trial


def test_every_dimension_is_asked_for() -> None:
    _, trial = asked(CONFIG, Encoding.CATEGORICAL)
    assert trial.params.keys() <= AXES.keys()
    assert trial.params.keys() == {
        "format",
        "executed_layers",
        "head_dim",
        "query_heads_per_kv_head",
        "ffn_ratio",
        "sharing",
        "tie_embeddings",
        "size_fraction",
    }
    distribution = trial.distributions["sharing"]
    assert isinstance(distribution, optuna.distributions.CategoricalDistribution)
    assert distribution.choices[:4] == ("none", "immediate", "immediate x3", "immediate x4")
    assert len(distribution.choices) == 10


@pytest.mark.parametrize("seed", range(8))
def test_ordered_parameters_are_numbers_only(seed: int) -> None:
    suggestion, trial = asked(CONFIG, Encoding.ORDERED, seed)
    kinds = {type(d) for d in trial.distributions.values()}
    assert kinds <= {optuna.distributions.IntDistribution, optuna.distributions.FloatDistribution}
    assert suggestion.format in CONFIG.space.formats
    assert len(trial.params) == 8


def test_numbers_are_in_an_order_that_means_something() -> None:
    def suggested(**numbers: int) -> Suggestion:
        params: dict[str, Any] = {
            **dict.fromkeys(("format_index", "head_dim_index", "tie_embeddings_index"), 0),
            **{"query_heads_per_kv_head_index": 0, "sharing_index": 0},
            **{"executed_layers": 4, "ffn_ratio": 2.0, "size_fraction": 0.5},
        }
        trial = optuna.trial.FixedTrial({**params, **numbers})
        return suggest(trial, config, Encoding.ORDERED)

    config = SearchConfig.build(formats=("F16", "Q2_K", "TQ1_0", "Q8_0", "Q4_K_M"), head_dims=(64, 32))
    formats = [suggested(format_index=i).format for i in range(5)]
    assert formats == ["TQ1_0", "Q2_K", "Q4_K_M", "Q8_0", "F16"]
    bits = [format_bits("llama.cpp", name) for name in formats]
    assert bits == sorted(bits)
    assert [suggested(head_dim_index=i).head_dim for i in range(2)] == [32, 64]
    assert [suggested(tie_embeddings_index=i).tie_embeddings for i in range(2)] == [False, True]
    repeats = [suggested(sharing_index=i).sharing.repeat for i in range(10)]
    assert repeats == [1, 2, 2, 2, 3, 3, 3, 4, 4, 4]


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from(Encoding))
def test_parameters_lead_back_to_the_suggestion(seed: int, encoding: Encoding) -> None:
    suggestion, trial = asked(CONFIG, encoding, seed)
    params = parameters(suggestion, CONFIG, encoding)
    assert params == trial.params
    again = optuna.trial.FixedTrial(params)
    assert suggest(again, CONFIG, encoding) == suggestion


@pytest.mark.parametrize("encoding", Encoding)
def test_what_has_one_option_is_not_asked(encoding: Encoding) -> None:
    config = SearchConfig.build(
        formats=("Q8_0",),
        sharing=("reverse",),
        sharing_repeats=(3,),
        tie_embeddings=(False,),
        head_dims=(64,),
        query_heads_per_kv_head=(4,),
        min_size_fraction=1.0,
    )
    suggestion, trial = asked(config, encoding)
    assert trial.params.keys() == {"executed_layers", "ffn_ratio"}
    assert (suggestion.format, suggestion.head_dim, suggestion.query_heads_per_kv_head) == ("Q8_0", 64, 4)
    assert suggestion.sharing == LayerSharing(strategy=SharingStrategy.REVERSE, repeat=3)
    assert (suggestion.tie_embeddings, suggestion.size_fraction) == (False, 1.0)
    assert parameters(suggestion, config, encoding) == trial.params


def test_a_middle_that_loops_is_an_option_with_its_ends() -> None:
    space = SearchConfig.build(
        sharing=("none", "middle"), sharing_repeats=(2, 3), sharing_ends=(1, 2), max_executed_layers=6
    ).space
    assert [sharing_label(s) for s in space.sharings] == [
        "none",
        "middle ends 1",
        "middle ends 2",
        "middle x3 ends 1",  # with 2 ends it runs 7 layers
    ]


def test_a_study_from_before_repeats_is_asked_as_it_was() -> None:
    """The names of a study that shared blocks twice only: Optuna refuses categories that change."""
    assert [sharing_label(s) for s in SearchConfig.build(sharing_repeats=(2,)).space.sharings] == [
        "none",
        "immediate",
        "repeat-all",
        "reverse",
    ]
    assert sharing_label(LayerSharing(strategy=SharingStrategy.REVERSE, repeat=3)) == "reverse x3"


def test_shares_start_where_there_is_a_model_as_small() -> None:
    assert least_size_fraction(CONFIG) == CONFIG.space.min_size_fraction
    tiny = SearchConfig.build(max_size_bytes=60_000)
    assert least_size_fraction(tiny) == smallest_file_bytes(tiny) / 60_000 > tiny.space.min_size_fraction
    # nothing fits: the share is all of it, and the suggestion says why it cannot be filled
    assert least_size_fraction(SearchConfig.build(max_size_bytes=10_000)) == 1.0
