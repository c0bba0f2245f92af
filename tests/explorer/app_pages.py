"""Pages in an AppTest, and what they show."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from streamlit.testing.v1 import AppTest

from tests.reports.html.html_reader import HtmlReader

STORAGE = "sqlite:///runs/sizer.db"


class _Terms(HTMLParser):
    """Terms of definition lists, each with its first definition."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.pairs: list[list[str]] = []
        self._tag = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        if tag == "dt":
            self.pairs.append([""])
        elif tag == "dd":
            self.pairs[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._tag in ("dt", "dd"):
            self.pairs[-1][-1] += data


def search_page(root: Path) -> AppTest:
    """The page, not yet run."""
    return AppTest.from_file(str(root / "explorer" / "pages" / "search" / "page.py"), default_timeout=60)


def fine(page: AppTest) -> AppTest:
    assert not page.exception
    return page


def html(page: AppTest) -> str:
    return "\n".join(str(block.proto.body) for block in page.get("html"))


def text(page: AppTest) -> str:
    """Text of the page's HTML, with single spaces."""
    return HtmlReader(html(fine(page))).text


def rows(page: AppTest) -> list[tuple[str, ...]]:
    """Rows of all the page's tables."""
    return [tuple(row) for table in HtmlReader(html(fine(page))).tables for row in table]


def command(page: AppTest) -> str:
    return str(fine(page).code[0].value)


def figures(page: AppTest) -> dict[str, str]:
    """Headline figures by label."""
    return {label: value for label, value, *_ in _Terms(html(fine(page))).pairs}


def links_of(page: AppTest) -> dict[str, str]:
    """Links to other pages by label, as a page that runs without app.py has them: in Markdown."""
    found = (re.fullmatch(r"\[([^]]+)\]\((.*)\)", block.value) for block in fine(page).markdown)
    return {link[1]: link[2] for link in found if link is not None}
