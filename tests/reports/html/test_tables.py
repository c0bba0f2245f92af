"""Tables of a page: texts stay texts, and a table wider than the page scrolls by keyboard too."""

from __future__ import annotations

from reports.html.tables import table_html
from tests.reports.html.html_reader import HtmlReader

EVIL = "<script>alert('1')</script>"


def test_texts_stay_texts() -> None:
    page = HtmlReader(table_html((EVIL, "b"), [(EVIL, "1"), ("total", EVIL)], caption=EVIL))
    assert page.tables == [[[EVIL, "b"], [EVIL, "1"], ["total", EVIL]]]
    assert page.captions == [EVIL]
    assert not any(tag == "script" for tag, _ in page.tags)


def test_a_wide_table_scrolls_by_keyboard_too() -> None:
    for caption in ("Sizes & speeds", ""):
        (frame,) = (
            attributes
            for tag, attributes in HtmlReader(table_html(("a",), [("1",)], caption=caption)).tags
            if tag == "div"
        )
        assert (frame["tabindex"], frame["role"]) == ("0", "region")
        assert frame["aria-label"] == (caption or "table")
