"""Results that a storage refuses are kept for this user alone, and taken in when the search is resumed."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search.store import patience
from search.store import storage as opening
from search.store.fallback_files import save_fallback, state_folder
from search.store.records import record_to_json
from search.store.study import OpenStudy, load_result, open_study
from sizer.errors import StudyError
from tests.search.records import record
from tests.search.store.studies import asked, new, stored


def test_a_locked_database_keeps_the_result_and_resume_takes_it_in(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_LOCK_WAIT_S", 0.05)
    monkeypatch.setattr(patience, "FILE_S", 0.0)
    study = new(storage)
    asked(study)
    with closing(sqlite3.connect(tmp_path / "runs" / "sizer.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(
            StudyError, match=r"database is locked.* the result of trial 0 is kept in .*\.json"
        ) as caught:
            study.tell(record(0, bits=1.75))
        assert "sizer search resume s" in str(caught.value)
    assert load_result("s", storage).records == ()
    assert open_study("s", storage).recover() == 1
    assert stored(open_study("s", storage)) == (record(0, bits=1.75),)
    assert open_study("s", storage).recover() == 0


def test_a_disk_that_is_full_where_the_database_lies_uses_the_users_state_folder(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FILE_S", 0.0)
    study = new(storage)
    asked(study)
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
        with pytest.raises(StudyError, match="state/sizer"):
            study.tell(record(0))
    assert not list((tmp_path / "runs").glob("*.json"))
    assert open_study("s", storage).recover() == 1
    assert stored(open_study("s", storage)) == (record(0),)


def test_kept_results_of_another_storage_are_left_alone(storage: str, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path}/elsewhere/sizer.db"
    for url in (storage, other):
        asked(new(url))
    save_fallback(other, "s", "0", record_to_json(record(0)))
    assert open_study("s", storage).recover() == 0
    assert open_study("s", other).recover() == 1


def test_a_later_run_that_cannot_be_stored_is_kept(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FILE_S", 0.0)
    study = new(storage)
    asked(study)
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


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "[" * 5000,
        "{}",
        '{"number": 0, "run": {"status": "complete"}}',
        '{"number": "x", "run": {}}',
    ],
)
def test_a_forged_result_is_set_aside(storage: str, tmp_path: Path, text: str) -> None:
    study = new(storage)
    asked(study)
    save_fallback(storage, "s", "0", text)
    assert open_study("s", storage).recover() == 0
    assert [p.suffix for p in (tmp_path / "runs").iterdir() if "trial" in p.name] == [".unreadable"]
    assert open_study("s", storage).recover() == 0


def test_a_linked_result_is_set_aside(storage: str, tmp_path: Path) -> None:
    study = new(storage)
    asked(study)
    kept = Path(save_fallback(storage, "s", "0", record_to_json(record(0))))
    kept.rename(tmp_path / "elsewhere.json")
    kept.symlink_to(tmp_path / "elsewhere.json")
    assert open_study("s", storage).recover() == 0
    assert (tmp_path / "elsewhere.json").exists()


def test_nothing_is_kept_or_read_in_the_common_temporary_folder(storage: str) -> None:
    kept = Path(save_fallback(storage, "s", "0", "{}"))
    assert Path(tempfile.gettempdir()) not in (kept.parent, state_folder())
