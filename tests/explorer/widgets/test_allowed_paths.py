"""What a page may open of this machine; SQLAlchemy says which file an address would really open."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.sqlite.pysqlite import dialect
from sqlalchemy.engine import make_url

from explorer.widgets.allowed_paths import inside, storage_to_open
from sizer.errors import StudyError

OWN = "sqlite:////elsewhere/studies.db"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with links in it, and a file outside of it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.db").write_bytes(b"")
    made = tmp_path / "here"
    (made / "runs" / "a" / "b").mkdir(parents=True)
    (made / "runs" / "sizer.db").write_bytes(b"")
    (made / "near").symlink_to("runs/a/b")
    (made / "near.db").symlink_to("runs/sizer.db")
    (made / "far").symlink_to(tmp_path / "outside")
    (made / "far.db").symlink_to(tmp_path / "outside" / "secret.db")
    (made / "round").symlink_to("round")
    monkeypatch.chdir(made)
    return made


@pytest.mark.parametrize(
    ("typed", "opened"),
    [
        ("sqlite:///runs/sizer.db", "runs/sizer.db"),
        ("sqlite:///./runs/a/../sizer.db", "runs/sizer.db"),
        ("sqlite:///near.db", "runs/sizer.db"),
        ("sqlite:///not there.db", "not there.db"),
        ("sqlite:///{folder}/runs/sizer.db", "runs/sizer.db"),
        ("sqlite:///{folder}/../here/near.db", "runs/sizer.db"),
    ],
)
def test_files_in_the_directory(folder: Path, typed: str, opened: str) -> None:
    typed = typed.replace("{folder}", str(folder))
    assert storage_to_open(typed, own=OWN, folder=folder) == f"sqlite:///{opened}"


@pytest.mark.parametrize("own", [OWN, "postgresql://me:word@there/studies"])
def test_the_storage_of_whoever_started_it_is_opened_wherever_it_is(folder: Path, own: str) -> None:
    assert storage_to_open(own, own=own, folder=folder) == own
    assert storage_to_open("", own=own, folder=folder) == own


OUTSIDE = [
    "sqlite:///../outside/secret.db",
    "sqlite:///{outside}/secret.db",
    "sqlite:////etc/passwd",
    "sqlite:////proc/self/cwd/../outside/secret.db",
    "sqlite:////proc/self/root/etc/passwd",
    "sqlite:///far.db",
    "sqlite:///far/secret.db",
    "sqlite:///far/new.db",
    # the system reads dots after following links, SQLAlchemy strikes them out before
    "sqlite:///far/../here/../outside/secret.db",
    "sqlite:///round",
    "sqlite:///runs/sizer.db?mode=rwc&uri=true",
    "sqlite:///file:{outside}/secret.db?uri=true",
    "sqlite:///file:../outside/secret.db?uri=true",
    "sqlite:///%2e%2e/outside/secret.db",
    "sqlite:///..%2Foutside%2Fsecret.db",
    "sqlite:///{{SCHEMA_VERSION}}.db",
    "sqlite:///a\0b",
    "sqlite:///a\nb",
    "sqlite:///",
    "sqlite:///.",
    "sqlite://",
    "sqlite://host/runs/sizer.db",
    "sqlite+pysqlite:///runs/sizer.db",
    "SQLITE:///runs/sizer.db",
    "file:///etc/passwd",
    "runs/sizer.db",
    "postgresql://me@there/studies",
    "mysql+pymysql://there/studies",
    "redis://there",
    "journal.log",
    "<script>alert(1)</script>",
]


@pytest.mark.parametrize("typed", OUTSIDE)
def test_anything_else_is_one_line(folder: Path, typed: str) -> None:
    typed = typed.format(outside=folder.parent / "outside")
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(StudyError) as caught:
        storage_to_open(typed, own=OWN, folder=folder)
    told = str(caught.value)
    assert told.startswith(f"storage: {typed[:200]!r} is not opened from a page; accepted: ")
    assert "\n" not in told
    assert sorted(folder.parent.rglob("*")) == before


def test_what_is_opened_is_what_was_checked(folder: Path) -> None:
    """For the system this is runs/sizer.db; for SQLAlchemy, which strikes dots out first, it is outside."""
    typed = "sqlite:///near/../../sizer.db"
    assert _file_of(typed) == folder.parent / "sizer.db"
    assert _file_of(storage_to_open(typed, own=OWN, folder=folder)) == folder / "runs" / "sizer.db"


def _file_of(storage: str) -> Path:
    """The file that SQLAlchemy opens."""
    (name,), options = dialect().create_connect_args(make_url(storage))
    assert not options.get("uri")
    return Path(name)


@pytest.fixture(scope="module")
def linked() -> Path:
    """A working directory for many tries, the current one while they last."""
    top = Path(tempfile.mkdtemp()).resolve()
    (top / "here" / "a" / "b").mkdir(parents=True)
    (top / "here" / "in").symlink_to("a/b")
    (top / "here" / "out").symlink_to(top)
    return top / "here"


PARTS = ["a", "b", "in", "out", "here", "..", ".", "", "%2e%2e", "x.db", "file:", "?uri=true", "#", ":"]


@given(
    parts=st.lists(st.sampled_from(PARTS), max_size=8),
    start=st.sampled_from(
        ["sqlite:///", "sqlite:////", "sqlite:///WORK/", "sqlite:///file:WORK/", "sqlite://"]
    ),
)
def test_no_address_leads_out(linked: Path, parts: list[str], start: str) -> None:
    typed = start.replace("WORK", str(linked)) + "/".join(parts)
    try:
        storage = storage_to_open(typed, own=OWN, folder=linked)
    except StudyError:
        return
    before = Path.cwd()
    os.chdir(linked)
    try:
        assert _file_of(storage).resolve().is_relative_to(linked)
    finally:
        os.chdir(before)


def test_a_path_that_must_be_there(folder: Path) -> None:
    assert inside("near", folder, is_there=True) == folder / "runs" / "a" / "b"
    for name in ("nowhere", "far", "round", "..", "a\0b", "x" * 5000):
        assert inside(name, folder, is_there=True) is None
