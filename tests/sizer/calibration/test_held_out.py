"""Held-out predictions: every row has one or is left out, within the stated range."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import exp, log
from statistics import median

import pytest

from sizer.calibration.held_out import FEW, FITTED, SHEET, HeldOutPrediction, predict_decode, predict_prefill
from sizer.calibration.measurement_file import read_rows
from sizer.calibration.regression import MeasurementRow, decode_rows, prefill_rows


@cache
def _decode() -> tuple[list[HeldOutPrediction], list[MeasurementRow]]:
    return predict_decode(read_rows())


@cache
def _prompts() -> tuple[list[HeldOutPrediction], list[MeasurementRow]]:
    return predict_prefill(read_rows())


def test_every_row_is_predicted_or_left_out() -> None:
    for (predicted, without), rows in (
        (_decode(), decode_rows(read_rows())),
        (_prompts(), prefill_rows(read_rows())),
    ):
        assert len(predicted) + len(without) == len(rows)
        assert {j.basis for j in predicted} <= {FITTED, FEW, SHEET}


def test_the_range_is_around_the_prediction() -> None:
    for j in (*_decode()[0], *_prompts()[0]):
        assert j.low <= j.predicted <= j.high
        assert j.predicted == pytest.approx(j.measured * exp(j.error))
        assert j.inside == (j.low * (1 - 1e-9) <= j.measured <= j.high * (1 + 1e-9))


def test_prompts_and_few_rows_are_as_near_as_they_are() -> None:
    """Medians may only fall; 80 % ranges hold what they say, of engines with few devices too."""
    decode, prompts = _decode()[0], _prompts()[0]
    # costs of formats are learned without the rows left out, too
    assert median(abs(exp(j.error) - 1) for j in prompts) < 0.17
    assert 0.7 <= sum(j.inside for j in prompts) / len(prompts) <= 0.92
    assert median(abs(exp(j.error) - 1) for j in decode if j.basis == FEW) < 0.11
    for runtime in ("litert-lm", "litert", "tensorrt-edge-llm", "mlx"):
        own = [j.inside for j in decode if j.row.runtime == runtime]
        assert sum(own) >= 0.75 * len(own), runtime
    lite = [abs(exp(j.error) - 1) for j in decode if j.row.runtime == "litert-lm"]
    assert median(lite) < 0.16


def test_a_measured_row_does_not_see_itself() -> None:
    """A tenfold speed of one model on one device moves that row's error by its own logarithm, and no more."""
    rows = read_rows()
    one = next(j.row for j in _decode()[0] if j.basis == SHEET)
    changed = [
        replace(r, decode_tokens_per_s=10 * (r.decode_tokens_per_s or 0)) if r == one else r for r in rows
    ]
    before = next(j for j in _decode()[0] if j.row == one)
    after = next(
        j for j in predict_decode(changed)[0] if (j.row.source, j.row.model) == (one.source, one.model)
    )
    assert after.error - before.error == pytest.approx(-log(10), abs=1e-9)
