"""Models of a study that were trained for as long as each other: only their scores can be compared."""

from __future__ import annotations

from typing import NamedTuple

from search.store.results import ProxyResult, SearchResult, TrialRecord, TrialStatus


class Cohort(NamedTuple):
    """Models that came to a score at one rung, with that rung's run from the study's own seed."""

    rung: int
    members: tuple[tuple[TrialRecord, ProxyResult], ...]  # in order of trial numbers

    @property
    def steps(self) -> int:
        """Steps of training behind the scores."""
        return max(run.steps for _, run in self.members)


def cohorts(result: SearchResult) -> tuple[Cohort, ...]:
    """Return a cohort for each rung that models reached, shortest first."""
    found: dict[int, list[tuple[TrialRecord, ProxyResult]]] = {}
    for record in result.trained:
        # of several seeds at one rung the study's own is the first
        runs = {run.rung: run for run in reversed(record.runs) if run.status is TrialStatus.COMPLETE}
        if not runs and record.proxy is not None:  # put together without its runs
            runs = {record.proxy.rung: record.proxy}
        for rung, run in runs.items():
            found.setdefault(rung, []).append((record, run))
    return tuple(Cohort(rung, tuple(members)) for rung, members in sorted(found.items()))


def longest_cohort(result: SearchResult, least: int) -> Cohort | None:
    """Return the cohort of the longest training with at least `least` models; None if there is none."""
    enough = [cohort for cohort in cohorts(result) if len(cohort.members) >= least]
    return enough[-1] if enough else None
