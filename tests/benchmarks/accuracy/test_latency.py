"""The speed part of the accuracy page: what it claims, and the two formulas beside it by hand."""

from __future__ import annotations

from functools import cache
from math import exp, log
from statistics import median
from xml.etree import ElementTree

import pytest

from benchmarks.accuracy.figure import latency_figure
from benchmarks.accuracy.latency import (
    latency_section,
    llm_viewer_tokens_per_s,
    llmfit_tokens_per_s,
    twins,
)
from sizer.calibration.held_out import FITTED, SHEET, HeldOutPrediction, predict_decode
from sizer.calibration.measurement_file import read_rows
from sizer.calibration.regression import MeasurementRow, decode_rows
from sizer.devices.catalogue import device


@cache
def judged_rows() -> tuple[list[HeldOutPrediction], list[MeasurementRow]]:
    """What the page says, once: it takes seconds."""
    return predict_decode(read_rows())


@pytest.fixture(scope="module")
def section() -> str:
    return latency_section()


def _row(name: str, model: str, tokens_per_s: float) -> MeasurementRow:
    (found,) = (
        r
        for r in decode_rows(read_rows())
        if (r.device, r.model, r.decode_tokens_per_s) == (name, model, tokens_per_s)
    )
    return found


def test_llmfits_formula_gives_the_ratios_that_were_printed() -> None:
    # notes of a public analysis: 5.61 times too fast for SmolLM2-135M on a GTX 1050 Ti, 163 tokens/s measured
    row = _row("geforce-gtx-1050-ti", "SmolLM2-135M", 162.7)
    found = llmfit_tokens_per_s(row, device(row.device))
    assert found == pytest.approx(112 / (0.1345 * 0.5) * 0.55, rel=1e-3)
    assert found / 162.7 == pytest.approx(5.61, rel=0.01)


def test_llm_viewers_roofline_by_hand() -> None:
    # M1, 68 GB/s: 6.607e9 weights at 4 bits, 64 cached positions of 32 layers x 2 x 4096 x 2 bytes
    row = _row("macbook-air-m1", "LLaMA-2-7B", 14.19)
    matrices = 32 * (4 * 4096**2 + 3 * 4096 * 11008) + 32000 * 4096
    seconds = (matrices / 2 + 64 * 32 * 2 * 4096 * 2) / 68e9
    assert llm_viewer_tokens_per_s(row, device(row.device)) == pytest.approx(1 / seconds, rel=1e-3)


def test_every_row_is_judged_or_named(section: str) -> None:
    judged, without = judged_rows()
    assert len(judged) + len(without) == len(decode_rows(read_rows()))
    for found in judged:
        assert f"| {found.row.device} | {found.row.runtime}, {found.row.backend} |" in section
    assert all(f"{r.device} {r.model}" in section for r in without)


def test_what_a_device_printed_twice_for_one_shape(section: str) -> None:
    rows = [r for r in decode_rows(read_rows()) if r.device == "iphone-se-3"]
    assert twins(rows) == [
        "iphone-se-3 Llama-3.2-1B 5 bits 17 and 19",
        "iphone-se-3 Qwen2.5-0.5B 4.95 bits 48 and 56",
        "iphone-se-3 Qwen2.5-1.5B 4.77 bits 16 and 22",
    ]
    assert all(text in section for text in twins(rows))


def test_every_device_with_rows_enough_is_within_ten_per_cent_or_named(section: str) -> None:
    judged, _ = judged_rows()
    (said,) = (line for line in section.splitlines() if line.startswith("Of the devices with"))
    for key in {j.row.key for j in judged if j.basis == FITTED}:
        some = [abs(exp(j.error) - 1) for j in judged if j.row.key == key]
        if len(some) >= 6:
            assert (median(some) > 0.1) == (f"{' '.join(key)} (" in said), key


def test_what_the_page_claims() -> None:
    judged, _ = judged_rows()
    # few rows are known by their data sheet only, so that all of them may be inside
    for basis, most in ((FITTED, 0.9), (SHEET, 1.0)):
        some = [j for j in judged if j.basis == basis]
        assert 0.7 <= sum(j.inside for j in some) / len(some) <= most
    fitted = [abs(exp(j.error) - 1) for j in judged if j.basis == FITTED]
    assert median(fitted) < 0.10


def test_both_formulas_are_further_off_than_this_calculator() -> None:
    judged, _ = judged_rows()
    ours = median(abs(exp(j.error) - 1) for j in judged)
    llmfit = [
        llmfit_tokens_per_s(j.row, device(j.row.device)) / (j.row.decode_tokens_per_s or 1) for j in judged
    ]
    assert median(abs(ratio - 1) for ratio in llmfit) > 3 * ours
    assert log(max(llmfit)) > 1


def test_the_figure_has_a_point_for_each_row_where_it_belongs() -> None:
    judged, _ = judged_rows()
    root = ElementTree.fromstring(latency_figure(judged))
    circles = [c for c in root.iter() if c.tag.endswith("circle") and len(c)]
    assert len(circles) == len(judged)
    for circle, found in zip(circles, judged, strict=True):
        x, y = float(circle.attrib["cx"]), float(circle.attrib["cy"])
        assert 56 <= x <= 492
        assert 28 <= y <= 464
        # above the diagonal (less y) means predicted too fast
        if abs(found.error) > 0.1:
            assert (520 - y > x) == (found.error > 0)
