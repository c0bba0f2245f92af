"""The page of settled decisions: its rows are what the stored studies give."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.search.settled import (
    HALF_HOURS,
    PAGE,
    SettledCount,
    agreement,
    count_settled,
    half_hours,
    opened_again,
    row,
)
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


def test_searches_of_other_seeds_agree_or_not() -> None:
    """What one settles is asked in the others: the same options, in files of sizes that overlap."""
    first = count_settled("guided-0", 8)
    sure = first.settled[0]
    same = replace(sure, probability=0.6)
    opposite = replace(same, choice=sure.other, other=sure.choice)
    elsewhere = replace(same, smallest_bytes=10 * sure.largest_bytes, largest_bytes=20 * sure.largest_bytes)

    def study(*decisions: Decision) -> SettledCount:
        return replace(first, decisions=decisions)

    assert agreement([study(sure), study(same)]) == (1, 1, 0)
    assert agreement([study(sure), study(same), study(opposite)]) == (1, 1, 1)
    assert agreement([study(sure), study(elsewhere)]) == (1, 0, 0)
    assert agreement([study(sure), study(sure)]) == (2, 2, 0)


def test_half_hours_are_on_the_page() -> None:
    every = [count_settled(study) for study in HALF_HOURS]
    assert PAGE.read_text(encoding="utf-8").endswith(half_hours(every))
    assert min(len(found.settled) for found in every) >= 8
    assert {found.models for found in every} == {15}
