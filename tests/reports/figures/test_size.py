"""Figures of the size page and of the evidence: every decision on the info, then the figure spot-checked."""

from __future__ import annotations

import pytest

from reports.figures.evidence import evidence_info
from reports.figures.line_charts import context_curves, format_curves
from reports.figures.stacked_bars import memory_stack_info, step_stack_info
from reports.tables.evidence import facts_frame, judged_frame
from reports.text.evidence import misses_of
from reports.text.wording import binds_texts, escape_markdown
from sizer.architecture import Architecture
from sizer.calibration.held_out import FITTED, SHEET, HeldOutPrediction
from sizer.calibration.measurement_file import read_rows
from sizer.calibration.regression import decode_rows
from sizer.devices.catalogue import device, load_devices
from sizer.devices.step_time import StepTime, at_full_context, step_time
from sizer.model_estimate import Estimate, estimate
from sizer.sweeps import over_context, over_formats
from sizer.workload import Workload


@pytest.fixture(scope="module")
def sized(smollm2: Architecture) -> Estimate:
    return estimate(architecture=smollm2, format="Q4_K_M", device=device("raspberry-pi-5"))


def test_memory_is_stacked_against_what_the_device_gives(sized: Estimate) -> None:
    info = memory_stack_info(sized)
    assert sum(part.values[0] for part in info.parts) == sized.memory.total_bytes
    assert info.limit == sized.memory.budget_bytes
    assert info.subtitle == "fits in 6.8 GiB, 6.55 GiB to spare"
    assert info.totals == ("256.1 MiB",)
    assert info.parts[1].texts == ("45 MiB, 17.6 %",)
    assert info.limit_text == "dashed: usable, 6.8 GiB"


def test_memory_without_a_device(smollm2: Architecture) -> None:
    info = memory_stack_info(estimate(architecture=smollm2, format="Q4_K_M"))
    assert info.limit is None
    assert info.subtitle == "no memory limit known: choose a device"
    assert info.limit_text == ""


def test_a_step_is_stacked(sized: Estimate) -> None:
    now, full = step_time(sized), at_full_context(sized)
    assert now is not None
    info = step_stack_info(now, full, sized.workload)
    assert info.bars == ("up to 256 tokens", "at full context (2,048)")
    assert sum(part.values[0] for part in info.parts) == pytest.approx(now.total_s)
    assert info.totals[0] == "13.5 ms"
    assert info.title == "A decoding step: 13.5 ms"
    tiny_step = StepTime(weights_s=2e-5, layers_s=1e-5, kv_cache_s=0.0, fixed_s=0.0)
    tiny = step_stack_info(tiny_step, None, sized.workload)
    assert tiny.totals == ("0.03 ms",)
    assert [part.texts for part in tiny.parts][:2] == [("0.02 ms",), ("0.01 ms",)]


def test_what_binds_in_words() -> None:
    now = StepTime(weights_s=0.0075, layers_s=0.0025, kv_cache_s=0.0, fixed_s=0.0)
    full = StepTime(weights_s=0.005, layers_s=0.0, kv_cache_s=0.015, fixed_s=0.0)
    assert binds_texts(now, full, 4096, "weights") == (
        "Largest part of a decoding step: reading weights, 75.0 % of 10 ms.",
        "At full context (4,096 tokens): reading the KV cache, 75.0 % of 20 ms.",
        "Prefill is bound by reading the weights.",
    )
    assert binds_texts(now, None, 4096, None)[1:] == ()


def test_markdown_shows_what_stands_there() -> None:
    assert escape_markdown("a_b <script> ![x](y) :red[x]") == "a\\_b \\<script\\> !\\[x\\](y) \\:red\\[x\\]"


def test_curves_over_context(sized: Estimate) -> None:
    points = over_context(sized)
    memory, decode = context_curves(points, sized)
    assert memory.y == tuple(float(p.memory_bytes) for p in points)
    assert memory.x[memory.marked or 0] == 2048
    assert memory.limit is None  # 6.8 GiB lie far outside the view
    assert decode.low[0] < decode.y[0] < decode.high[0]
    long = estimate(
        architecture=sized.architecture,
        format="Q4_K_M",
        device=sized.device,
        workload=Workload(context_tokens=131072, prompt_tokens=100),
    )
    (near, _) = context_curves(over_context(long), long)
    assert near.limit == long.memory.budget_bytes


def test_curves_over_formats(sized: Estimate, smollm2: Architecture) -> None:
    file, decode = format_curves(over_formats(sized), sized)
    assert file.hover[file.marked or 0].startswith("Q4_K_M: 105.5 MB")
    assert decode.low
    assert not decode.joined
    without = estimate(architecture=smollm2, format="Q4_K_M")
    assert len(format_curves(over_formats(without), without)) == 1
    assert len(context_curves(over_context(without), without)) == 1


@pytest.fixture(scope="module")
def judged() -> list[HeldOutPrediction]:
    rows = decode_rows(read_rows())[:3]
    return [
        HeldOutPrediction(rows[0], FITTED, 0.1, 0.2),
        HeldOutPrediction(rows[1], FITTED, -0.3, 0.2),
        HeldOutPrediction(rows[2], SHEET, 0.0, 0.5),
    ]


def test_evidence_spans_all_values_and_its_words(judged: list[HeldOutPrediction]) -> None:
    info = evidence_info(judged)
    assert info.subtitle.startswith("2 of 3 lie inside their range")
    low, high = info.span
    assert low < min(p.low for p in info.points)
    assert high > max(max(p.measured, p.high) for p in info.points)
    assert [value for value, _ in info.ticks] == sorted(t for t, _ in info.ticks if low <= t <= high)
    assert [p.predicted for p in info.points] == [j.predicted for j in judged]
    assert "without its model on its device" in info.points[0].text


def test_the_evidence_as_a_table(judged: list[HeldOutPrediction]) -> None:
    frame = judged_frame(judged)
    assert list(frame["inside_range"]) == [True, False, True]
    assert frame["error"][1] == pytest.approx(2.718281828**-0.3 - 1)
    found = misses_of(judged)
    assert found.rows == 3
    assert found.inside == pytest.approx(2 / 3)
    assert found.median_error == pytest.approx(2.718281828**0.1 - 1)
    assert found.within_90 == pytest.approx(1 - 2.718281828**-0.3)


@pytest.mark.parametrize("name", load_devices())
def test_every_number_of_a_device_has_its_source_and_unit(name: str) -> None:
    frame = facts_frame(load_devices()[name])
    assert len(frame) == len(load_devices()[name].facts)
    assert (frame["source"].str.len() > 3).all()
    assert frame["date"].str.match(r"\d{4}").all()
    assert not frame["readable"].str.fullmatch(r"[\d.e+]+").any()
