"""Rows of trials: what is written here is what Optuna itself writes, in SQLite and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from search.space.initial_points import initial_points
from search.space.space import suggest
from search.store import trial_rows
from search.store.trial_rows import (
    count_started,
    insert_trial,
    pages,
    read_page,
    trial_id_of,
    trial_ids,
    trials_in,
)
from tests.postgres import Server, programs
from tests.search.store.studies import CONFIG


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RDBStorage]:
    if request.param == "sqlite":
        yield RDBStorage(f"sqlite:///{tmp_path}/a.db")
        return
    if programs() is None:
        pytest.skip("needs PostgreSQL and psycopg")
    with Server() as server:
        opened = RDBStorage(server.storage)
        yield opened
        opened.remove_session()
        opened.engine.dispose()


def _template(place: int, state: TrialState) -> FrozenTrial:
    asked = FixedTrial(initial_points(CONFIG)[place])
    suggest(asked, CONFIG)
    return create_trial(
        state=state,
        params=asked.params,
        distributions=asked.distributions,
        user_attrs={"owner": {"pid": 7}, "record": "{}"},
        system_attrs={"fixed_params": asked.params},
    )


def _contents(trial: FrozenTrial) -> tuple[Any, ...]:
    times = (trial.datetime_start, trial.datetime_complete)
    attributes = (trial.user_attrs, trial.system_attrs, trial.intermediate_values, trial.values)
    return trial.number, trial.state, trial.params, trial.distributions, times, attributes


def test_rows_are_those_that_optuna_writes(storage: RDBStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = (optuna.create_study(storage=storage, study_name=name) for name in ("ours", "theirs"))
    templates = [
        _template(0, TrialState.RUNNING),
        _template(1, TrialState.FAIL),
        _template(2, TrialState.FAIL),
    ]
    for number, template in enumerate(templates):
        insert_trial(storage, ours._study_id, number, template)
        storage.create_new_trial(theirs._study_id, template_trial=template)
    mine, known = ours.get_trials(), theirs.get_trials()
    assert [_contents(t) for t in mine] == [_contents(t) for t in known]
    assert mine[0].params == templates[0].params
    # and Optuna continues from them
    assert ours.ask().number == 3
    ids = trial_ids(storage, ours._study_id)
    assert ids == [t._trial_id for t in mine] + [ids[3]]
    assert count_started(storage, ours._study_id) == 4
    assert [trial_id_of(storage, ours._study_id, number) for number in range(4)] == ids
    for missing in (-1, 4, 99):
        with pytest.raises(KeyError):
            trial_id_of(storage, ours._study_id, missing)
    ours.enqueue_trial(templates[0].params)
    assert count_started(storage, ours._study_id) == 4
    assert [t.number for t in trials_in(storage, ours._study_id, TrialState.RUNNING)] == [0, 3]
    monkeypatch.setattr(trial_rows, "_PAGE", 2)
    read = [[t.number for t in read_page(storage, ours._study_id, page)] for page in pages(ids)]
    assert read == [[0, 1], [2, 3]]


def test_other_tables_than_known_are_left_to_optuna(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = RDBStorage(f"sqlite:///{tmp_path}/a.db")
    study = optuna.create_study(storage=storage)
    asked: list[int] = []
    whole = storage.create_new_trial

    def noted(study_id: int, template_trial: FrozenTrial | None = None) -> int:
        asked.append(study_id)
        return whole(study_id, template_trial)

    monkeypatch.setattr(storage, "create_new_trial", noted)
    insert_trial(storage, study._study_id, 0, _template(0, TrialState.FAIL))
    assert asked == []
    monkeypatch.setattr(trial_rows, "_SCHEMA", 11)
    insert_trial(storage, study._study_id, 1, _template(1, TrialState.FAIL))
    assert asked == [study._study_id]
    assert [t.number for t in study.trials] == [0, 1]
