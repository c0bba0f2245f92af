"""How many models came to each rung, and how many are to come."""

from __future__ import annotations

from dataclasses import replace

from search.config.config import SearchConfig
from search.schedule.plan import final_rung, stage, steps_of
from search.schedule.progress_by_rung import RungCount, rung_counts
from search.store.results import ProxyResult, TrialRecord, TrialStatus
from tests.search.records import proxy, record

CONFIG = SearchConfig.build(
    trials=12, steps=9000, lowest_rung_steps=1000, final_seeds=2, audit_pairs=0, size_bins=2
)


def run(rung: int, bits: float, *, seed: int = 0, status: TrialStatus = TrialStatus.COMPLETE) -> ProxyResult:
    done = proxy(bits, status=status, steps=steps_of(CONFIG, rung)[0])
    return replace(done, rung=rung, seed=seed, val_chunk_bits=(bits - 0.01, bits + 0.01))


def trials(number: int) -> list[TrialRecord]:
    """Models that were trained to the first rung, the larger the better."""
    made = [record(n, bits=3 - n / 10, size=100_000 * (n + 1), layers=2 + n % 4) for n in range(number)]
    return [replace(r, proxy=run(0, 3 - r.number / 10), runs=(run(0, 3 - r.number / 10),)) for r in made]


def grown(records: list[TrialRecord], number: int, result: ProxyResult) -> list[TrialRecord]:
    return [replace(r, runs=(*r.runs, result)) if r.number == number else r for r in records]


def test_before_anything_is_trained() -> None:
    assert rung_counts(CONFIG, []) == (
        RungCount(0, 1000, 0, 0, 12, 0),
        RungCount(1, 3000, 0, 0, 4, 0),
        RungCount(2, 9900, 0, 0, 2, 0),
    )


def test_a_search_without_rungs_has_one() -> None:
    short = CONFIG.changed(steps=500)
    assert rung_counts(short, []) == (RungCount(0, 500, 0, 0, 12, 0),)


def test_lost_repeated_and_infeasible_trials() -> None:
    made = trials(4)
    made[1] = replace(made[1], runs=(run(0, 0, status=TrialStatus.DIVERGED),))
    made.append(replace(made[0], number=4, repeats=0))
    made.append(replace(made[0], number=5, violations=("too large",), runs=(), proxy=None))
    assert rung_counts(CONFIG, made)[0] == RungCount(0, 1000, 3, 1, 12, 0)


def test_more_trials_asked_for_since() -> None:
    assert rung_counts(CONFIG.changed(trials=20), trials(12))[0].expected == 20


def test_fewer_trials_asked_for_since() -> None:
    """What is left are the later rungs of those that are trained."""
    made = trials(6)
    first, second, _ = rung_counts(CONFIG.changed(trials=6), made)
    assert (first.done, first.expected) == (6, 6)
    assert second.expected == len(stage(CONFIG, made).cohort)
    assert rung_counts(CONFIG.changed(trials=3), made)[0].expected == 6


def test_every_stage_of_a_search_counts_what_the_plan_trains() -> None:
    """Go through the plan to its end: what is expected of a rung under way is what the plan then trains."""
    records, seen = trials(12), []
    while (at := stage(CONFIG, records)).missing:
        counts = rung_counts(CONFIG, records)
        own = [r for r in at.missing if r.seed == 0]
        now = counts[at.rung]
        seen.append(at.rung)
        if own:
            assert now.expected == len(at.cohort) == now.done + now.lost + len(own)
        for before in counts[: at.rung]:
            assert before.done + before.lost == before.expected
        first = at.missing[0]
        bits = 2.9 - first.number / 10 - first.rung / 100
        lost = first.rung == 1 and first.number == at.cohort[0]
        status = TrialStatus.DIVERGED if lost else TrialStatus.COMPLETE
        records = grown(records, first.number, run(first.rung, bits, seed=first.seed, status=status))
    assert sorted(set(seen)) == [1, 2]
    counts = rung_counts(CONFIG, records)
    assert [c.rung for c in counts] == list(range(final_rung(CONFIG) + 1))
    assert all(c.done + c.lost == c.expected for c in counts)
    assert sum(c.lost for c in counts) == 1
    others = [r for record in records for r in record.runs if r.seed != 0]
    assert counts[-1].more_seeds == len(others)
    assert all(c.more_seeds == 0 for c in counts[:-1])
