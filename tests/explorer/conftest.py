"""What tests of the explorer share: a study without a storage or optuna, and a real browser."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import pytest

from explorer.served.guard import TOKEN_VARIABLE
from search.store.results import SearchResult
from sizer.errors import StudyError
from tests.explorer.in_browser import chromium, fresh_page, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]
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


class Explorer(NamedTuple):
    """A server of the explorer: its address, and the directory that it was started in."""

    address: str
    folder: Path


@pytest.fixture(scope="session")
def explorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explorer]:
    """One server for all tests that write nothing, started where the example studies are and no others.

    A new server imports every page once more, which takes longer than most tests.
    """
    folder = tmp_path_factory.mktemp("explorer") / "here"
    folder.mkdir()
    shutil.copy(ROOT / "docs" / "studies.db", folder / "studies.db")
    apart = {"SIZER_STORAGE", TOKEN_VARIABLE}
    environment = {name: value for name, value in os.environ.items() if name not in apart}
    log = folder.parent / "server.log"
    with served(ROOT / "app.py", folder, log, environment=environment) as address:
        yield Explorer(address, folder)
    # nothing was written where the server ran
    assert [file.name for file in folder.iterdir()] == ["studies.db"]


@pytest.fixture(scope="session")
def address(explorer: Explorer) -> str:
    """Address of the server that tests share."""
    return explorer.address


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
