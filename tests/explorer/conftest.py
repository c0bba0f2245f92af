"""What tests of the explorer share: a study without a storage or optuna, and a real browser."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from search.store.results import SearchResult
from sizer.errors import StudyError
from tests.explorer.in_browser import chromium, fresh_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

STORAGE = "sqlite:///runs/sizer.db"


class FakeStudies(ModuleType):
    """The functions of search.store.study that the explorer uses, over a dictionary."""

    def __init__(self, studies: dict[str, SearchResult]) -> None:
        super().__init__("search.store.study")
        self.studies = studies

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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for all tests of a module."""
    with chromium() as launched:
        yield launched


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page; a request that leaves this machine, or an error of its console, fails the test."""
    with fresh_page(browser) as opened:
        yield opened
