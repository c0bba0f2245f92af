"""Every page leads on, also where it has nothing to show: no study yet, no shape within the budget."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from search.store.results import SearchResult
from tests.explorer.app_pages import fine, links_of

# Addresses of pages that have no answer.
WITHOUT_ANSWER = {
    "compare": {"models": "nosuch"},
    "design": {"max_size": "1KB", "formats": "Q8_0"},
    "users": {"start": "a known model", "model": "mamba-130m"},
}


def pages(root: Path) -> list[str]:
    """Folders of the pages, as the navigation lists them."""
    tree = ast.parse((root / "explorer" / "served" / "navigation.py").read_text(encoding="utf-8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    found = [call.args[0] for call in calls if call.func.attr == "Page"]  # type: ignore[attr-defined]
    return [ast.unparse(path).split("'")[1] for path in found]


PAGES = pages(Path(__file__).parents[2])


def opened(root: Path, page: str, **query: str) -> AppTest:
    test = AppTest.from_file(str(root / "explorer" / "pages" / page / "page.py"), default_timeout=120)
    for name, value in query.items():
        test.query_params[name] = value
    return fine(test.run())


@pytest.mark.parametrize("name", PAGES)
def test_a_first_visit_leads_to_other_pages(root: Path, folder: Path, name: str) -> None:
    assert links_of(opened(root, name))


@pytest.mark.parametrize("view", ["Start", "Studies", "Watch", "Compare"])
def test_every_view_of_a_search_leads_on(root: Path, folder: Path, view: str) -> None:
    links = links_of(opened(root, "search", view=view, device="pixel-8a", max_size="3MB"))
    assert "device=pixel-8a" in links["See the best shapes without training"]
    assert "max_size=3MB" in links["See the best shapes without training"]


@pytest.mark.parametrize("name", WITHOUT_ANSWER)
def test_a_page_without_an_answer_leads_on(root: Path, folder: Path, name: str) -> None:
    page = opened(root, name, **WITHOUT_ANSWER[name])
    assert page.error or page.warning
    assert links_of(page)


def test_a_study_leads_to_a_search_of_its_budget(
    root: Path, studies: dict[str, SearchResult], result: SearchResult
) -> None:
    links = links_of(opened(root, "study"))
    assert "max_size=" in links["Search this budget again"]
    assert "view=Start" in links["Search this budget again"]
    assert f"engine={result.runtime}" in links["Search this budget again"]
