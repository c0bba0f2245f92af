"""Figures of a budget: every shape is counted, marks are where they are, what is over is crossed out."""

from __future__ import annotations

import numpy as np
import pytest

from reports.design_figures import AXES, axis_values, density_figure, density_info
from reports.design_frames import best_style, design_frame
from reports.same_size_figures import same_size_figure, same_size_info
from search.space.design import Design, design
from search.space.sized_shapes import DesignQuery
from sizer.budget import Budget


@pytest.fixture(scope="module")
def found() -> Design:
    """A small budget in two formats; decoding at 600 tokens/s binds before the file does."""
    return design(
        DesignQuery(
            budget=Budget(max_size_bytes=5_000_000, min_decode_tokens_per_s=600.0),
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


def test_some_rows_only(found: Design) -> None:
    rows = found.feasible.shapes.grid.num_layers <= 3
    info = density_info(found, axis="file", best=found.best(3, rows=rows), picked=None, rows=rows)
    assert f"{rows.sum():,} architectures" in info.title


def test_shapes_of_one_size(found: Design) -> None:
    curves = [(name, found.same_size(name)) for name in found.query.formats]
    info = same_size_info(found, curves)
    assert [curve.format for curve in info.curves] == ["Q4_0", "Q8_0"]
    for curve, (_, ranked) in zip(info.curves, curves, strict=True):
        assert curve.layers == tuple(ranked.shapes.grid.num_layers)
        assert max(curve.file_bytes) <= found.target_bytes
        slow = np.array(curve.decode_tokens_per_s) < 600
        assert [symbol == "x" for symbol in curve.symbols] == slow.tolist()
        # the tables have 4 to 64 layers and widths of 384 and more
        grid = ranked.shapes.grid
        beyond = (grid.num_layers < 4) | (grid.num_layers > 64) | (grid.hidden_size < 384)
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
        assert ("width" in line["outside"]) == (sized.architecture.hidden_size < 384)
        assert "number of weights" in line["outside"]
    html = best_style(found, best).to_html()
    assert "the lowest" in html
    assert html.count(" % (") == 4
