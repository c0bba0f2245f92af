"""Breakdowns of one model: bars sum to totals, ticks are round, the budget is in view or in words."""

from __future__ import annotations

from dataclasses import replace

from reports.figures.breakdowns import bytes_info, memory_info, parameters_info
from sizer.model_estimate import Estimate


def test_breakdown_bars_sum_to_totals(worked_out: Estimate) -> None:
    for info, total in (
        (parameters_info(worked_out), worked_out.parameters.total),
        (bytes_info(worked_out), worked_out.file.total),
        (memory_info(worked_out), worked_out.memory.total_bytes),
    ):
        assert sum(bar.value for bar in info.bars if bar.label != "total") == total


def test_parameters_info(worked_out: Estimate) -> None:
    info = parameters_info(worked_out)
    assert info.title == "Parameters: 2.746M"
    assert [bar.label for bar in info.bars] == ["embedding", "attention", "FFN", "norm", "head"]
    assert (info.bars[2].text, info.bars[2].share) == ("1.769M", "64.4 %")
    assert info.ticks == ((0, "0"), (1_000_000, "1M"), (2_000_000, "2M"), (3_000_000, "3M"))


def test_file_types_largest_first(worked_out: Estimate) -> None:
    labels = [bar.label for bar in bytes_info(worked_out).bars]
    assert labels == ["Q5_0", "Q8_0", "F32", "tokenizer", "directory"]


def test_memory_ticks_are_round_in_binary(worked_out: Estimate) -> None:
    ticks = memory_info(worked_out).ticks
    assert ticks[1] == (10 * 2**20, "10 MiB")


def test_memory_budget_in_view_or_in_words(worked_out: Estimate) -> None:
    over = memory_info(worked_out)
    assert over.budget == 16_000_000
    assert over.subtitle == "1.559 MB too much for 16 MB"
    roomy = memory_info(replace(worked_out, held=worked_out.memory._replace(budget_bytes=2**30)))
    assert roomy.budget is None
    assert roomy.subtitle == "fits in 1 GiB, 1007 MiB to spare"
