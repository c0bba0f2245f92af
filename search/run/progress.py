"""SearchProgress of a running search, as its loop reports it to hooks and to the live status file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from search.store.results import Candidate, TrialRecord


class InTraining(NamedTuple):
    """One model in training."""

    number: int
    seed: int  # 0: the study's own
    rung: int
    step: int
    steps: int  # at the end of the rung
    loss: float | None  # nats per token of the last steps; None before the first report
    tokens_per_s: float
    model: str
    format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchProgress:
    """Where a running search stands; handed to the caller after every event."""

    study: str
    trained: int  # trials that have been to the first rung
    wanted: int
    infeasible: int
    candidate: Candidate | None  # the one in training that was heard of last
    rung: int  # of the run in training, from 0
    rungs: int
    step: int
    steps: int
    done_steps: int  # of all runs, those under way included
    total_steps: int  # as expected from the settings
    tokens_per_s: float  # of all runs under way
    best: TrialRecord | None
    in_training: tuple[InTraining, ...]


ProgressHook = Callable[[SearchProgress], None]
