"""The space: every proposal is a valid shape that fills its share of the budget."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.config import SearchConfig
from search.space import Proposal, resolve, shape_name, starting_points, suggest
from sizer.architecture import SharingStrategy
from sizer.estimate import estimate

CONFIG = SearchConfig()

PROPOSALS = st.builds(
    Proposal,
    format=st.sampled_from(["Q4_0", "Q4_K_M", "Q8_0", "F16", "TQ1_0"]),
    executed_layers=st.integers(1, 24),
    head_dim=st.sampled_from([32, 64]),
    query_heads_per_kv_head=st.sampled_from([1, 2, 4]),
    ffn_ratio=st.sampled_from([1.5, 2.0, 2.5, 3.0, 4.0]),
    sharing=st.sampled_from(SharingStrategy),
    size_fraction=st.floats(0.2, 1.0),
)


@settings(max_examples=40, deadline=None)
@given(PROPOSALS)
def test_the_widest_that_fits_is_taken(proposal: Proposal) -> None:
    candidate = resolve(proposal, CONFIG)
    limit = proposal.size_fraction * CONFIG.max_size_bytes
    a = candidate.architecture
    size = estimate(architecture=a, format=candidate.format).file.total
    if a.hidden_size > CONFIG.min_hidden_size:
        assert size <= limit
    if a.hidden_size + proposal.head_dim <= CONFIG.max_hidden_size:
        wider = replace(
            a,
            hidden_size=a.hidden_size + proposal.head_dim,
            num_heads=a.num_heads + 1,
            num_kv_heads=1,
            intermediate_size=round(proposal.ffn_ratio * (a.hidden_size + proposal.head_dim) / 32) * 32,
        )
        assert estimate(architecture=wider, format=proposal.format).file.total > 0.7 * limit


@settings(max_examples=40, deadline=None)
@given(PROPOSALS)
def test_shapes_are_as_proposed(proposal: Proposal) -> None:
    a = resolve(proposal, CONFIG).architecture
    assert a.vocab_size == 256
    assert a.head_dim == proposal.head_dim
    assert a.num_heads * a.head_dim == a.hidden_size
    if proposal.sharing is SharingStrategy.NONE:
        assert a.num_layers == a.executed_layers == proposal.executed_layers
    elif proposal.executed_layers >= 2:
        assert a.sharing.strategy is proposal.sharing
        assert a.executed_layers == proposal.executed_layers // 2 * 2


def test_the_same_point_resolves_to_the_same_candidate() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    proposal = suggest(study.ask(), CONFIG)
    assert resolve(proposal, CONFIG) == resolve(proposal, CONFIG)


def test_starting_points_are_taken_by_the_sampler_as_they_are() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    points = starting_points(CONFIG)
    for point in points:
        study.enqueue_trial(point)
    asked = []
    for _ in points:
        trial = study.ask()
        suggest(trial, CONFIG)
        asked.append(trial.params)
    assert asked == list(points)


@pytest.mark.parametrize(
    "config",
    [
        SearchConfig(min_size_fraction=1.0),
        SearchConfig(sharing=("reverse",), head_dims=(64,), formats=("F16",)),
        SearchConfig(min_executed_layers=10, max_executed_layers=10),
    ],
)
def test_starting_points_stay_inside_a_narrow_space(config: SearchConfig) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for point in starting_points(config):
        study.enqueue_trial(point)
        trial = study.ask()
        proposal = suggest(trial, config)
        assert trial.params == point
        assert resolve(proposal, config).architecture.hidden_size >= config.min_hidden_size


def test_names_say_the_shape() -> None:
    proposal = Proposal(
        format="Q8_0",
        executed_layers=6,
        head_dim=32,
        query_heads_per_kv_head=2,
        ffn_ratio=2.5,
        sharing=SharingStrategy.IMMEDIATE,
        size_fraction=0.3,
    )
    a = resolve(proposal, CONFIG).architecture
    assert a.name == shape_name(a)
    assert a.name.startswith(f"3x{a.hidden_size} ")
    assert a.name.endswith("immediatex2")
