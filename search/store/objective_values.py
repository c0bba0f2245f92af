"""What Optuna stores of a scored trial: the cost of each objective in its own unit, then bits per byte."""

from __future__ import annotations

from optuna.study import StudyDirection

from search.config.config import SearchConfig
from search.store.results import TrialRecord, bits_per_byte


def objective_values(record: TrialRecord, config: SearchConfig) -> list[float]:
    """Return a scored trial's values, in the order of the study's objectives; the loss comes last."""
    costs = [record.cost(objective) for objective in config.objectives]
    assert None not in costs, f"trial {record.number} was trained without a known cost"
    return [*(cost for cost in costs if cost is not None), bits_per_byte(record)]


def study_directions(config: SearchConfig) -> list[StudyDirection]:
    """Return Optuna's direction of each value."""
    costs = [
        StudyDirection.MAXIMIZE if objective.maximised else StudyDirection.MINIMIZE
        for objective in config.objectives
    ]
    return [*costs, StudyDirection.MINIMIZE]


def metric_names(config: SearchConfig) -> list[str]:
    """Return the name of each value, as dashboards show it."""
    return [*(objective.key for objective in config.objectives), "val_bits_per_byte"]
