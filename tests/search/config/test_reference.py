"""The tables of docs/search.md are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.config.config import TABLES
from search.config.reference import axes_table, settings_table

PAGE = (Path(__file__).resolve().parents[3] / "docs/search.md").read_text(encoding="utf-8")


def test_the_page_lists_every_axis() -> None:
    assert f"\n{axes_table()}\n" in PAGE


@pytest.mark.parametrize("table", TABLES)
def test_the_page_lists_every_setting(table: str) -> None:
    assert f"\n{settings_table(table)}\n" in PAGE
