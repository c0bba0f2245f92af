"""The study: names, refusals, and that nothing told is lost to a kill, a lock or a full disk."""

from __future__ import annotations

import json
import math
import socket
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy.exc import IntegrityError

from search.space.config import SearchConfig
from search.space.space import suggest
from search.space.starts import starting_points
from search.store import study as studies
from search.store.folders import STORAGE_VARIABLE
from search.store.kept import keep_beside
from search.store.records import record_to_json
from search.store.results import TrialRecord, TrialStatus
from search.store.study import OpenStudy, create_study, list_studies, load_result, open_study
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


def _begun(study: OpenStudy) -> optuna.Trial:
    """The next trial, at the next of the starting points."""
    trial = study.begin(starting_points(CONFIG)[study.num_asked])
    suggest(trial, CONFIG)
    return trial


def _asked(study: OpenStudy) -> dict[str, Any]:
    return _begun(study).params


def _stored(study: OpenStudy) -> tuple[TrialRecord, ...]:
    """Records as told, without the list of runs that reading adds."""
    records = study.result().records
    assert all(r.runs == ((r.proxy,) if r.proxy else ()) for r in records)
    return tuple(replace(r, runs=()) for r in records)


def test_names_are_numbered_and_listed(storage: str) -> None:
    assert [_new(storage, None).name, _new(storage, "mine").name, _new(storage, None).name] == [
        "search-1",
        "mine",
        "search-2",
    ]
    assert list_studies(storage) == ("mine", "search-1", "search-2")


def test_the_environment_can_name_the_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    assert studies.default_storage() == "sqlite:///runs/sizer.db"
    monkeypatch.setenv(STORAGE_VARIABLE, "sqlite:///elsewhere.db")
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


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(StudyError, match="storage: there is no study file"):
        list_studies(f"sqlite:///{'x' * 5000}.db")


def test_another_programs_database_is_left_as_it_is(tmp_path: Path) -> None:
    """Alembic has a table of its version in every program's database, MLflow's and Airflow's too."""
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        database.execute("INSERT INTO alembic_version VALUES ('1bd49d398cd23')")
        database.commit()
    before = file.read_bytes()
    with pytest.raises(StudyError, match="storage: there is no study file"):
        list_studies(f"sqlite:///{file}")
    assert file.read_bytes() == before


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
    assert _stored(study)[1] == record(1, bits=1.5, layers=3)
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
    assert open_study("s", storage).recover() == 1
    assert _stored(open_study("s", storage)) == (record(0, bits=1.75),)
    assert open_study("s", storage).recover() == 0


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
    assert open_study("s", storage).recover() == 1
    assert _stored(open_study("s", storage)) == (record(0),)


def test_kept_results_of_another_storage_are_left_alone(storage: str, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path}/elsewhere/sizer.db"
    for url in (storage, other):
        _asked(_new(url))
    keep_beside(other, "s", "0", record_to_json(record(0)))
    assert open_study("s", storage).recover() == 0
    assert open_study("s", other).recover() == 1


def test_a_killed_trial_goes_on_under_its_number(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    study = _new(storage)
    monkeypatch.setattr(
        studies,
        "this_process",
        lambda: {"host": socket.gethostname(), "pid": 2**22 + 1, "started": "1"},
    )
    params = _asked(study)
    monkeypatch.undo()
    again = open_study("s", storage)
    assert again.recover() == 0
    (trial,) = again.left_behind()
    assert (trial.number, trial.params) == (0, params)
    assert again.num_asked == 1
    assert again.left_behind() == ()  # it is this process's now
    again.tell(record(0))
    assert _stored(again) == (record(0),)


def test_a_trial_put_in_the_queue_and_never_begun_goes_first(storage: str) -> None:
    study = _new(storage)
    first, second = starting_points(CONFIG)[:2]
    study.optuna_study.enqueue_trial(first)  # killed here
    assert study.num_asked == 0
    assert study.begin(first).number == 0
    assert study.begin(second).number == 1
    assert study.num_asked == 2


def test_a_trial_of_a_live_process_is_left_alone(storage: str) -> None:
    _asked(_new(storage))
    again = open_study("s", storage)
    assert again.recover() == 0
    assert again.left_behind() == ()


def test_trials_let_go_can_be_gone_on_with(storage: str) -> None:
    study = _new(storage)
    _asked(study)
    study.let_go()
    assert [t.number for t in open_study("s", storage).left_behind()] == [0]


def test_later_runs_are_stored_beside_their_trial(storage: str) -> None:
    study = _new(storage)
    for number in range(2):
        _asked(study)
        study.tell(record(number, bits=2.0))
    first = record(0, bits=2.0).proxy
    assert first is not None
    longer = replace(first, rung=1, val_bits_per_byte=1.5, steps=30, trained_tokens=3 * first.trained_tokens)
    seeds = [replace(longer, rung=2, seed=seed, val_bits_per_byte=1.4 + seed / 10) for seed in (0, 1)]
    for run in (longer, *seeds):
        study.tell_run(0, run)
    one, other = load_result("s", storage).records
    assert one.runs == (first, longer, *seeds)
    assert one.proxy is not None
    assert one.proxy.val_bits_per_byte == pytest.approx(1.45)
    assert (one.proxy.rung, one.proxy.seeds) == (2, 2)
    # two seeds trained in full; the rungs of one are steps of the same run
    assert one.proxy.trained_tokens == 2 * longer.trained_tokens
    # 0.0707 is their deviation, over the root of 2; the chunks' own error comes on top
    assert one.proxy.val_bits_per_byte_sd == pytest.approx(math.hypot(0.05, first.val_bits_per_byte_sd or 0))
    assert other.runs == (record(1, bits=2.0).proxy,)
    assert [r.number for r in load_result("s", storage).finalists] == [0]


def test_a_later_run_that_cannot_be_stored_is_kept(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "_ATTEMPTS", 1)
    study = _new(storage)
    _asked(study)
    study.tell(record(0))
    first = record(0).proxy
    assert first is not None

    def refuse(*_: object) -> None:
        raise StudyError("storage: database or disk is full")

    with monkeypatch.context() as full:
        full.setattr(OpenStudy, "_write_run", refuse)
        with pytest.raises(StudyError, match="the result of trial 0, rung 1 is kept in"):
            study.tell_run(0, replace(first, rung=1))
    assert open_study("s", storage).recover() == 1
    assert load_result("s", storage).records[0].runs == (first, replace(first, rung=1))


def test_a_kill_between_storing_and_telling_loses_nothing(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = _new(storage)
    trial = _begun(study)
    trial.set_user_attr(studies._RECORD, record_to_json(record(0)))
    monkeypatch.setattr(studies, "is_alive", lambda owner: False)
    again = open_study("s", storage)
    assert again.recover() == 1
    assert _stored(again) == (record(0),)
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
            "sampler",
            "rungs",
            "final_seeds",
        }
    }
    before = {**old, "formats": ["Q4_0", "Q4_K_M", "Q8_0"], "min_hidden_size": 64}
    study.optuna_study.set_user_attr(studies._CONFIG, json.dumps(before))
    # a trial as the search asked for it then
    trial = study.optuna_study.ask()
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
    next_trial = again.begin({})
    suggest(next_trial, again.config)
    assert next_trial.distributions == trial.distributions
    assert (again.config.sampler, again.config.rungs, again.config.final_seeds) == ("tpe", 1, 1)
    assert _stored(again) == (record(0),)


def test_another_process_makes_the_same_storage(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen with two searches begun at once: the later one's tables were there already, and it ended."""
    tries: list[Any] = []
    make = optuna.storages.RDBStorage

    def second(*arguments: Any, **options: Any) -> Any:
        tries.append(arguments)
        if len(tries) == 1:
            make(*arguments, **options)
            reason = sqlite3.IntegrityError("UNIQUE constraint failed: alembic_version.version_num")
            raise IntegrityError("INSERT INTO alembic_version", {}, reason)
        return make(*arguments, **options)

    monkeypatch.setattr(studies, "RDBStorage", second)
    _new(storage)
    assert len(tries) == 2
