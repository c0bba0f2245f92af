"""Measurements predicted without themselves: every row is judged, and its range says what it claims."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import exp, log

import pytest

from sizer.measure.judged import FEW, FITTED, SHEET, Judged, judge, judge_prefill
from sizer.measure.regression import Row, decode_rows, prefill_rows, read_rows


@cache
def _decode() -> tuple[list[Judged], list[Row]]:
    return judge(read_rows())


@cache
def _prompts() -> tuple[list[Judged], list[Row]]:
    return judge_prefill(read_rows())


def test_every_row_is_judged_or_left_out() -> None:
    for (judged, without), rows in (
        (_decode(), decode_rows(read_rows())),
        (_prompts(), prefill_rows(read_rows())),
    ):
        assert len(judged) + len(without) == len(rows)
        assert {j.basis for j in judged} <= {FITTED, FEW, SHEET}


def test_the_range_is_around_the_prediction() -> None:
    for j in (*_decode()[0], *_prompts()[0]):
        assert j.low <= j.predicted <= j.high
        assert j.predicted == pytest.approx(j.measured * exp(j.error))
        assert j.inside == (j.low * (1 - 1e-9) <= j.measured <= j.high * (1 + 1e-9))


def test_a_measured_row_does_not_see_itself() -> None:
    """A tenfold speed of one model on one device moves that row's error by its own logarithm, and no more."""
    rows = read_rows()
    one = next(j.row for j in _decode()[0] if j.basis == SHEET)
    changed = [
        replace(r, decode_tokens_per_s=10 * (r.decode_tokens_per_s or 0)) if r == one else r for r in rows
    ]
    before = next(j for j in _decode()[0] if j.row == one)
    after = next(j for j in judge(changed)[0] if (j.row.source, j.row.model) == (one.source, one.model))
    assert after.error - before.error == pytest.approx(-log(10), abs=1e-9)
