"""Figures of a budget: every shape is counted, marks are where they are, what is over is crossed out."""

from __future__ import annotations

import numpy as np
import pytest

from reports.figures.design import AXES, axis_values, density_figure, density_info
from reports.figures.same_size import same_size_figure, same_size_info
from reports.tables.design import best_style, design_frame
from search.space.design import Design, design
from search.space.sized_shapes import DesignQuery
from sizer.budget import Limits


@pytest.fixture(scope="module")
def found() -> Design:
    """A small budget in two formats; decoding at 600 tokens/s binds before the file does."""
    return design(
        DesignQuery(
            budget=Limits(max_size_bytes=5_000_000, min_decode_tokens_per_s=600.0),
            formats=("Q4_0", "Q8_0"),
            device="raspberry-pi-5",
            vocab_size=512,
        )
    )


@pytest.mark.parametrize("axis", AXES)
def test_every_shape_near_enough_is_counted_once(found: Design, axis: str) -> None:
    best = found.best(6)
    info = density_info(found, axis=axis, best=best, picked=best[2])
    top = info.y_edges_percent[-1]
    near = 100 * found.feasible.above <= top
    assert np.nansum(info.counts) == near.sum()
    assert f"{len(near):,} architectures" in info.title
    assert f"{(~near).sum():,} further above" in info.subtitle
    values = axis_values(found.feasible.shapes, axis)
    assert [(mark.row, mark.x) for mark in info.best] == [(row, values[row]) for row in best]
    assert info.picked is not None
    assert info.picked.row == best[2]
    figure = density_figure(info)
    marked = [trace for trace in figure.data if trace.name == "the best"]
    assert list(marked[0].customdata) == list(best[::-1])
    assert figure.layout.xaxis.title.text == AXES[axis].title


def test_the_front_is_what_nothing_beats(found: Design) -> None:
    info = density_info(found, axis="decode", best=found.best(3), picked=None)
    assert found.feasible.shapes.decode_tokens_per_s is not None
    speeds, above = found.feasible.shapes.decode_tokens_per_s, 100 * found.feasible.above
    assert len(info.front) > 5
    for speed, loss in info.front:
        assert above[speeds >= speed].min() == pytest.approx(loss)
    small = density_info(found, axis="file", best=found.best(3), picked=None)
    for size, loss in small.front:
        assert above[found.feasible.shapes.file_bytes <= size].min() == pytest.approx(loss)


def test_the_budget_is_drawn_where_it_binds(found: Design) -> None:
    best = found.best(3)
    assert density_info(found, axis="decode", best=best, picked=None).limit == 600
    file = density_info(found, axis="file", best=best, picked=None)
    assert (file.limit, file.limit_text) == (5_000_000, "budget 5 MB")
    assert density_info(found, axis="memory", best=best, picked=None).limit is None


@pytest.mark.parametrize("axis", ["decode", "file"])
def test_the_limit_is_in_view_and_widens_the_axis_to_itself_only(found: Design, axis: str) -> None:
    info = density_info(found, axis=axis, best=found.best(3), picked=None)
    figure = density_figure(info)
    assert info.limit is not None
    drawn = figure.layout.shapes[0].x0
    assert drawn == info.limit
    low, high = figure.layout.xaxis.range
    label = figure.layout.annotations[0].x
    if axis == "decode":  # a text's place on a logarithmic axis is a power of ten
        assert 10**label == pytest.approx(info.limit)
        low, high = 10**low, 10**high
    assert low <= info.limit <= high
    # no more than the shapes and the limit need: plotly's own choice went to 10^25 tokens/s
    assert high <= 1.05 * max(info.limit, info.x_edges[-1])
    assert low >= 0.9 * min(info.limit, info.x_edges[0])
    if axis == "decode":
        assert 4 <= len(figure.layout.xaxis.tickvals) <= 20


def test_some_rows_only(found: Design) -> None:
    rows = found.feasible.shapes.grid.num_layers <= 3
    info = density_info(found, axis="file", best=found.best(3, rows=rows), picked=None, rows=rows)
    assert f"{rows.sum():,} architectures" in info.title


def test_numbers_that_would_lie_on_better_ones_are_left_out(found: Design) -> None:
    info = density_info(found, axis="file", best=found.best(3), picked=None)
    low, high = info.y_edges_percent[0], info.y_edges_percent[-1]
    middle, best = (low + high) / 2, info.best[0]
    beside = [
        best._replace(above_percent=middle),
        best._replace(above_percent=middle + 0.03 * (high - low)),  # 12 pixels are 0.04
        best._replace(above_percent=middle + 0.05 * (high - low)),
    ]
    figure = density_figure(info._replace(best=tuple(beside)))
    (drawn,) = [trace for trace in figure.data if trace.name == "the best"]
    assert drawn.text == ("3", "", "1")  # the best is drawn last


def test_shapes_of_one_size(found: Design) -> None:
    curves = [(name, found.same_size(name)) for name in found.query.formats]
    info = same_size_info(found, curves)
    assert [curve.format for curve in info.curves] == ["Q4_0", "Q8_0"]
    for curve, (_, ranked) in zip(info.curves, curves, strict=True):
        assert curve.layers == tuple(ranked.shapes.grid.num_layers)
        assert max(curve.file_bytes) <= found.target_bytes
        slow = np.array(curve.decode_tokens_per_s) < 600
        assert [symbol == "x" for symbol in curve.symbols] == slow.tolist()
        # the tables have 3.2 to 320 units of width for each layer
        grid = ranked.shapes.grid
        aspect = grid.hidden_size / grid.num_layers
        beyond = (aspect < 3.2) | (aspect > 320)
        kept = [symbol for symbol in curve.symbols if symbol != "x"]
        assert kept == [("circle", "circle-open")[out] for out in beyond[~slow].tolist()]
        assert "circle-open" in kept
    assert info.interval_of in {"Q4_0", "Q8_0"}
    figure = same_size_figure(info)
    filled = [trace for trace in figure.data if trace.fill == "toself"]
    assert len(filled) == 1
    assert [figure.layout[axis].title.text for axis in ("yaxis", "yaxis2", "yaxis3")] == [
        "loss above the best",
        "decode (tokens/s)",
        "file (bytes)",
    ]


def test_the_table_of_the_best(found: Design) -> None:
    best = found.best(5)
    frame = design_frame(found, best)
    for row, (_, line) in zip(best, frame.iterrows(), strict=True):
        sized = found.estimate(row)
        assert line["file_bytes"] == sized.file.total
        assert line["memory_bytes"] == sized.memory.total_bytes
        assert line["hidden_size"] == sized.architecture.hidden_size
        assert line["outside"] == ""
    widest = int((found.feasible.shapes.grid.hidden_size / found.feasible.shapes.grid.num_layers).argmax())
    assert design_frame(found, [widest])["outside"].item() == "hidden size / layers"
    html = best_style(found, best).to_html()
    assert "the lowest" in html
    assert html.count(" % (") == 4
