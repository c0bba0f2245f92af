"""Storages are opened or refused in one line, by address, without a password."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy.exc import IntegrityError

from search.store import storage as opening
from search.store.fallback_files import without_password
from search.store.folders import STORAGE_VARIABLE
from search.store.storage import default_storage
from search.store.study import list_studies, load_result, open_study
from sizer.errors import StudyError
from tests.search.records import record
from tests.search.store.studies import asked, new


def test_the_environment_can_name_the_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_storage() == "sqlite:///runs/sizer.db"
    monkeypatch.setenv(STORAGE_VARIABLE, "sqlite:///elsewhere.db")
    assert default_storage() == "sqlite:///elsewhere.db"


def test_no_storage_file_yet(storage: str) -> None:
    with pytest.raises(
        StudyError, match="storage: there is no study file .* yet; `sizer search run` makes one"
    ):
        list_studies(storage)


@pytest.mark.parametrize("url", ["banana", "postgresql://localhost/x", "sqlite:////proc/nowhere/sizer.db"])
def test_storages_that_cannot_be_used(url: str) -> None:
    with pytest.raises(StudyError, match="storage: "):
        new(url)


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
        new(f"sqlite:///{file}")


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

    monkeypatch.setattr(opening, "RDBStorage", second)
    new(storage)
    assert len(tries) == 2


def test_a_read_only_folder_is_read(storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = new(storage)
    asked(study)
    monkeypatch.setattr(opening, "_is_writable", lambda path: False)
    assert list_studies(storage) == ("s",)
    assert load_result("s", storage).study == "s"
    opened = open_study("s", storage)
    with pytest.raises(StudyError, match="attempt to write a readonly database"):  # nothing is written by it
        opened.tell(record(0))
    with pytest.raises(StudyError, match="is not writable"):
        open_study("s", storage, write=True)
    with pytest.raises(StudyError, match="is not writable"):
        new(storage, "t")


@pytest.mark.parametrize(
    ("shown", "url"),
    [
        ("postgresql+psycopg://me:***@db:5432/s", "postgresql+psycopg://me:s3cret@db:5432/s"),
        ("postgresql://db/s", "postgresql://db/s"),
        ("sqlite:///runs/a@b:c.db", "sqlite:///runs/a@b:c.db"),
    ],
)
def test_a_password_is_never_shown(shown: str, url: str) -> None:
    assert without_password(url) == shown


def test_an_unusable_server_is_named_without_its_password() -> None:
    with pytest.raises(StudyError) as caught:
        load_result("s", "nonsense://me:s3cret@localhost/s")
    assert "s3cret" not in str(caught.value)
