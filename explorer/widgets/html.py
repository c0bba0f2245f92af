"""Tiles and tables of the reports as elements of a page; their style sheets are in navigation.py."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import streamlit as st

from reports.html.render import asset
from reports.html.tables import table_html
from reports.html.tiles import Tile, tiles_html

_SHEETS = ("tiles", "bars", "curve", "scatter", "side", "table")


def style_sheets() -> str:
    """Return the rules of all that is drawn here."""
    return "".join(asset(f"{name}.css") for name in _SHEETS)


def show_tiles(tiles: Sequence[Tile]) -> None:
    """Draw figures side by side: one element, where Streamlit's own metrics are four messages each."""
    st.html(tiles_html(tiles))


def show_side_by_side(parts: Sequence[str], *, least_px: int) -> None:
    """Draw parts of safe HTML side by side, below one another where each would have less than `least_px`."""
    st.html(f'<div class="sizer-side" style="--least:{least_px}px">{"".join(parts)}</div>')


def show_tables(tables: Sequence[str], *, least_rem: float = 26) -> None:
    """Draw tables of safe HTML in two columns, or in one where a column would have less than `least_rem`."""
    st.html(f'<div class="sizer-newspaper" style="--least:{least_rem:g}rem">{"".join(tables)}</div>')


def show_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    text_columns: Collection[str] = (),
    wide_columns: Collection[str] = (),
    bold_rows: Collection[int] = (),
) -> None:
    """Draw a table; its first column is text as `text_columns` are."""
    text = {columns[0], *text_columns}
    st.html(table_html(columns, rows, text_columns=text, wide_columns=wide_columns, bold_rows=bold_rows))
