"""Rungs read back: who went on and why, worked out by hand; nothing claimed that is not recorded."""

from __future__ import annotations

from dataclasses import replace

from reports.text.rungs import rung_lines
from search.analysis.rung_history import Outcome, rung_history
from search.store.results import SearchResult


def test_who_went_on_and_why(in_rungs: SearchResult) -> None:
    # Five scores and one place in three, so 2 places, of which 1 by rank; deepest (8 layers) and shallowest
    # (2 layers) go on in any case. Then 3 scores, 1 place: the last rung.
    first, second, last = rung_history(in_rungs)
    assert [rung.steps for rung in (first, second, last)] == [100, 300, 990]
    assert first.outcomes == (
        Outcome(0, 3.0, "shallowest of its size", True),
        Outcome(1, 2.0, "best of its size", True),
        Outcome(2, 4.0, "deepest of its size", True),
        Outcome(3, 2.5, "beaten at its size", False),
        Outcome(4, 2.6, "beaten at its size", False),
        Outcome(5, None, "no score", False),
    )
    assert first.scored == 5
    assert second.promoted_trials == (1,)
    assert [outcome.why for outcome in second.outcomes] == [
        "beaten at its size",
        "best of its size",
        "beaten at its size",
    ]
    assert last.outcomes == (Outcome(1, 1.7, "trained to its end", False),)


def test_without_the_configuration_it_says_only_what_was_recorded(in_rungs: SearchResult) -> None:
    first = rung_history(replace(in_rungs, config=None))[0]
    assert first.promoted_trials == (0, 1, 2)
    assert {outcome.why for outcome in first.outcomes} == {"not recorded", "no score"}


def test_a_study_of_one_rung(in_rungs: SearchResult) -> None:
    assert in_rungs.config is not None
    alone = replace(
        in_rungs,
        config=in_rungs.config.changed(rungs=1),
        records=tuple(replace(r, runs=r.runs[:1]) for r in in_rungs.records),
    )
    (only,) = rung_history(alone)
    assert only.promoted_trials == ()
    assert only.outcomes[0].why == "trained to its end"


def test_other_seeds_are_no_rungs_of_their_own(in_rungs: SearchResult) -> None:
    records = list(in_rungs.records)
    best = records[1]
    records[1] = replace(best, runs=(*best.runs, replace(best.runs[-1], seed=8)))
    history = rung_history(replace(in_rungs, records=tuple(records)))
    assert [len(rung.outcomes) for rung in history] == [6, 3, 1]


def test_nothing_trained(in_rungs: SearchResult) -> None:
    assert rung_history(replace(in_rungs, records=())) == ()


def test_while_a_rung_is_open_nobody_has_gone_on(in_rungs: SearchResult) -> None:
    assert [rung.open for rung in rung_history(in_rungs)] == [False, False, False]
    begun = replace(in_rungs, records=tuple(replace(r, runs=r.runs[:1]) for r in in_rungs.records))
    (first,) = rung_history(begun)
    assert first.open
    assert first.promoted_trials == (0, 1, 2)
    assert rung_lines((first,))[0].endswith("6 models, 3 promoted so far")
