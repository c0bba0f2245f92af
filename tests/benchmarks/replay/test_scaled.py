"""Wide models of the replay tables, asked of narrow ones: what docs/proxies.md says of it."""

from __future__ import annotations

import pytest

from benchmarks.replay import proxies
from benchmarks.replay import scaled as replay_scaled


@pytest.mark.parametrize("tokens", [4e9, 8e9, 16e9, 64e9, 350e9])
def test_wide_models_come_out_in_order_and_inside_the_range(tokens: float) -> None:
    found = replay_scaled.gemstones_carry(tokens)
    counting = replay_scaled.counting_taus(replay_scaled.gemstones_sides(tokens)[1])
    assert found.tau >= 0.8
    assert found.tau_of_one_size > counting[1] + 0.5
    assert found.inside >= 0.9
    assert abs(found.bias) <= 0.05
    assert found.error_of_gain < 0.2


def test_after_500_steps_losses_are_foreseen_far_too_low() -> None:
    found = replay_scaled.gemstones_carry(2e9)
    assert found.tau < 0.3
    assert found.bias < -0.1


def test_what_the_law_misses_of_a_proxy_it_does_not_miss_of_its_model() -> None:
    found = [replay_scaled.residuals_at_one_depth(tokens)[1] for tokens in (4e9, 8e9, 32e9, 350e9)]
    assert all(correlation < 0.5 for correlation in found)
    assert abs(sum(found) / len(found)) < 0.2


@pytest.mark.parametrize("widest", [128, 256])
def test_the_other_table_is_in_order_and_inside_the_range(widest: int) -> None:
    found = replay_scaled.lts_carry(widest, 24, draws=6)
    counting = replay_scaled.counting_taus(replay_scaled.lts_wide())
    assert found.inside >= 0.75
    assert found.tau > counting[0]
    assert found.tau_of_one_size > counting[1] + 0.4
    assert found.error < 0.1


def test_of_models_trained_here_the_law_knows_the_order_better_than_their_proxies() -> None:
    found = proxies.trained()
    by_proxy, by_law, by_counting = proxies.taus(found)
    assert len(found) >= 8
    assert by_law > by_counting > by_proxy
    inside = [one.extrapolated.low <= one.model_bits <= one.extrapolated.high for one in found]
    assert sum(inside) >= 0.75 * len(found)


def test_their_frontier_is_nearer_to_that_of_the_scores_carried_over() -> None:
    fronts = proxies.fronts(proxies.trained())
    assert len(fronts.by_law & fronts.true) > len(fronts.by_proxy & fronts.true)
    assert len(fronts.by_law - fronts.true) < len(fronts.by_proxy - fronts.true)
