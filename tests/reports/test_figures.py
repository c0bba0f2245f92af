"""Figures: every decision is tested on the info; the figure itself is drawn and spot-checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from reports.breakdowns import breakdown_figure, bytes_info, memory_info, parameters_info
from reports.figures import frontier_figure, frontier_info
from search.results import SearchResult
from sizer.estimate import Estimate


def test_points_front_and_dominated(result: SearchResult) -> None:
    info = frontier_info(result)
    assert [point.trial for point in info.front] == [12, 0, 1, 4, 5, 8, 10]
    assert sorted(point.trial for point in info.dominated) == [2, 6, 9, 13]  # the repeat, 14, is no new model
    assert info.front[0].standard_error == 0.0071
    assert info.symbols == (("Q4_0", "circle"), ("Q4_K_M", "square"), ("Q8_0", "diamond"))
    assert info.labels
    assert info.notice == ""


def test_hover_tells_the_model(result: SearchResult) -> None:
    lines = frontier_info(result).front[2].hover.split("<br>")
    assert lines[0] == "<b>trial 1</b>, on the frontier"
    assert lines[1] == "8 x 192, 6/2 heads"
    assert lines[3] == "2.2480 ± 0.0062 bits per byte after 1,000 steps"


def test_budget_line_only_where_it_does_not_squeeze_the_points(result: SearchResult) -> None:
    # the largest trained file is 5.36 MB
    near = frontier_info(result)
    assert near.budget_bytes == 6_000_000
    assert near.size_range_bytes[1] > 6_000_000
    far = frontier_info(replace(result, budget={"max_size_bytes": 60_000_000}))
    assert far.budget_bytes is None
    assert "size budget 60 MB" in far.subtitle
    assert far.size_range_bytes[1] < 6_000_000
    assert frontier_info(replace(result, budget={})).budget_bytes is None


def test_colours_are_ticked_at_their_ends_and_at_round_values(result: SearchResult) -> None:
    ticks = frontier_info(result).colour_ticks_tokens_per_s
    speeds = [r.decode_tokens_per_s.value for r in result.trained if r.decode_tokens_per_s]
    assert (ticks[0], ticks[-1]) == (min(speeds), max(speeds))
    assert ticks[1:-1] == (1000.0, 2000.0)


def test_without_a_device_there_is_no_colour_scale(result_of: Callable[..., SearchResult]) -> None:
    info = frontier_info(result_of(None))
    assert info.colour_ticks_tokens_per_s == ()
    assert "decode speed not known" in info.front[0].hover
    assert frontier_figure(info).layout.coloraxis.colorbar.title.text is None


def test_study_names_are_escaped(result: SearchResult) -> None:
    assert "<img" not in frontier_info(replace(result, study="<img src=x>")).subtitle


@pytest.mark.parametrize("numbers", [(), (3, 7), (5,)])
def test_few_points(result_of: Callable[..., SearchResult], numbers: tuple[int, ...]) -> None:
    info = frontier_info(result_of("raspberry-pi-5", numbers))
    assert len(info.front) == (1 if 5 in numbers else 0)
    assert (info.notice != "") == (not info.front)
    low, high = info.size_range_bytes
    assert low < high
    json.loads(frontier_figure(info).to_json())


def test_figure_draws_a_step_and_marks_trials(result: SearchResult) -> None:
    info = frontier_info(result)
    figure = frontier_figure(info)
    step = figure.data[0]
    assert step.line.shape == "hv"
    assert list(step.x)[:-1] == [point.file_bytes for point in info.front]
    assert step.y[-1] == step.y[-2]
    marked = [trial for trace in figure.data if trace.customdata is not None for trial in trace.customdata]
    assert sorted(marked) == [0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13]
    assert figure.layout.xaxis.title.text == "deployed file size (bytes)"


def test_breakdown_bars_sum_to_totals(worked_out: Estimate) -> None:
    for info, total in (
        (parameters_info(worked_out), worked_out.parameters.total),
        (bytes_info(worked_out), worked_out.file.total),
        (memory_info(worked_out), worked_out.memory.total_bytes),
    ):
        assert sum(bar.value for bar in info.bars if bar.label != "total") == info.total == total


def test_parameters_info(worked_out: Estimate) -> None:
    info = parameters_info(worked_out)
    assert info.title == "Parameters: 2.746M"
    assert [bar.label for bar in info.bars] == ["embedding", "attention", "feed-forward", "norm", "head"]
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
    assert over.subtitle == "1.487 MiB too much for 15.26 MiB"
    roomy = memory_info(replace(worked_out, memory=worked_out.memory._replace(budget_bytes=2**30)))
    assert roomy.budget is None
    assert roomy.subtitle == "fits in 1 GiB, 1007 MiB to spare"


def test_breakdown_figure_draws_every_bar(worked_out: Estimate) -> None:
    info = memory_info(worked_out)
    figure = breakdown_figure(info)
    assert list(figure.data[0].y) == [bar.label for bar in info.bars]
    assert list(figure.data[0].x) == [bar.value for bar in info.bars]
    assert len(figure.layout.shapes) == 1  # the budget line
