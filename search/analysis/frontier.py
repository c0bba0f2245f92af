"""Frontier of a study: trained models that no other beats on both cost and accuracy."""

from __future__ import annotations

from collections.abc import Sequence

from search.analysis.ranking import Ranking, ranking
from search.config.objectives import Objective
from search.stats.pareto import front
from search.store.results import SearchResult, TrialRecord


def frontier(
    result: SearchResult, cost: Objective | None = None, *, by: Ranking | None = None
) -> tuple[TrialRecord, ...]:
    """Return trained records that no other beats on both cost and accuracy, cheapest (fastest) first.

    Costs are the study's objectives, or the one given. Accuracy is the score that ranks the study, or `by`.
    Of a search in rungs only models that came to the last one so far count: a shorter run is no worse model.
    Where scores are extrapolated from scaled proxies all count. Records without a known cost take no part.
    """
    return front_by(result, result.objectives if cost is None else (cost,), by=by)


def front_by(
    result: SearchResult, costs: Sequence[Objective], *, by: Ranking | None = None
) -> tuple[TrialRecord, ...]:
    """Return the frontier of several costs and accuracy, cheapest by the first cost first."""
    ranked = by or ranking(result)
    known = [r for r in ranked.records if all(r.cost(cost) is not None for cost in costs)]
    points = [(*r.costs(costs), ranked.scores[r.number].bits_per_byte) for r in known]
    return tuple(known[i] for i in sorted(front(points), key=points.__getitem__))


def drawn_costs(result: SearchResult) -> tuple[Objective, ...]:
    """Return the costs that accuracy is drawn against: the study's objectives first, then the usual ones."""
    usual = (Objective.BYTES, Objective.MEMORY, Objective.DECODE)
    return tuple(dict.fromkeys((*result.objectives, *usual)))
