"""Studies in a storage, for tests: made, asked for a trial, and read back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import optuna

from search.config.config import SearchConfig
from search.space.initial_points import initial_points
from search.space.space import suggest
from search.store.results import TrialRecord
from search.store.study import OpenStudy, create_study

CONFIG = SearchConfig.build(trials=5)


def new(storage: str, name: str | None = "s") -> OpenStudy:
    return create_study(
        CONFIG,
        name=name,
        storage=storage,
        settings={"steps": 10, "dtype": "fp32"},
        corpus={"name": "builtin", "digest": "abc"},
    )


def begin_next(study: OpenStudy) -> optuna.Trial:
    """The next trial, at the next of the starting points."""
    trial = study.begin(initial_points(CONFIG)[study.num_asked])
    suggest(trial, CONFIG)
    return trial


def asked(study: OpenStudy) -> dict[str, Any]:
    return begin_next(study).params


def stored(study: OpenStudy) -> tuple[TrialRecord, ...]:
    """Records as told, without the list of runs that reading adds."""
    records = study.result().records
    assert all(r.runs == ((r.proxy,) if r.proxy else ()) for r in records)
    return tuple(replace(r, runs=()) for r in records)
