"""Tables of the explorer's pages: whatever is in their texts stays text, and columns are told apart."""

from __future__ import annotations

import re
from html import unescape

from explorer.tables import table_html

EVIL = "<script>alert('1')</script>"


def cells(html: str, tag: str) -> list[tuple[str, str]]:
    """Class and text of each cell."""
    return [
        (kind, unescape(text)) for kind, text in re.findall(rf"<{tag}(?: class=(\w+))?>(.*?)</{tag}>", html)
    ]


def test_texts_stay_texts() -> None:
    html = table_html((EVIL, "b"), [(EVIL, EVIL)])
    assert "<script" not in html
    assert cells(html, "th")[0] == ("left", EVIL)
    assert [text for _, text in cells(html, "td")] == [EVIL, EVIL]


def test_columns_and_rows_of_each_kind() -> None:
    html = table_html(("a", "b", "c"), [("1", "2", "3"), ("total", "5", "")], remarks=(2,), bold=(1,))
    assert [kind for kind, _ in cells(html, "td")] == ["left", "", "remark"] * 2
    first, second = html.split("<tbody>")[1].split("</tr>")[:2]
    assert first.startswith("<tr>")
    assert second.startswith("<tr class=bold>")
    assert 'class="sizer-table remarked"' in html


def test_a_wide_table_scrolls_by_keyboard_too() -> None:
    html = table_html(("a",), [("1",)])
    assert (
        '<div class="sizer-wide" tabindex="0" role="region" aria-label="table"><table class="sizer-table">'
        in html
    )
