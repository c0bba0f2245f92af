"""A search.store.study that holds the fixture's study, so that the pages run without a storage or optuna."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from search.store.results import SearchResult
from sizer.errors import StudyError

STORAGE = "sqlite:///runs/sizer.db"


class FakeStudies(ModuleType):
    """The functions of search.store.study that the explorer uses, over a dictionary."""

    def __init__(self, studies: dict[str, SearchResult]) -> None:
        super().__init__("search.store.study")
        self.studies = studies

    def default_storage(self) -> str:
        return STORAGE

    def list_studies(self, storage: str) -> tuple[str, ...]:
        if storage != STORAGE:
            raise StudyError(f"storage: there is no study file {storage!r} yet; `sizer search run` makes one")
        return tuple(sorted(self.studies))

    def load_result(self, name: str, storage: str) -> SearchResult:
        return self.studies[name]


@pytest.fixture
def studies(monkeypatch: pytest.MonkeyPatch, result: SearchResult) -> dict[str, SearchResult]:
    """What the pages find in the default storage; a test may change it."""
    held = {result.study: result}
    monkeypatch.setitem(sys.modules, "search.store.study", FakeStudies(held))
    return held


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIZER_STORAGE", raising=False)
    return tmp_path
