"""Trust in words: from runs worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reports.export.documents import trust_document
from reports.text.trust import trust_line, trust_table
from search.analysis.reliability import chosen, control_hypervolumes, rung_trust
from search.store.results import SearchResult, TrialRecord, combined
from sizer.errors import StudyError
from tests.reports.plain_text import plain_text
from tests.search.records import proxy, record


def _trial(number: int, early: float, late: float | None, *, layers: int = 2) -> TrialRecord:
    runs = [replace(proxy(early, steps=1000), rung=0)]
    if late is not None:
        runs.append(replace(proxy(late, steps=3000), rung=1))
    made = record(number, size=1_000_000 + number, layers=layers)
    return replace(made, runs=tuple(runs), proxy=combined(runs))


def _result(records: list[TrialRecord]) -> SearchResult:
    return SearchResult(
        study="s",
        device="raspberry-pi-5",
        runtime="llama.cpp",
        budget={"max_size_bytes": 2e6, "max_memory_bytes": None, "min_decode_tokens_per_s": None},
        corpus="builtin",
        corpus_digest="abc",
        trials_requested=len(records),
        settings={},
        records=tuple(records),
    )


def _agreeing() -> SearchResult:
    """Six models of one size in the same order early and late, but depth says nothing."""
    depths = (5, 2, 7, 3, 6, 4)
    return _result([_trial(n, 3 - n / 10, 2 - n / 10, layers=d) for n, d in enumerate(depths)])


def test_a_study_of_one_rung_says_that_nothing_is_known() -> None:
    result = _result([_trial(n, 3 - n / 10, None) for n in range(6)])
    assert rung_trust(result) == ()
    assert trust_line(result) == "not known, as no model was trained for longer than the others"
    document = trust_document(result, (), None)
    assert (document["schema"], document["pairs"], document["rungs"]) == ("sizer.trust/1", 0, [])
    assert document["tau_10pct"] == {"value": None, "low": None, "high": None}


def test_an_order_that_holds() -> None:
    result = _agreeing()
    (report,) = rung_trust(result)
    assert (report.early_steps, report.late_steps, report.report.pairs) == (1000, 3000, 15)
    assert report.report.tau_10pct.value == 1.0
    document = trust_document(result, (report,), None)
    assert {"pairs", "kendall", "spearman", "tau_10pct", "baselines", "verdict"} <= set(document)
    assert (document["pairs"], document["kendall"], document["early_steps"]) == (15, 1.0, 1000)
    assert set(document["baselines"]) >= {"parameters", "attention_parameters"}
    assert trust_line(result).startswith(document["verdict"])
    text = plain_text(trust_table(result, (report,), None), 100)
    assert "tau of those pairs" in text
    assert "1.00 (1.00 to 1.00)" in text


def test_models_that_came_no_further_are_left_out() -> None:
    records = list(_agreeing().records)
    records.append(_trial(9, 0.5, None))
    (report,) = rung_trust(_result(records))
    assert report.report.models == 6


def test_the_longest_comparison_with_enough_pairs_counts() -> None:
    (full,) = rung_trust(_agreeing())
    few = replace(full, late_steps=9000, report=replace(full.report, pairs=3))
    assert chosen([full, few]) is full
    assert chosen([few, replace(few, report=replace(few.report, pairs=5))]) is not few
    assert chosen([]) is None


def test_beside_a_control() -> None:
    better, worse = _agreeing(), _result([_trial(n, 3, 2.6 - n / 100) for n in range(6)])
    ours, theirs = control_hypervolumes(better, worse)
    assert ours > theirs > 0
    assert control_hypervolumes(worse, better) == (theirs, ours)
    document = trust_document(better, rung_trust(better), worse)
    assert document["control"]["hypervolume"] == ours
    assert document["control"]["trained_tokens"] == 6 * 3000 * 1024
    with pytest.raises(StudyError, match="no trained model"):
        control_hypervolumes(better, _result([]))
