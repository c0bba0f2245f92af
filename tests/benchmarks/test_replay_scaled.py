"""Wide models of the replay tables, asked of narrow ones: what docs/proxies.md says of it."""

from __future__ import annotations

import pytest

from benchmarks import proxies, replay_scaled
from search.law.carry import LONG_STEPS
from tests.shared_facts import needs_shared

pytestmark = needs_shared


@pytest.mark.parametrize("tokens", [32e9, 64e9, 350e9])
def test_long_runs_are_carried_over_in_order_and_inside_the_range(tokens: float) -> None:
    found = replay_scaled.gemstones_carry(tokens)
    assert found.tau >= 0.95
    assert found.tau_of_one_size == 1.0
    assert found.inside >= 0.8
    assert found.error_of_gain < 0.2


@pytest.mark.parametrize("tokens", [4e9, 6e9, 8e9])
def test_short_runs_are_carried_over_too_well_by_as_much_as_the_range_allows(tokens: float) -> None:
    found = replay_scaled.gemstones_carry(tokens)
    counting = replay_scaled.counting_taus(replay_scaled.gemstones_sides(tokens)[1])
    assert found.bias < -0.05
    assert 0.2 < found.error_of_gain < 0.35
    assert found.inside_given >= 0.9
    assert found.tau_of_one_size > counting[1] + 0.5


def test_after_500_steps_nothing_is_known() -> None:
    assert replay_scaled.gemstones_carry(2e9).tau_of_one_size < 0


def test_what_the_law_misses_of_a_proxy_it_does_not_miss_of_its_model() -> None:
    found = [replay_scaled.residuals_at_one_depth(tokens)[1] for tokens in (4e9, 8e9, 32e9, 350e9)]
    assert all(correlation < 0.5 for correlation in found)
    assert abs(sum(found) / len(found)) < 0.2


@pytest.mark.parametrize("widest", [128, 256])
def test_the_other_table_is_inside_the_laws_own_range(widest: int) -> None:
    found = replay_scaled.lts_carry(widest, 24, draws=6)
    assert found.inside >= 0.75
    assert found.tau > replay_scaled.counting_taus(replay_scaled.lts_wide())[0]
    assert found.error < 0.06


def test_of_models_trained_here_the_law_knows_the_order_better_than_their_proxies() -> None:
    found = proxies.trained()
    by_proxy, by_law, by_counting = proxies.taus(found)
    assert len(found) >= 8
    assert by_law > by_counting > by_proxy
    assert all(one.carried.low <= one.model_bits <= one.carried.high for one in found)
    assert all(one.carried.value < one.model_bits for one in found)


def test_their_frontier_is_nearer_to_that_of_the_scores_carried_over() -> None:
    fronts = proxies.fronts(proxies.trained())
    assert len(fronts.by_law & fronts.true) > len(fronts.by_proxy & fronts.true)
    assert len(fronts.by_law - fronts.true) < len(fronts.by_proxy - fronts.true)


def test_long_is_where_the_table_says() -> None:
    assert replay_scaled.gemstones_carry(64e9).inside == replay_scaled.gemstones_carry(64e9).inside_given
    assert 7_632 < LONG_STEPS <= 15_264
