"""Pages in an AppTest, and what they show."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

from streamlit.testing.v1 import AppTest

STORAGE = "sqlite:///runs/sizer.db"
_TILE = re.compile(r'<dt>(.*?)</dt><dd class="value">(.*?)</dd>')


def search_page(root: Path) -> AppTest:
    """The page, not yet run."""
    return AppTest.from_file(str(root / "explorer" / "searches.py"), default_timeout=60)


def fine(page: AppTest) -> AppTest:
    assert not page.exception
    return page


def html(page: AppTest) -> str:
    return "\n".join(str(block.proto.body) for block in page.get("html"))


def command(page: AppTest) -> str:
    return str(fine(page).code[0].value)


def figures(page: AppTest) -> dict[str, str]:
    """Headline figures by label."""
    return {unescape(label): unescape(value) for label, value in _TILE.findall(html(fine(page)))}
