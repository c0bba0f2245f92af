"""Figures of learning curves and of several frontiers: what is drawn, and how it can be told apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reports.figures.searches import (
    MOST_STUDIES,
    fronts_figure,
    fronts_info,
    watched_curves_figure,
    watched_curves_info,
)
from search.analysis.frontier import frontier
from search.run.learning_curves import CurvePoint, LearningCurve
from search.store.results import SearchResult


def curve(number: int, seed: int = 0, end: int = 1000) -> LearningCurve:
    points = tuple(CurvePoint(step, 2 + 100 / step, 0) for step in (1, 10, 100, end))
    return LearningCurve(number, seed, points)


def test_the_chosen_and_those_in_training_have_names() -> None:
    info = watched_curves_info(
        [curve(0), curve(1), curve(1, 2), curve(2, end=500)],
        chosen=1,
        in_training=[(2, 0)],
        rung_steps=(333, 1000, 3000),
    )
    assert [line.name for line in info.named] == ["trial 1", "trial 1, seed 2 more", "trial 2, in training"]
    assert len({(line.colour, line.dash) for line in info.named}) == 3
    assert [line.number for line in info.others] == [0]
    assert info.rung_ends == (333,)
    assert info.subtitle == "4 runs · dotted: rungs end at 333"
    # the fall of the first 2 % of the steps is out of the picture, all after it is in
    assert info.top is not None
    assert 2 + 100 / 100 < info.top < 2 + 100 / 10
    figure = watched_curves_figure(info)
    assert [trace.name for trace in figure.data] == ["", *(line.name for line in info.named)]
    assert list(figure.data[0].customdata) == [0, 0, 0, 0]
    assert figure.layout.xaxis.title.text == "training step"
    assert figure.layout.yaxis.title.text == "training loss (nats per token)"


def test_no_curve_says_so() -> None:
    info = watched_curves_info([], chosen=None)
    assert watched_curves_figure(info).layout.annotations[0].text == "No learning curve has been written yet."


def test_one_point_is_drawn() -> None:
    info = watched_curves_info([LearningCurve(0, 0, (CurvePoint(1, 5.5, 0),))], chosen=0)
    assert info.subtitle == "1 run"
    assert watched_curves_figure(info).data[0].mode == "lines+markers"


def test_frontiers_are_the_studies_own(result: SearchResult, result_of: Callable[..., SearchResult]) -> None:
    small = replace(result_of("raspberry-pi-5", (0, 1, 2)), study="<b>small")
    info = fronts_info([result, small])
    for front, study in zip(info.fronts, (result, small), strict=True):
        records = frontier(study)
        assert front.sizes == tuple(r.file_bytes for r in records)
        assert front.bits == tuple(r.proxy.val_bits_per_byte for r in records if r.proxy)
        assert front.points == tuple((study.study, r.number) for r in records)
    assert info.fronts[1].study == "&lt;b&gt;small"
    assert "<b>small" not in "".join(info.fronts[1].hovers)
    drawn = fronts_figure(info).data
    assert [trace.name for trace in drawn] == [result.study, "&lt;b&gt;small"]
    assert [list(point) for point in drawn[1].customdata[:-1]] == [
        ["<b>small", r.number] for r in frontier(small)
    ]
    assert drawn[0].x[-1] == drawn[1].x[-1] == info.size_range_bytes[1]


def test_studies_differ_without_colour(result: SearchResult) -> None:
    many = [replace(result, study=str(n)) for n in range(MOST_STUDIES)]
    drawn = fronts_figure(fronts_info(many)).data
    looks = [(t.line.color, t.line.dash, t.marker.symbol) for t in drawn]
    for look in zip(*looks, strict=True):
        assert len(set(look)) == MOST_STUDIES


def test_different_texts_are_told(result: SearchResult) -> None:
    other = replace(result, study="other", corpus_digest="another")
    assert "cannot be compared" in fronts_info([result, other]).subtitle
    assert fronts_info([result, replace(other, corpus_digest=result.corpus_digest)]).subtitle == "on one text"


def test_nothing_trained(result_of: Callable[..., SearchResult]) -> None:
    info = fronts_info([result_of("raspberry-pi-5", (3, 7))])
    assert info.notice
    assert not fronts_figure(info).data
