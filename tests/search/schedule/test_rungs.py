"""Successive halving: ladders, bins and who goes on, by hand and for any rung."""

from __future__ import annotations

import doctest
from math import ceil, inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.schedule import rungs
from search.schedule.rungs import (
    Promotion,
    RungEntry,
    RungSettings,
    promotions,
    ranked,
    rung_lengths,
    size_bins,
    survivors,
)
from search.stats.pareto import dominates
from sizer.errors import InvalidQuantity


def _entry(number: int, size: float, loss: float, depth: int = 4) -> RungEntry:
    return RungEntry(id=number, costs=(size,), depth=depth, loss=loss)


ENTRIES = st.lists(
    st.tuples(st.integers(1, 40), st.integers(1, 9), st.one_of(st.integers(1, 9), st.just(nan))),
    max_size=20,
).map(lambda rows: [_entry(i, s, loss, depth=d) for i, (s, d, loss) in enumerate(rows)])
SETTINGS = st.builds(RungSettings, eta=st.sampled_from([1.5, 2.0, 3.0]), bins=st.integers(1, 5))


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(rungs).failed == 0


def test_a_ladder_of_tiny_runs_has_no_rung_twice() -> None:
    assert rung_lengths(2, eta=3, rungs=4) == (1, 2)
    assert rung_lengths(1) == (1,)
    with pytest.raises(InvalidQuantity, match="steps"):
        rung_lengths(0)


@pytest.mark.parametrize("bad", [{"eta": 1.0}, {"eta": inf}, {"bins": 0}])
def test_settings_that_mean_nothing_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InvalidQuantity, match=next(iter(bad))):
        RungSettings(**bad)  # type: ignore[arg-type]


def test_bins_are_of_equal_width_in_log_bytes() -> None:
    entries = [_entry(i, size, 1.0) for i, size in enumerate((100, 1001, 3000, 10_001, 99_000, 100_000))]
    assert [[e.id for e in b] for b in size_bins(entries, 3)] == [[0], [1, 2], [3, 4, 5]]
    assert [[e.id for e in b] for b in size_bins(entries[:1], 3)] == [[0]]
    assert size_bins([], 3) == ()


def test_a_small_model_is_kept_though_its_loss_is_the_worst() -> None:
    entries = [_entry(0, 100, 4.0), _entry(1, 900, 2.0), _entry(2, 950, 2.1), _entry(3, 1000, 2.2)]
    assert survivors(entries, RungSettings(eta=2, bins=2)) == (0, 1)


def test_layers_come_before_losses() -> None:
    # 0 and 1 are the front; 2 is beaten by 0 alone, 3 by all; 4 has a lower loss than 0 but is beaten by 1
    entries = [_entry(0, 10, 5), _entry(1, 20, 3), _entry(2, 11, 6), _entry(3, 30, 7), _entry(4, 25, 4)]
    assert {e.id for e in ranked(entries)[:2]} == {0, 1}
    assert {e.id for e in ranked(entries)[2:4]} == {2, 4}
    assert ranked(entries)[4].id == 3


def test_of_a_front_those_worth_most_hypervolume_go_on() -> None:
    # a front whose middle two are almost one point: one of them is the first to go
    entries = [_entry(0, 10, 5.0), _entry(1, 100, 3.0), _entry(2, 101, 2.999), _entry(3, 1000, 1.0)]
    assert {e.id for e in ranked(entries)[:3]} in ({0, 1, 3}, {0, 2, 3})
    assert ranked(entries)[-1].id in (1, 2)


def test_the_first_rung_keeps_the_deepest_and_the_shallowest() -> None:
    losses = {2: 3.0, 4: 2.0, 6: 2.1, 8: 2.2, 30: 4.0}
    entries = [_entry(d, 1000 + d, loss, depth=d) for d, loss in losses.items()]
    settings = RungSettings(eta=3, bins=1)
    assert survivors(entries, settings) == (2, 4)  # 2 is the smallest
    assert survivors(entries, settings, first_rung=True) == (2, 4, 30)


def test_one_depth_has_one_extreme() -> None:
    entries = [_entry(i, 1000, 2 + i / 10) for i in range(4)]
    assert survivors(entries, RungSettings(eta=4, bins=1), first_rung=True) == (0, 1)


def test_diverged_models_never_go_on() -> None:
    entries = [_entry(0, 10, inf, depth=90), _entry(1, 20, nan, depth=1), _entry(2, 30, 3.0)]
    assert survivors(entries, first_rung=True) == (2,)
    assert survivors(entries[:2]) == ()


@given(ENTRIES, SETTINGS, st.booleans())
def test_any_rung(entries: list[RungEntry], settings: RungSettings, first: bool) -> None:
    kept = survivors(entries, settings, first_rung=first)
    sound = [e for e in entries if e.loss == e.loss]
    bins = size_bins(sound, settings.bins)
    assert list(kept) == sorted(set(kept))
    assert set(kept) <= {e.id for e in sound}
    share = ceil(len(sound) / settings.eta)
    assert share <= len(kept) <= share + len(bins) * (3 if first else 1)
    for inside in bins:
        members = [e for e in inside if e.id in kept]
        assert members
        if first:
            assert {max(e.depth for e in inside), min(e.depth for e in inside)} <= {e.depth for e in members}
        else:  # nobody goes on whom someone left behind dominates
            points = [(e.costs[0], e.loss) for e in inside if e.id not in kept]
            assert not any(dominates(p, (e.costs[0], e.loss)) for p in points for e in members)


def test_why_each_goes_on_by_hand() -> None:
    # one size, so layers of non-domination are one loss each: 2, 1, 3, 4, 0; five scores, 2 places, 1 by rank
    losses = {0: (2, 3.0), 1: (4, 2.0), 2: (8, 1.0), 3: (4, 2.5), 4: (4, 2.6), 5: (4, float("inf"))}
    entries = [RungEntry(id=n, costs=(100,), depth=d, loss=loss) for n, (d, loss) in losses.items()]
    settings = RungSettings(eta=3.0, bins=1)
    assert promotions(entries, settings, first_rung=True) == {
        0: Promotion.SHALLOWEST,
        1: Promotion.BEST,
        2: Promotion.BEST,  # the deepest as well, but its rank alone would have kept it
        3: Promotion.BEATEN,
        4: Promotion.BEATEN,
        5: Promotion.NO_SCORE,
    }
    assert survivors(entries, settings, first_rung=True) == (0, 1, 2)
    later = promotions(entries, settings)
    assert [n for n, fate in later.items() if fate.promoted] == [1, 2]
