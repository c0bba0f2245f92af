"""The prefill part of the accuracy page: every row once, by the strongest basis its model leaves it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import exp
from statistics import median

from benchmarks.accuracy.prefill import prefill_lines
from sizer.calibration.held_out import FEW, FITTED, SHEET, HeldOutPrediction, predict_prefill
from sizer.calibration.measurement_file import read_rows
from sizer.calibration.regression import MeasurementRow, prefill_rows


@cache
def judged_rows() -> tuple[list[HeldOutPrediction], list[MeasurementRow]]:
    """What the page says, once: it takes seconds."""
    return predict_prefill(read_rows())


def test_every_row_is_judged_or_named() -> None:
    judged, without = judged_rows()
    rows = prefill_rows(read_rows())
    assert len(judged) + len(without) == len(rows)
    text = "\n".join(prefill_lines(read_rows()))
    for row in without:
        assert f"{row.device} ({row.backend}) {row.model} {row.format}" in text
    for found in judged:
        assert f"| {' | '.join(found.row.key)} | {found.basis} |" in text
    assert f"| all | {len(judged)} |" in text


def test_a_basis_needs_what_it_is_called_by() -> None:
    judged, _ = judged_rows()
    models: dict[tuple[str, str, str], set[str]] = {}
    for row in prefill_rows(read_rows()):
        models.setdefault(row.key, set()).add(row.model)
    for found in judged:
        count = len(models[found.row.key])
        # of one model in several formats, the other formats are left; of two models one may not have decoded
        assert {FITTED: count >= 3, FEW: count >= 1, SHEET: True}[found.basis], found


def test_a_device_with_one_model_is_not_told_by_that_model() -> None:
    # the prompts of a Raspberry Pi 5 are known by one row: what it says must come from elsewhere
    rows = read_rows()
    (row,) = (r for r in prefill_rows(rows) if r.device == "raspberry-pi-5")
    faster = [replace(r, prefill_tokens_per_s=1e4) if r is row else r for r in rows]
    before, after = (
        next(j for j in predict_prefill(some)[0] if j.row.device == "raspberry-pi-5")
        for some in (rows, faster)
    )
    rate = (before.row.prefill_tokens_per_s or 0) * exp(before.error)
    assert abs((after.row.prefill_tokens_per_s or 0) * exp(after.error) - rate) < 1e-6 * rate


def test_what_the_page_claims() -> None:
    judged, _ = judged_rows()
    assert 0.7 <= sum(j.inside for j in judged) / len(judged) <= 0.9
    assert median(abs(exp(j.error) - 1) for j in judged) < 0.2
