"""Figures of shapes, formats, rungs and importance: decisions by hand; figures drawn and spot-checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from reports.figures.depth import depth_figure, depth_info
from reports.figures.importance import importance_figure, importance_info
from reports.figures.ladder import format_bytes_figure, format_score_figure, ladder_info, rounding_figure
from reports.figures.parallel import parallel_figure, parallel_info
from reports.figures.rungs import losses_info, rungs_info, training_figure
from reports.figures.study import compared_cohort, study_figures
from search.analysis.cohorts import cohorts, longest_cohort
from search.analysis.importance import Importance, Importances
from search.config.config import SearchConfig
from search.run.learning_curves import CurvePoint, LearningCurve
from search.store.results import SearchResult
from sizer.model_estimate import estimate

ResultOf = Callable[..., SearchResult]


def test_cohorts_are_models_of_one_length(in_rungs: SearchResult) -> None:
    found = cohorts(in_rungs)
    assert [(c.rung, c.steps, [r.number for r, _ in c.members]) for c in found] == [
        (0, 100, [0, 1, 2, 3, 4]),
        (1, 300, [0, 1, 2]),
        (2, 990, [1]),
    ]
    assert longest_cohort(in_rungs, 3) == found[1]
    assert longest_cohort(in_rungs, 6) is None
    assert compared_cohort(in_rungs) == found[0]


def test_parallel_lines_by_hand(in_rungs: SearchResult) -> None:
    info = parallel_info(in_rungs, compared_cohort(in_rungs))
    # width, file and memory are the same for all: their axes are left out
    names = [axis.name for axis in info.axes]
    assert names == ["layers executed", "bits per weight", "decode tokens/s", "bits per byte"]
    lines = {line.trial: (line.heights[0], *line.heights[2:]) for line in info.lines}
    # 2, 4 and 8 layers; 500, 250 and 125 tokens/s; 3, 2 and 4 bits per byte of 2 to 4
    assert lines[0] == pytest.approx((0.0, 1.0, 0.5))
    assert lines[1] == pytest.approx((1 / 3, 1 / 3, 0.0))
    assert lines[2] == pytest.approx((1.0, 0.0, 1.0))
    assert [text for _, text in info.axes[2].ticks] == ["125", "312", "500"]
    assert info.best == 1
    assert [line.trial for line in info.lines if line.on_frontier] == [1]
    assert info.lines[-1].trial == 1  # on top
    figure = parallel_figure(info)
    assert len(figure.data) == 5
    assert all(len(trace.x) == 4 for trace in figure.data)


def test_wide_axes_are_logarithmic(in_rungs: SearchResult) -> None:
    sizes = (10_000, 100_000, 1_000_000, 10_000, 10_000)
    records = tuple(replace(r, file_bytes=s) for r, s in zip(in_rungs.records, sizes, strict=False))
    wide = replace(in_rungs, records=records)
    info = parallel_info(wide, compared_cohort(wide))
    place = [axis.name for axis in info.axes].index("file")
    assert {line.trial: line.heights[place] for line in info.lines}[1] == pytest.approx(0.5)
    assert [text for _, text in info.axes[place].ticks] == ["10 KB", "100 KB", "1 MB"]


def test_depth_by_hand(in_rungs: SearchResult) -> None:
    info = depth_info(in_rungs, compared_cohort(in_rungs))
    (group,) = info.groups
    assert group.label == "100 KB to 100 KB"
    assert [(p.trial, p.layers, p.width, p.val_bits_per_byte) for p in group.points] == [
        (0, 2, 64, 3.0),
        (1, 4, 64, 2.0),
        (3, 4, 64, 2.5),
        (4, 4, 64, 2.6),
        (2, 8, 64, 4.0),
    ]
    assert "5 models after 100 steps" in info.subtitle
    assert list(depth_figure(info).data[0].x) == [2, 4, 4, 4, 8]


def test_one_depth_is_no_comparison(result_of: ResultOf) -> None:
    alone = result_of("raspberry-pi-5", (1, 8))  # both of 8 layers
    info = depth_info(alone, compared_cohort(alone))
    assert info.notice == "No two models of about one size differ in depth."
    assert "depth" not in study_figures(alone)


def test_rung_lines_by_hand(in_rungs: SearchResult) -> None:
    info = rungs_info(in_rungs)
    lines = {line.trial: line for line in info.lines}
    assert lines[1].steps == (100, 300, 990)
    assert lines[1].values == (2.0, 1.9, 1.7)
    assert lines[0].values == (3.0, 2.6)
    assert set(lines) == {0, 1, 2, 3, 4}
    assert info.ticks == (100, 300, 990)
    assert info.logarithmic
    assert training_figure(info).layout.xaxis.type == "log"


def test_one_rung_has_no_lines(result: SearchResult) -> None:
    info = rungs_info(result)
    assert info.lines == ()
    assert "one rung" in info.notice


def test_curves_of_the_studys_own_seed_only(in_rungs: SearchResult) -> None:
    points = (CurvePoint(1, 5.5, 0), CurvePoint(100, 3.25, 0))
    curves = (
        LearningCurve(0, 0, points),
        LearningCurve(1, 0, points),
        LearningCurve(1, 1, points),
        LearningCurve(99, 0, points),
    )
    info = losses_info(in_rungs, curves)
    assert [line.trial for line in info.lines] == [0, 1]  # the frontier's on top; 99 is of no trial
    assert info.lines[0].values == (5.5, 3.25)
    figure = training_figure(info)
    assert figure.layout.yaxis.title.text == "training loss (nats per token)"
    assert losses_info(in_rungs, ()).notice.startswith("No learning curves were kept")


def test_many_curves_are_thinned_but_the_frontiers_stay(in_rungs: SearchResult) -> None:
    record = in_rungs.records[0]
    records = (*in_rungs.records, *(replace(record, number=n) for n in range(100, 200)))
    many = replace(in_rungs, records=records)
    curves = [LearningCurve(r.number, 0, (CurvePoint(1, 5.0, 0),)) for r in records]
    info = losses_info(many, curves)
    assert len(info.lines) == 60
    assert info.lines[-1].trial == 1
    assert "46 more are left out" in info.subtitle


def test_ladder_by_hand(in_rungs: SearchResult) -> None:
    info = ladder_info(in_rungs, compared_cohort(in_rungs))
    assert info.formats == ("Q4_0",)
    assert [point.rounding for point in info.points] == [0.25] * 5
    assert info.shape == "trial 1"
    sizes = {bar.format: bar.file_bytes for bar in info.bars}
    shape = in_rungs.records[1].candidate.architecture
    assert sizes["F16"] == estimate(architecture=shape, format="F16").file.total
    assert sizes["Q4_0"] < sizes["Q5_0"] < sizes["Q8_0"] < sizes["F16"]
    assert [bar.bits_per_weight for bar in info.bars] == sorted(bar.bits_per_weight for bar in info.bars)
    assert list(format_score_figure(info).data[0].y) == [3.0, 2.0, 4.0, 2.5, 2.6]
    assert list(rounding_figure(info).data[0].y) == [0.25] * 5
    assert list(format_bytes_figure(info).data[0].y) == [bar.file_bytes for bar in info.bars]


def test_bytes_by_format_are_those_of_the_study(result: SearchResult) -> None:
    """With the study's tokenizer: a trial's bar in its own format is its file, to the byte."""
    config = SearchConfig()
    own = replace(result, config=replace(config, budget=replace(config.budget, tokenizer_bytes=5_437)))
    info = ladder_info(own, compared_cohort(own))
    best = next(r for r in own.trained if info.shape == f"trial {r.number}")
    sizes = {bar.format: bar.file_bytes for bar in info.bars}
    assert sizes[best.candidate.format] == own.deployment(best).file.total
    assert own.deployment(best).file.total < result.deployment(best).file.total


def test_models_trained_rounded_have_no_cost_of_rounding(in_rungs: SearchResult) -> None:
    records = []
    for record in in_rungs.records:
        runs = tuple(replace(run, val_bits_per_byte_full=9.0) for run in record.runs)
        records.append(replace(record, runs=runs))
    info = ladder_info(replace(in_rungs, records=tuple(records)), compared_cohort(in_rungs))
    assert [point.rounding for point in info.points] == [0.25] * 5
    rounded = replace(in_rungs, records=tuple(records))
    info = ladder_info(rounded, compared_cohort(rounded))
    assert [point.rounding for point in info.points] == [None] * 5
    assert "format-rounding" not in study_figures(rounded)


def effect(feature: str, value: float, low: float, high: float) -> Importance:
    return Importance(feature=feature, value=value, low=low, high=high)


def test_importance_says_what_can_be_told_from_nothing() -> None:
    found = Importances(
        steps=300,
        models=12,
        features=(effect("width", -0.2, -0.3, -0.1), effect("head_dim", 0.05, -0.01, 0.1)),
        error=0.04,
        error_of_mean=0.15,
    )
    info = importance_info(found)
    assert [(bar.label, bar.matters) for bar in info.bars] == [("hidden size", True), ("head size", False)]
    assert info.bars[1].hover.endswith("not distinguishable from 0")
    assert "12 models after 300 steps" in info.subtitle
    assert "0.0400" in info.subtitle
    low, high = info.value_range
    assert low < -0.3
    assert high > 0.1
    assert list(importance_figure(info).data[0].error_x.array) == pytest.approx([0.1, 0.05])


def test_a_law_that_knows_nothing_draws_nothing() -> None:
    useless = Importances(steps=1, models=8, features=(), error=0.2, error_of_mean=0.1)
    assert importance_info(useless).notice.startswith("The law predicts no better than the mean")
    assert importance_info(None).notice.startswith("Fewer than 8 models")


def test_only_what_the_study_has_is_drawn(
    in_rungs: SearchResult, result: SearchResult, result_of: ResultOf
) -> None:
    names = set(study_figures(result))
    assert names >= {
        "frontier-file_bytes",
        "frontier-memory_bytes",
        "frontier-decode_tokens_per_s",
        "parallel",
    }
    assert not names & {"rungs", "curves"}
    assert (
        {"rungs"}
        <= set(study_figures(in_rungs))
        <= {
            "frontier-file_bytes",
            "frontier-memory_bytes",
            "frontier-decode_tokens_per_s",
            "rungs",
            "parallel",
            "depth",
            "format-score",
            "format-rounding",
            "format-bytes",
        }
    )
    assert "frontier-decode_tokens_per_s" not in study_figures(result_of(None))
    assert study_figures(result_of("raspberry-pi-5", (3, 7))) == {}


def test_names_of_studies_and_formats_are_escaped(in_rungs: SearchResult) -> None:
    evil = "<script>alert(1)</script>"
    for figure in study_figures(replace(in_rungs, study=evil)).values():
        assert evil not in json.dumps(json.loads(figure.to_json()))
