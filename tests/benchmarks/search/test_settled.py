"""The page of settled decisions: its rows are what the stored studies give."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.search.settled import PAGE, SettledCount, count_settled, opened_again, row
from search.analysis.decisions.decisions import Decision
from search.analysis.decisions.value import SETTLED


def test_a_row_of_the_page_is_what_the_study_gives() -> None:
    found = count_settled("guided-0", 8)
    assert row(found) in PAGE.read_text(encoding="utf-8").splitlines()
    assert len(found.settled) == sum(d.probability >= SETTLED for d in found.decisions) == 8


def test_a_decision_can_open_again() -> None:
    first = count_settled("guided-0", 8)
    sure = first.settled[0]
    unsure = replace(sure, probability=0.9)

    def cut(*decisions: Decision) -> SettledCount:
        return replace(first, decisions=decisions)

    assert opened_again([cut(sure), cut(unsure)], "guided-0") == 1
    assert opened_again([cut(unsure), cut(sure)], "guided-0") == 0
    assert opened_again([cut(sure), cut(unsure)], "random-0") == 0
