"""Versions: read without loading packages; the commit of a checkout, and whether files differ from it."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import search.store.versions
from search.store.versions import commit_of, versions
from sizer import __version__


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), "-c", "user.name=n", "-c", "user.email=e@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


def test_names_and_versions() -> None:
    found = versions()
    assert found["sizer"].startswith(__version__)
    assert found["python"] == platform.python_version()
    assert (found["torch"], found["optuna"]) == (version("torch"), version("optuna"))


def test_a_package_that_is_missing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(search.store.versions, "version", missing)
    assert set(versions()) == {"sizer", "python"}


def test_commit_of_a_checkout(tmp_path: Path) -> None:
    assert commit_of(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert commit_of(tmp_path) is None  # nothing committed yet
    (tmp_path / "file").write_text("one", encoding="utf-8")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-qm", "one")
    commit = git(tmp_path, "rev-parse", "HEAD")[:12]
    assert commit_of(tmp_path) == commit
    (tmp_path / "file").write_text("two", encoding="utf-8")
    assert commit_of(tmp_path) == f"{commit} with changes"
    # a folder inside somebody else's checkout has no commit of its own
    (tmp_path / "inner").mkdir()
    assert commit_of(tmp_path / "inner") is None


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(tmp_path) is None
