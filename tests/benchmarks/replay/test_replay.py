"""The search replayed on tables of trained models reaches what it is meant to reach."""

from __future__ import annotations

import pytest

from benchmarks.replay import page as replay_page
from benchmarks.replay import replay
from benchmarks.replay.model_tables import gemstones, gemstones_step, gemstones_steps, lts
from search.quality.law import LawSettings
from search.schedule.rungs import RungSettings


def test_tables_are_read_whole() -> None:
    assert len(lts()) == 200
    assert len(gemstones_steps()) == 175
    last = gemstones(gemstones_steps()[-1])
    assert len(last) == 22
    assert (last[0].name, last[0].loss) == ("23x256", 3.3751885891)
    first = lts()[0].row
    assert (first.features.depth, first.features.width) == (5, 128)
    assert first.features.ffn_ratio == (1071 + 640 + 1286 + 800 + 1871) / 5 / 128
    assert first.features.head_dim == pytest.approx((64 * 32 * 32 * 16 * 16) ** (1 / 5))
    assert first.size_bytes == 4 * 8505006


def test_counting_scores_what_the_notes_say() -> None:
    """Independent figures of the notes: 10 %-pairs matched without embedding."""
    taus = replay.counter_taus(lambda row: row.features.attention_parameters)
    assert taus[1] == pytest.approx(0.417, abs=0.001)
    assert len(replay.final_front()) == 14
    said = {2e9: -0.28, 4e9: 0.39, 8e9: 0.50, 16e9: 0.50, 24e9: 0.78, 48e9: 0.83, 64e9: 0.94}
    for tokens, tau in said.items():
        assert replay.trust_at(tokens).tau_10pct.value == pytest.approx(tau, abs=0.006)


@pytest.mark.parametrize("bins", [1, 2, 3, 4, 5, 6])
def test_halving_keeps_nine_of_the_eleven_that_can_be_kept(bins: int) -> None:
    kept, models = replay.kept_of_front(32e9, bins=bins)
    assert models == 11
    assert kept >= 9
    assert kept > replay.kept_by_loss(32e9)


def test_the_first_rung_keeps_as_many_of_the_front() -> None:
    kept, models = replay.kept_of_front(32e9, bins=4, first_rung=True)
    assert kept >= 9
    assert models <= 13


def test_finalists_of_a_whole_ladder_are_on_the_front() -> None:
    found = replay.climb((350e9 / 9, 350e9 / 3, 350e9), RungSettings(eta=2))
    assert found.of_front == found.finalists == 7
    assert found.cost < 0.5


@pytest.mark.slow
def test_the_law_of_24_models_ranks_those_of_one_size() -> None:
    score = replay.law_on_lts(24, seeds=20)
    assert score.left_out_tau >= 0.76
    assert score.tau >= 0.80
    assert score.tau_non_embedding >= 0.68
    assert score.error <= 0.035
    assert 0.75 <= score.coverage <= 0.90


@pytest.mark.slow
@pytest.mark.parametrize("settings", [LawSettings(spreads=(1.0,)), LawSettings(spreads=(4.0,))])
def test_so_it_does_with_other_settings(settings: LawSettings) -> None:
    assert replay.law_on_lts(24, seeds=10, settings=settings).left_out_tau >= 0.70


@pytest.mark.parametrize("tokens", [16e9, 100e9, 350e9])
def test_small_models_predict_large_ones(tokens: float) -> None:
    found = replay.extrapolate(tokens)
    assert found.tau >= 0.7
    assert found.error < 0.04
    assert found.inside >= 5


@pytest.mark.slow
def test_guided_search_leaves_a_third_of_the_regret_of_random() -> None:
    guided, at_random, better = replay.mean_regrets(range(20), 20, trials=20)
    assert guided <= 0.29 * at_random
    assert better >= 19


def test_early_rungs_are_not_trusted_and_late_ones_are() -> None:
    assert gemstones_step(2e9) == 477
    assert replay.trust_at(2e9).verdict.startswith("cannot tell")
    assert replay.trust_at(64e9).verdict.startswith("better than counting parameters")


def test_the_page_says_what_the_replay_says() -> None:
    """Its quick parts; all of it is written by `make replay`."""
    page = replay.TARGET.read_text(encoding="utf-8")
    for part in (*replay_page._halving(), *replay_page._trust()):
        assert part in page
