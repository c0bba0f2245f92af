"""How far a study is by rungs: how many models came to each, and how many are to come."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from search.config.config import SearchConfig
from search.schedule.plan import final_rung, stage, steps_of
from search.store.results import TrialRecord, TrialStatus


class RungCount(NamedTuple):
    """Models that were trained up to a rung."""

    rung: int  # from 0
    steps: int  # at its end
    done: int  # with a score
    lost: int  # diverged, or failed for reasons outside the model
    expected: int  # in all; an estimate until the rung before is done
    more_seeds: int  # runs of models that were done already, from another seed


def rung_counts(config: SearchConfig, records: Sequence[TrialRecord]) -> tuple[RungCount, ...]:
    """Count models by rung, first rung first."""
    runs = [
        (run, run.status is TrialStatus.COMPLETE)
        for record in records
        if record.repeats is None and not record.violations
        for run in record.runs
    ]
    counts = []
    expected, cohort = config.training.trials, _cohort(config, records)
    for rung in range(final_rung(config) + 1):
        own = [complete for run, complete in runs if run.rung == rung and run.seed == config.training.seed]
        others = sum(run.rung == rung and run.seed != config.training.seed for run, _ in runs)
        if rung in cohort:
            expected = cohort[rung]
        elif rung:
            expected = ceil(expected / config.training.eta)
        expected = max(expected, len(own))
        done = sum(own)
        counts.append(RungCount(rung, steps_of(config, rung)[0], done, len(own) - done, expected, others))
    return tuple(counts)


def _cohort(config: SearchConfig, records: Sequence[TrialRecord]) -> dict[int, int]:
    """Return how many models enter the current rung and entered those before it, if decided."""
    entered = [r for r in records if r.repeats is None and not r.violations]
    if len(entered) < config.training.trials:
        return {}
    at = stage(config, records)
    if not at.missing:
        return {rung: _entrants(records, rung, config.training.seed) for rung in range(1, at.rung + 1)}
    before = {rung: _entrants(records, rung, config.training.seed) for rung in range(1, at.rung)}
    if all(run.seed for run in at.missing):  # all that is left are finalists' other seeds
        return {**before, at.rung: _entrants(records, at.rung, config.training.seed)}
    return {**before, at.rung: len(at.cohort)}


def _entrants(records: Sequence[TrialRecord], rung: int, seed: int) -> int:
    return sum(any(run.rung == rung and run.seed == seed for run in r.runs) for r in records)
