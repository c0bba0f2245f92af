"""Tiles and tables of the reports as elements of a page, with their style sheets."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import streamlit as st

from reports.html.render import styled
from reports.html.tables import table_html
from reports.html.tiles import Tile, tiles_html


def show_tiles(tiles: Sequence[Tile]) -> None:
    """Draw figures side by side: one element, where Streamlit's own metrics are four messages each."""
    st.html(styled("tiles", tiles_html(tiles)))


def show_side_by_side(parts: Sequence[str], *, style: str, least_px: int) -> None:
    """Draw parts of safe HTML side by side, below one another where each would have less than `least_px`."""
    frame = f'<div class="sizer-side" style="--least:{least_px}px">{"".join(parts)}</div>'
    st.html(styled("side", styled(style, frame)))


def show_tables(tables: Sequence[str], *, least_rem: float = 26) -> None:
    """Draw tables of safe HTML in two columns, or in one where a column would have less than `least_rem`."""
    frame = f'<div class="sizer-newspaper" style="--least:{least_rem:g}rem">{"".join(tables)}</div>'
    st.html(styled("side", styled("table", frame)))


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
    table = table_html(columns, rows, text_columns=text, wide_columns=wide_columns, bold_rows=bold_rows)
    st.html(styled("table", table))
