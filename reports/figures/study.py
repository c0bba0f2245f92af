"""All figures of a study by name, those that have something to show: what is also written as images."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from reports.figures.depth import depth_figure, depth_info
from reports.figures.frontier import frontier_figure, frontier_info
from reports.figures.importance import importance_figure, importance_info
from reports.figures.ladder import format_bytes_figure, format_score_figure, ladder_info, rounding_figure
from reports.figures.parallel import parallel_figure, parallel_info
from reports.figures.rungs import losses_info, rungs_info, training_figure
from search.analysis.cohorts import Cohort, cohorts, longest_cohort
from search.analysis.frontier import drawn_costs
from search.analysis.importance import MIN_MODELS, importances
from search.store.results import SearchResult
from sizer.errors import SizerError

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from search.run.learning_curves import LearningCurve


def study_figures(result: SearchResult, curves: Sequence[LearningCurve] = ()) -> dict[str, go.Figure]:
    """Return the figures in the order of the report."""
    found: dict[str, go.Figure] = {}
    for cost in drawn_costs(result):
        front = frontier_info(result, cost)
        if not front.notice:
            found[f"frontier-{cost.key}"] = frontier_figure(front)
    for name, lines in (("rungs", rungs_info(result)), ("curves", losses_info(result, curves))):
        if not lines.notice:
            found[name] = training_figure(lines)
    # a study from elsewhere may name a format or runtime that this version does not know
    with suppress(SizerError):
        found |= shape_figures(result)
    return found


def shape_figures(result: SearchResult) -> dict[str, go.Figure]:
    """Return the figures of what the scores depend on."""
    found: dict[str, go.Figure] = {}
    cohort = compared_cohort(result)
    effects, parallel = importance_info(importances(result)), parallel_info(result, cohort)
    depth, ladder = depth_info(result, cohort), ladder_info(result, cohort)
    if not effects.notice:
        found["importance"] = importance_figure(effects)
    if not parallel.notice:
        found["parallel"] = parallel_figure(parallel)
    if not depth.notice:
        found["depth"] = depth_figure(depth)
    if not ladder.notice:
        found["format-score"] = format_score_figure(ladder)
        if any(point.rounding is not None for point in ladder.points):
            found["format-rounding"] = rounding_figure(ladder)
        if ladder.bars:
            found["format-bytes"] = format_bytes_figure(ladder)
    return found


def compared_cohort(result: SearchResult) -> Cohort | None:
    """Return the longest training of enough models to compare, else the one with most models."""
    return longest_cohort(result, MIN_MODELS) or max(
        cohorts(result), key=lambda cohort: len(cohort.members), default=None
    )
