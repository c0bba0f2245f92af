"""What a search has seen so far, kept as it grows: trials for samplers, counts and the best for its status.

Each is updated by what a trial changes, so that the hundred-thousandth costs what the first did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution

from search.config.config import SearchConfig
from search.quality.features import law_row
from search.space.sampling import FinishedTrial, latest_scored, needs_trials, sampler_of
from search.store.objective_values import objective_values
from search.store.results import TrialRecord, TrialStatus


class Asked(NamedTuple):
    """What a trial was asked for."""

    params: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution]


class History:
    """Finished trials as samplers need them, in the order of their numbers."""

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._needs_trials, self._needs_rows = needs_trials(config), sampler_of(config) == "law"
        self._finished: dict[int, FinishedTrial] = {}
        self._ordered: list[FinishedTrial] = []
        self._end = 0  # the number up to which they are in order
        self._latest = latest_scored(config)

    def add(self, record: TrialRecord, asked: Asked) -> None:
        """Take in a trial that has finished."""
        is_scored = record.repeats is None and record.status is TrialStatus.COMPLETE
        row = trial = None
        if is_scored and self._needs_rows:
            row = law_row(record, runtime=self._config.budget.runtime)
        if is_scored and self._needs_trials:
            trial = optuna.trial.create_trial(
                params=dict(asked.params),
                distributions=dict(asked.distributions),
                values=objective_values(record, self._config),
            )
        self._finished[record.number] = FinishedTrial(
            trial=trial,
            row=row,
            candidate=record.candidate,
            costs=record.costs(self._config.objectives) if is_scored else (),
        )

    def before(self, number: int) -> Sequence[FinishedTrial]:
        """Return the finished trials below a number; numbers asked for must not fall."""
        for finished in range(self._end, number):
            if finished in self._finished:
                self._ordered.append(self._finished.pop(finished))
        self._end = max(self._end, number)
        if self._latest is not None and len(self._ordered) > 2 * self._latest:
            self._ordered = [one for one in self._ordered if one.trial is not None][-self._latest :]
        return self._ordered


class Tally:
    """Counts of trials by what became of them, and the record with the best score."""

    def __init__(self) -> None:
        self.trained = self.infeasible = 0
        self.best: TrialRecord | None = None

    def count(self, record: TrialRecord) -> None:
        """Take in a trial that has finished."""
        self.trained += record.repeats is None and not record.violations
        self.infeasible += bool(record.violations)
        if _bits(record) < _bits(self.best):
            self.best = record

    def changed(self, record: TrialRecord, records: Iterable[TrialRecord]) -> None:
        """Take in a new score of a trial; of the best one it may be worse than another's."""
        if self.best is not None and self.best.number == record.number:
            self.best = min(records, key=_bits)
        elif _bits(record) < _bits(self.best):
            self.best = record


def _bits(record: TrialRecord | None) -> float:
    proxy = record.proxy if record is not None and record.repeats is None else None
    return float("inf") if proxy is None or proxy.val_bits_per_byte is None else proxy.val_bits_per_byte
