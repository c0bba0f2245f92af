"""The study: names, refusals, and that nothing told is lost to a kill, a lock or a full disk."""

from __future__ import annotations

import json
import socket
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from search import study as studies
from search.config import SearchConfig
from search.records import record_to_json
from search.results import TrialStatus
from search.space import suggest
from search.starts import starting_points
from search.study import OpenStudy, create_study, list_studies, load_result, open_study
from sizer.errors import StudyError
from tests.search.records import proxy, record

CONFIG = SearchConfig(trials=5)


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/runs/sizer.db"


@pytest.fixture(autouse=True)
def _temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(folder))


def _new(storage: str, name: str | None = "s") -> OpenStudy:
    return create_study(
        CONFIG,
        name=name,
        storage=storage,
        settings={"steps": 10, "dtype": "fp32"},
        corpus={"name": "builtin", "digest": "abc"},
    )


def _asked(study: OpenStudy) -> dict[str, Any]:
    trial = study.ask()
    suggest(trial, CONFIG)
    return trial.params


def test_names_are_numbered_and_listed(storage: str) -> None:
    assert [_new(storage, None).name, _new(storage, "mine").name, _new(storage, None).name] == [
        "search-1",
        "mine",
        "search-2",
    ]
    assert list_studies(storage) == ("mine", "search-1", "search-2")


def test_the_environment_can_name_the_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    assert studies.default_storage() == "sqlite:///runs/sizer.db"
    monkeypatch.setenv(studies.STORAGE_VARIABLE, "sqlite:///elsewhere.db")
    assert studies.default_storage() == "sqlite:///elsewhere.db"


def test_a_taken_name_says_how_to_go_on(storage: str) -> None:
    _new(storage)
    with pytest.raises(StudyError, match="study: 's' exists already; go on with `sizer search resume s`"):
        _new(storage)


def test_an_unknown_study_lists_those_there_are(storage: str) -> None:
    _new(storage)
    with pytest.raises(StudyError, match=r"study: 'x' does not exist in .*; there are: s"):
        open_study("x", storage)


def test_a_study_of_another_program_is_refused(storage: str) -> None:
    _new(storage)
    optuna.create_study(storage=storage, study_name="other")
    with pytest.raises(StudyError, match="study: 'other' was not made by sizer"):
        open_study("other", storage)


def test_no_storage_file_yet(storage: str) -> None:
    with pytest.raises(
        StudyError, match="storage: there is no study file .* yet; `sizer search run` makes one"
    ):
        list_studies(storage)


@pytest.mark.parametrize("url", ["banana", "postgresql://localhost/x", "sqlite:////proc/nowhere/sizer.db"])
def test_storages_that_cannot_be_used(url: str) -> None:
    with pytest.raises(StudyError, match="storage: "):
        _new(url)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "bad.db"
    file.write_text("hello " * 1000, encoding="utf-8")
    with pytest.raises(StudyError, match="file is not a database"):
        _new(f"sqlite:///{file}")


def test_what_is_told_is_read_back(storage: str) -> None:
    study = _new(storage)
    for stored in (record(0, bits=2.0), record(1, bits=1.5, layers=3)):
        _asked(study)
        study.tell(stored)
    _asked(study)
    study.tell(replace(record(2, layers=4), proxy=None, violations=("file 3 MB > 2 MB",)))
    _asked(study)
    study.tell(replace(record(3, layers=5), proxy=proxy(status=TrialStatus.DIVERGED)))
    result = load_result("s", storage)
    assert [r.status.value for r in result.records] == ["complete", "complete", "infeasible", "diverged"]
    assert result.records[1] == record(1, bits=1.5, layers=3)
    assert (result.corpus, result.corpus_digest, result.trials_requested) == ("builtin", "abc", 5)
    # diverged and infeasible trials never teach the sampler
    states = [t.state.name for t in study.optuna_study.trials]
    assert states == ["COMPLETE", "COMPLETE", "FAIL", "FAIL"]
    assert study.optuna_study.trials[0].values == [100_000, 2.0]


def test_a_locked_database_keeps_the_result_and_resume_takes_it_in(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "_LOCK_WAIT_S", 0.05)
    monkeypatch.setattr(studies, "_ATTEMPTS", 1)
    study = _new(storage)
    _asked(study)
    with closing(sqlite3.connect(tmp_path / "runs" / "sizer.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(
            StudyError, match=r"database is locked.* the result of trial 0 is kept in .*\.json"
        ) as caught:
            study.tell(record(0, bits=1.75))
        assert "sizer search resume s" in str(caught.value)
    assert load_result("s", storage).records == ()
    assert open_study("s", storage).recover() == (1, 0)
    assert load_result("s", storage).records == (record(0, bits=1.75),)
    assert open_study("s", storage).recover() == (0, 0)


def test_a_disk_that_is_full_beside_the_database_uses_the_temporary_folder(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "_ATTEMPTS", 1)
    study = _new(storage)
    _asked(study)
    really_write = Path.write_text

    def write_text(self: Path, text: str, **rest: Any) -> int:
        if "runs" in self.parts:
            really_write(self, text[:10], **rest)
            raise OSError(28, "No space left on device")
        return really_write(self, text, **rest)

    def refuse(*_: object) -> None:
        raise StudyError("storage: database or disk is full")

    with monkeypatch.context() as full:
        full.setattr(Path, "write_text", write_text)
        full.setattr(OpenStudy, "_write", refuse)
        with pytest.raises(StudyError, match="temporary"):
            study.tell(record(0))
    assert not list((tmp_path / "runs").glob("*.json"))
    assert open_study("s", storage).recover() == (1, 0)
    assert load_result("s", storage).records == (record(0),)


def test_kept_results_of_another_storage_are_left_alone(storage: str, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path}/elsewhere/sizer.db"
    for url in (storage, other):
        _asked(_new(url))
    studies._keep_beside(other, "s", 0, record_to_json(record(0)))
    assert open_study("s", storage).recover()[0] == 0
    assert open_study("s", other).recover()[0] == 1


def test_a_killed_trial_is_run_again(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    study = _new(storage)
    monkeypatch.setattr(
        studies,
        "_this_process",
        lambda: {"host": socket.gethostname(), "pid": 2**22 + 1, "started": "1"},
    )
    params = _asked(study)
    monkeypatch.undo()
    again = open_study("s", storage)
    assert again.recover() == (0, 1)
    assert _asked(again) == params
    # the first attempt is marked, not erased
    assert [t.state.name for t in again.optuna_study.trials] == ["FAIL", "RUNNING"]


def test_a_trial_of_a_live_process_is_left_alone(storage: str) -> None:
    _asked(_new(storage))
    assert open_study("s", storage).recover() == (0, 0)


def test_a_kill_between_storing_and_telling_loses_nothing(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = _new(storage)
    trial = study.ask()
    suggest(trial, CONFIG)
    trial.set_user_attr(studies._RECORD, record_to_json(record(0)))
    monkeypatch.setattr(studies, "_is_alive", lambda owner: False)
    again = open_study("s", storage)
    assert again.recover() == (0, 0)
    assert again.result().records == (record(0),)
    # told as complete, and nothing queued to be trained again
    assert [t.state.name for t in again.optuna_study.trials] == ["COMPLETE"]


def test_a_study_from_before_a_field_existed_is_still_read(storage: str) -> None:
    study = _new(storage)
    old = {
        key: value
        for key, value in CONFIG.to_dict().items()
        if key
        not in {
            "vocab_size",
            "allow_fallback",
            "sharing_repeats",
            "tie_embeddings",
            "min_ffn_ratio",
            "max_ffn_ratio",
        }
    }
    before = {**old, "formats": ["Q4_0", "Q4_K_M", "Q8_0"], "min_hidden_size": 64}
    study.optuna_study.set_user_attr(studies._CONFIG, json.dumps(before))
    # a trial as the search asked for it then
    trial = study.ask()
    trial.suggest_categorical("format", before["formats"])
    trial.suggest_int("executed_layers", 2, 24, log=True)
    trial.suggest_categorical("head_dim", (32, 64))
    trial.suggest_categorical("query_heads_per_kv_head", (1, 2, 4))
    trial.suggest_float("ffn_ratio", 1.5, 4.0, step=0.5)
    trial.suggest_categorical("sharing", ("none", "immediate", "repeat-all", "reverse"))
    trial.suggest_float("size_fraction", 0.2, 1.0, log=True)
    study.tell(record(0))
    again = open_study("s", storage)
    assert again.config.tie_embeddings == (True,)
    assert again.config.sharing_repeats == (2,)
    assert again.config.allow_fallback
    # and goes on with the very same questions
    next_trial = again.ask()
    suggest(next_trial, again.config)
    assert next_trial.distributions == trial.distributions
    assert again.result().records == (record(0),)


def test_an_interrupted_trial_is_given_back(storage: str) -> None:
    study = _new(storage)
    trial = study.ask()
    suggest(trial, CONFIG)
    study.release(trial)
    assert _asked(study) == trial.params


def test_proposals_do_not_depend_on_restarts(storage: str, tmp_path: Path) -> None:
    def proposals(url: str, *, reopen: bool) -> list[dict[str, Any]]:
        study = _new(url)
        for point in starting_points(CONFIG):
            study.enqueue(point)
        asked = []
        for number in range(12):
            asked.append(_asked(study))
            study.tell(record(number, bits=3 - number / 10, size=100_000 + 1000 * number, layers=2 + number))
            if reopen:
                study = open_study("s", url)
        return asked

    straight = proposals(storage, reopen=False)
    assert proposals(f"sqlite:///{tmp_path}/b.db", reopen=True) == straight
    assert len({str(p) for p in straight}) == 12
