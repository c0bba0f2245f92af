"""The frontier figure: every decision is tested on the info; the figure itself is drawn and spot-checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from reports.figures import frontier_figure, frontier_info
from reports.figures.frontier_labels import Spot, placed_sides
from search.config.objectives import Objective
from search.store.results import SearchResult


def test_points_front_and_dominated(result: SearchResult) -> None:
    info = frontier_info(result)
    assert [point.trial for point in info.front] == [12, 0, 1, 4, 5, 8, 10]
    assert sorted(point.trial for point in info.dominated) == [2, 6, 9, 13]  # the repeat, 14, is no new model
    assert info.front[0].bar is None  # nothing is cheaper
    assert info.symbols == (("Q4_0", "circle"), ("Q4_K_M", "square"), ("Q8_0", "diamond"))
    assert info.notice == ""


def test_hover_tells_the_model(result: SearchResult) -> None:
    lines = frontier_info(result).front[2].hover.split("<br>")
    assert lines[0] == "<b>trial 1</b>, on the frontier"
    assert lines[1] == "8 x 192, 6 query / 2 KV heads"
    assert lines[3] == "2.2480 ± 0.0062 bits per byte after 1,000 steps"


def test_budget_line_only_where_it_does_not_squeeze_the_points(result: SearchResult) -> None:
    # the largest trained file is 5.36 MB
    near = frontier_info(result)
    assert near.limit == 6_000_000
    assert near.cost_range[1] > 6_000_000
    far = frontier_info(replace(result, budget={"max_size_bytes": 60_000_000}))
    assert far.limit is None
    assert "size budget 60 MB" in far.subtitle
    assert far.cost_range[1] < 6_000_000
    assert frontier_info(replace(result, budget={})).limit is None


def test_a_limit_of_memory_is_said_as_it_was_typed(result: SearchResult) -> None:
    limited = replace(result, budget={"max_memory_bytes": 200_000_000})
    assert "memory budget 200 MB" in frontier_info(limited, Objective.MEMORY).subtitle


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
    low, high = info.cost_range
    assert low < high
    json.loads(frontier_figure(info).to_json())


def test_figure_draws_a_step_and_marks_trials(result: SearchResult) -> None:
    info = frontier_info(result)
    figure = frontier_figure(info)
    step = figure.data[0]
    assert step.line.shape == "hv"
    assert list(step.x)[:-1] == [point.cost for point in info.front]
    assert step.y[-1] == step.y[-2]
    marked = [trial for trace in figure.data if trace.customdata is not None for trial in trace.customdata]
    assert sorted(marked) == [0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13]
    assert figure.layout.xaxis.title.text == "deployed file size (bytes)"


def test_speed_is_better_to_the_right(result: SearchResult) -> None:
    info = frontier_info(result, Objective.DECODE)
    # the fixture's speed falls with the file's bytes, so the same models are on the frontier, fastest first
    assert [point.trial for point in info.front] == [12, 0, 1, 4, 5, 8, 10]
    speeds = [point.cost for point in info.front]
    assert speeds == sorted(speeds, reverse=True)
    first = info.front[0]
    assert (first.cost_low / first.cost, first.cost_high / first.cost) == pytest.approx((0.7, 1.4))
    # the slowest makes 416 tokens/s: a line at 200 would squeeze the points
    assert info.limit is None
    assert "min speed 200 tokens/s" in info.subtitle
    step = frontier_figure(info).data[0]
    # a slower model is never worse than the fastest that is at least as fast: flat to the left edge
    assert step.x[-1] == info.cost_range[0] < step.x[-2]
    assert step.y[-1] == step.y[-2]


def test_speed_has_bars_across_and_memory_has_none(result: SearchResult) -> None:
    speed = frontier_figure(frontier_info(result, Objective.DECODE))
    memory = frontier_figure(frontier_info(result, Objective.MEMORY))
    bars = [trace.error_x.array for trace in speed.data if trace.error_x.array is not None]
    assert sum(map(len, bars)) == 11
    assert all(trace.error_x.array is None for trace in memory.data)
    assert memory.layout.xaxis.title.text == "memory while running (bytes)"


def test_without_a_device_there_is_no_speed_to_draw(result_of: Callable[..., SearchResult]) -> None:
    info = frontier_info(result_of(None), Objective.DECODE)
    assert info.notice == "No speed was predicted: the study names no device."
    assert info.front == ()


def test_ties_are_joined_by_dots(result: SearchResult) -> None:
    # trials 8 and 10 differ by 0.0012, two standard errors of that are 0.0154
    info = frontier_info(result)
    assert [(a.trial, b.trial) for a, b in info.ties if {a, b} <= set(info.front)] == [(8, 10)]
    dots = next(trace for trace in frontier_figure(info).data if trace.name == "tie")
    assert (dots.line.dash, list(dots.y)[:2]) == ("dot", [2.1472, 2.1460])


def test_bars_are_of_paired_differences(in_rungs: SearchResult) -> None:
    """By hand: chunks differ by 0.1, 0.2 and 0.1, whose standard error is 0.1 / 3."""
    runs = [record.runs[0] for record in in_rungs.records[:2]]
    small, large = (
        replace(run, val_bits_per_byte=bits[1], val_chunk_bits=bits)
        for run, bits in zip(runs, ((2.0, 3.0, 4.0), (1.9, 2.8, 3.9)), strict=True)
    )
    records = tuple(
        replace(record, file_bytes=size, proxy=run, runs=(run,))
        for record, size, run in zip(in_rungs.records, (100_000, 200_000), (small, large), strict=False)
    )
    first, second = frontier_info(replace(in_rungs, records=records)).front
    assert first.bar is None
    assert second.bar == pytest.approx(2 * 0.1 / 3)


def test_points_say_shape_and_size(result: SearchResult) -> None:
    info = frontier_info(result)
    by_trial = {point.trial: point.label for point in info.front}
    assert by_trial[10].text == "8 x 256<br>3.757 MB"  # the most accurate has the first choice of a place
    assert sum(bool(label.text) for label in by_trial.values()) >= 3
    drawn = [
        text for trace in frontier_figure(info).data if trace.text is not None for text in trace.text if text
    ]
    assert sorted(drawn) == sorted(label.text for label in by_trial.values() if label.text)


def test_labels_cover_neither_points_nor_one_another() -> None:
    # three steps far apart: below and to the left of each but the first, which stands at the left edge
    assert placed_sides([Spot(0.1, 0.8), Spot(0.5, 0.5), Spot(0.9, 0.2)], []) == (
        "top right",
        "bottom left",
        "bottom left",
    )
    # a dominated model on the right of the first, and the line below it
    assert (
        placed_sides([Spot(0.1, 0.8), Spot(0.2, 0.5), Spot(0.9, 0.2)], [Spot(0.3, 0.85)])[0] == "bottom right"
    )
    # no room for more than one: the most accurate keeps its own
    assert placed_sides([Spot(0.1, 0.22), Spot(0.12, 0.21), Spot(0.14, 0.2)], []) == ("", "", "top right")
    # nor is the text of a limit covered, at the top to the left of its line
    at_top = [Spot(0.1, 0.88), Spot(0.5, 0.5), Spot(0.9, 0.2)]
    assert placed_sides(at_top, [])[0] == "top right"
    assert placed_sides(at_top, [], limit=0.7)[0] == "bottom right"
    assert placed_sides([], []) == ()


def test_the_legend_stands_at_the_foot_of_the_figure(result: SearchResult) -> None:
    """Above the plot it would lie over the subtitle; in shares of a low plot, over the axis title."""
    legend = frontier_figure(frontier_info(result)).layout.legend
    assert (legend.yanchor, legend.orientation) == ("bottom", "h")
    assert (legend.yref, legend.y) == ("container", 0)


def test_models_stopped_earlier_are_hidden_and_count_for_nothing(in_rungs: SearchResult) -> None:
    info = frontier_info(in_rungs)
    assert [point.trial for point in info.front] == [1]
    assert sorted(point.trial for point in info.stopped) == [0, 2, 3, 4]
    assert info.dominated == ()
    hidden = next(trace for trace in frontier_figure(info).data if trace.name == "stopped earlier")
    assert hidden.visible == "legendonly"
