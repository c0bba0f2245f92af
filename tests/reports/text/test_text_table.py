"""Tables for the terminal: nothing that is typed elsewhere is cut, whatever the width."""

from __future__ import annotations

import pytest

from reports.text.text_table import Column, TextTable

TABLE = TextTable(
    title="Things",
    caption="a caption",
    columns=(
        Column(name="name", is_key=True),
        Column(name="size", right=True),
        Column(name="speed\n(range)", right=True),
        Column(name="remark", drop=1),
    ),
    rows=(
        ("a-rather-long-name", "2 MB", "111 (77.6 to 160)", "one of many words"),
        ("short", "12.5 MB", "9", ""),
    ),
)


def test_all_columns_where_they_fit() -> None:
    assert TABLE.lines(70) == [
        "Things",
        "                                         speed",
        "name                   size            (range)  remark",
        "──────────────────  ───────  ─────────────────  ─────────────────",
        "a-rather-long-name     2 MB  111 (77.6 to 160)  one of many words",
        "short               12.5 MB                  9",
        "a caption",
    ]


def test_a_narrow_terminal_breaks_ranges_then_leaves_columns_out() -> None:
    assert TABLE.lines(62)[2:6] == [
        "name                   size        (range)  remark",
        "──────────────────  ───────  ─────────────  ─────────────────",
        "a-rather-long-name     2 MB            111  one of many words",
        "                             (77.6 to 160)",
    ]
    narrow = TABLE.lines(45)
    assert narrow[-1] == "In a wider terminal: remark."
    assert "a-rather-long-name     2 MB            111" in narrow


def test_a_terminal_too_narrow_for_a_row_gets_a_block_with_everything() -> None:
    assert TABLE.lines(30) == [
        "Things",
        "a-rather-long-name",
        "  size 2 MB; speed (range) 111",
        "  (77.6 to 160); remark one of",
        "  many words",
        "short",
        "  size 12.5 MB; speed (range)",
        "  9",
        "a caption",
    ]


@pytest.mark.parametrize("width", range(20, 80))
def test_no_line_is_wider_than_the_terminal_and_no_name_is_cut(width: int) -> None:
    lines = TABLE.lines(width)
    assert max(map(len, lines)) <= width
    assert sum("a-rather-long-name" in line for line in lines) == 1
