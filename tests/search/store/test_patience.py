"""A storage that does not answer is asked again, and nothing is begun or stored twice for it."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial
from sqlalchemy.exc import OperationalError

from search.space.initial_points import initial_points
from search.space.space import suggest
from search.store import trial_rows
from search.store.patience import patiently
from search.store.storage import StorageUnavailable, storage_errors
from search.store.study import load_result, open_study
from search.store.trial_rows import insert_trial, trial_ids
from sizer.errors import StudyError
from tests.search.records import record
from tests.search.store.studies import CONFIG, asked, new, stored

SERVER = "postgresql+psycopg://me:s3cret@db/s"


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(time, "sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.now_s += seconds


def _locked() -> OperationalError:
    return OperationalError("SELECT 1", {}, sqlite3.OperationalError("database is locked"))


@pytest.mark.parametrize(("outage_s", "storage"), [(60.0, SERVER), (290.0, SERVER), (8.0, "sqlite:///a.db")])
def test_an_outage_is_waited_for(outage_s: float, storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    def access() -> str:
        with storage_errors(storage):
            if clock.now_s < outage_s:
                raise _locked()
            return "answer"

    assert patiently(access, storage) == "answer"
    assert clock.now_s < outage_s + 15


def test_after_five_minutes_it_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    def access() -> None:
        with storage_errors(SERVER):
            raise _locked()

    with pytest.raises(StorageUnavailable, match="cannot be used: database is locked") as caught:
        patiently(access, SERVER)
    assert 270 <= clock.now_s <= 300
    assert "s3cret" not in str(caught.value)


def test_an_error_that_does_not_pass_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    def access() -> None:
        with storage_errors("sqlite:///a.db"):
            raise OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))

    with pytest.raises(StudyError, match="disk is full"):
        patiently(access, "sqlite:///a.db")
    assert clock.now_s == 0


class Cut:
    """A method that works, and whose answer is lost the first time: the server has written by then."""

    def __init__(self, method: Any) -> None:
        self._method, self.calls = method, 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        answer = self._method(*arguments, **options)
        if self.calls == 1:
            raise _locked()
        return answer


def test_a_trial_whose_start_was_not_answered_is_begun_once(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, first = new(storage), initial_points(CONFIG)[0]
    Clock(monkeypatch)
    stored_in = study.optuna_study._storage
    cut = Cut(stored_in.create_new_trial)
    monkeypatch.setattr(stored_in, "create_new_trial", cut)
    trial = study.begin(first)
    assert trial.number == 0
    assert study.num_asked == len(study.optuna_study.trials) == 1
    assert study.optuna_trial(0).system_attrs["fixed_params"] == first
    assert cut.calls == 1


@pytest.mark.parametrize("is_trained", [True, False])
def test_a_new_trial_whose_storing_was_not_answered_is_stored_once(
    storage: str, monkeypatch: pytest.MonkeyPatch, is_trained: bool
) -> None:
    study, params = new(storage), initial_points(CONFIG)[0]
    trial = FixedTrial(params)
    suggest(trial, CONFIG)
    untrained = replace(record(0), proxy=None, violations=("file 3 MB > 2 MB",))
    Clock(monkeypatch)
    monkeypatch.setattr(trial_rows, "insert_trial", Cut(insert_trial))
    study.start(0, params, trial.distributions, None if is_trained else untrained)
    assert len(trial_ids(study.optuna_study._storage, study.optuna_study._study_id)) == 1
    (kept,) = study.optuna_study.trials
    assert (kept.params, kept.state.name) == (params, "RUNNING" if is_trained else "FAIL")
    assert stored(study) == (() if is_trained else (untrained,))
    assert [t.number for t in study.orphaned_trials()] == []  # this process's own


def test_a_result_whose_storing_was_not_answered_is_stored_once(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = new(storage)
    asked(study)
    Clock(monkeypatch)
    rows = study.optuna_study._storage
    for write in ("set_trial_user_attr", "set_trial_state_values"):
        monkeypatch.setattr(rows, write, Cut(getattr(rows, write)))
    study.tell(record(0))
    assert stored(study) == (record(0),)
    proxy = record(0).proxy
    assert proxy is not None
    monkeypatch.setattr(study.optuna_study, "set_user_attr", Cut(study.optuna_study.set_user_attr))
    study.tell_run(0, proxy)
    assert len(load_result("s", storage).records[0].runs) == 2


def test_who_only_reads_is_told_at_once(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    new(storage)
    clock = Clock(monkeypatch)
    study = open_study("s", storage)

    def refuse(*_: Any, **__: Any) -> None:
        raise _locked()

    monkeypatch.setattr(optuna.Study, "get_trials", refuse)
    with pytest.raises(StudyError, match="database is locked"):
        study.result()
    assert clock.now_s == 0
