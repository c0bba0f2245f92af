"""What is left to train, from what is stored: rungs, survivors, finalists, seeds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.config.config import SearchConfig
from search.schedule.plan import (
    PlannedRun,
    Stage,
    expected_steps,
    final_rung,
    rung_steps,
    stage,
    steps_of,
    steps_of_more_seeds,
    warmup_steps,
)
from search.store.results import ProxyResult, TrialRecord, TrialStatus
from tests.search.records import proxy, record

CONFIG = SearchConfig.build(trials=9, steps=9000, final_seeds=1, size_bins=1)


def _run(bits: float, rung: int, seed: int = 0, chunks: tuple[float, ...] = ()) -> ProxyResult:
    return replace(proxy(bits), rung=rung, seed=seed, val_chunk_bits=chunks)


def _trial(number: int, *runs: ProxyResult, size: int = 100_000, layers: int = 4) -> TrialRecord:
    return replace(record(number, size=size, layers=layers), runs=runs)


def _cohort() -> list[TrialRecord]:
    """Nine models of one size; the higher the number the better, depth the other way round."""
    return [_trial(n, _run(3 - n / 10, 0), layers=10 - n) for n in range(9)]


def test_a_short_search_has_one_rung_that_cools_down() -> None:
    short = CONFIG.changed(steps=2000)
    assert (rung_steps(short), final_rung(short)) == ((2000,), 0)
    assert steps_of(short, 0) == (2000, None)
    assert expected_steps(short, aside=False) == expected_steps(short, aside=True) == 9 * 2000
    assert stage(short, _cohort()) == Stage(0, tuple(range(9)), ())


def test_a_long_search_has_rungs_at_a_constant_rate_and_cools_down_in_the_last() -> None:
    assert (rung_steps(CONFIG), final_rung(CONFIG)) == ((1000, 3000, 9000), 2)
    assert [steps_of(CONFIG, rung) for rung in range(3)] == [(1000, 0), (3000, 0), (9900, 900)]
    # 9 models to 1000, 3 of them to 3000, 1 to 9000 and 900 more
    steps = 9 * 1000 + 3 * 2000 + 1 * 6900
    assert expected_steps(CONFIG, aside=False) == steps
    # on copies a tenth of 1000 for each of 9, and of 3000 for each of 3
    assert expected_steps(CONFIG, aside=True) == steps + 9 * 100 + 3 * 300
    assert warmup_steps(CONFIG) == 50
    assert warmup_steps(CONFIG.changed(lowest_rung_steps=1, steps=900)) == 5


def test_survivors_are_trained_next_and_the_deepest_goes_on_whatever_it_scored() -> None:
    at = stage(CONFIG, _cohort())
    assert at.rung == 1
    assert set(at.cohort) >= {0, 8}  # the deepest, which is last, and the best, which is the shallowest
    assert 3 <= len(at.cohort) < 9
    assert at.missing == tuple(PlannedRun(n, 1, 0) for n in at.cohort)


def test_each_stage_waits_for_the_one_before() -> None:
    records = {r.number: r for r in _cohort()}
    seen = []
    for _ in range(60):
        at = stage(CONFIG, records.values())
        if not at.missing:
            break
        seen.append(at.missing[0])
        number, rung, seed = at.missing[0]
        run = _run(2.5 - number / 10 - rung / 100, rung, seed)
        records[number] = replace(records[number], runs=(*records[number].runs, run))
    assert at.missing == ()
    assert [run.rung for run in seen] == sorted(run.rung for run in seen)
    by_rung = [sum(run.rung == rung for run in seen) for rung in (1, 2)]
    assert by_rung[0] > by_rung[1] >= 1
    assert len(set(seen)) == len(seen)


def test_diverged_infeasible_and_repeated_trials_go_nowhere() -> None:
    records = _cohort()
    records[8] = _trial(8, proxy(1.0, status=TrialStatus.DIVERGED))
    records.append(replace(record(9, bits=1.0), repeats=3))
    records.append(replace(record(10), proxy=None, violations=("file: too large",)))
    at = stage(CONFIG, records)
    assert not {8, 9, 10} & set(at.cohort)
    diverged_later = [
        replace(r, runs=(*r.runs, replace(_run(1.0, 1), status=TrialStatus.DIVERGED, val_bits_per_byte=None)))
        if r.number in at.cohort
        else r
        for r in records
    ]
    assert stage(CONFIG, diverged_later) == Stage(2, (), ())


def test_finalists_that_cannot_be_told_apart_get_more_seeds() -> None:
    config = CONFIG.changed(steps=2000, final_seeds=3, audit_pairs=0)
    noisy, clear = (2.0, 2.4, 1.9, 2.2, 2.1), (1.0, 1.1, 1.0, 1.1, 1.0)
    records = [
        _trial(0, _run(2.12, 0, chunks=noisy), size=100_000),
        _trial(1, _run(2.11, 0, chunks=tuple(reversed(noisy))), size=200_000),
        _trial(2, _run(1.04, 0, chunks=clear), size=300_000),
    ]
    wanted = {PlannedRun(n, 0, seed) for n in (0, 1) for seed in (1, 2)}
    assert set(stage(config, records).missing) == wanted
    done = [
        replace(r, runs=(*r.runs, *(_run(2.1, 0, seed=seed, chunks=noisy) for seed in (1, 2))))
        if r.number < 2
        else r
        for r in records
    ]
    assert stage(config, done).missing == ()
    assert stage(config.changed(final_seeds=1), records).missing == ()
    # a study of an earlier version kept no chunks: nothing can be said, nothing is trained
    assert stage(config, [replace(r, runs=(proxy(2.0),)) for r in records]).missing == ()


@given(st.lists(st.tuples(st.floats(1, 4), st.integers(10**5, 10**6), st.integers(1, 24)), max_size=30))
def test_a_plan_depends_on_what_is_stored_and_not_on_its_order(models: list[tuple[float, int, int]]) -> None:
    records = [
        _trial(n, _run(bits, 0), size=size, layers=layers) for n, (bits, size, layers) in enumerate(models)
    ]
    config = CONFIG.changed(size_bins=4)
    at = stage(config, records)
    again = stage(config, list(reversed(records)))
    assert (at.rung, set(at.cohort), set(at.missing)) == (again.rung, set(again.cohort), set(again.missing))
    assert len(at.missing) <= len(records)


@pytest.mark.parametrize("trials", [1, 9, 30])
@pytest.mark.parametrize("steps", [1, 999, 1000, 3000, 10_000])
def test_expected_steps_are_those_of_the_plan(trials: int, steps: int) -> None:
    """Followed to its end with one bin and equal depths, a plan trains what was forecast."""
    config = CONFIG.changed(trials=trials, steps=steps, lowest_rung_steps=300)
    records = {n: _trial(n, _run(3 - n / 100, 0)) for n in range(trials)}
    total = trials * steps_of(config, 0)[0]
    while missing := stage(config, records.values()).missing:
        number, rung, _ = missing[0]
        total += steps_of(config, rung)[0] - steps_of(config, rung - 1)[0]
        records[number] = replace(records[number], runs=(*records[number].runs, _run(2 - number / 100, rung)))
    # the deepest, which of equals is the best, is kept besides
    expected = expected_steps(config, aside=False)
    assert expected <= total <= 1.3 * expected


def test_a_pair_of_one_size_is_trained_to_the_end_with_two_seeds() -> None:
    """The two worst of nine, alike in size alone, go to the last rung and get a second seed there."""
    config = CONFIG.changed(final_seeds=2, steps=3000)
    records = {
        n: _trial(n, _run(3 - n / 10, 0), size=100_000 + (5_000 if n == 1 else 200_000 * n), layers=4 + n % 3)
        for n in range(9)
    }
    assert stage(config, records.values()).cohort[:2] == (0, 1)
    trained, left = [], []
    while missing := (now := stage(config, records.values())).missing:
        number, rung, seed = missing[0]
        trained.append(missing[0])
        left.append(steps_of_more_seeds(config, now))
        runs = (*records[number].runs, _run(2 - number / 10, rung, seed))
        records[number] = replace(records[number], runs=runs)
    assert {PlannedRun(n, 1, seed) for n in (0, 1) for seed in (0, 1)} <= set(trained)
    assert left[-3:] == [None, 2 * 3300, 3300]  # runs to 3,000 steps and a cool-down of 300
    assert not [run for run in trained if run.seed and run.number > 1]
    without = config.changed(audit_pairs=0)
    assert not {0, 1} <= set(stage(without, records.values()).cohort)
    # four runs more than without: two to the last rung and a second seed of each
    assert expected_steps(config, aside=False) - expected_steps(without, aside=False) == 2 * 2300 + 2 * 3300
