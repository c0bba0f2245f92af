"""Headline figures in a row: one element, where tiles of Streamlit's own are four messages each."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import streamlit as st

# Text has the colour of the page around it; light-dark() follows the theme, as Streamlit sets color-scheme.
_STYLE = """<style>
div dl.sizer-tiles { display: grid; grid-template-columns: repeat(var(--tiles), minmax(0, 1fr));
  gap: .8rem 1rem; margin: 0 0 .6rem; padding: 0; }
.sizer-tiles > div { min-width: 0; }
.sizer-tiles :is(dt, dd) { margin: 0; padding: 0; font-size: .875rem; font-weight: 400; line-height: 1.4; }
.sizer-tiles dd.value { font-size: 2rem; line-height: 1.3; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; font-variant-numeric: tabular-nums; }
.sizer-tiles dd.remark { opacity: .85; overflow-wrap: anywhere; }
.sizer-tiles dd.good { opacity: 1; color: light-dark(#176437, #6fdc9a); }
.sizer-tiles dd.bad { opacity: 1; color: light-dark(#a3202f, #ff8f98); }
@media (max-width: 1000px) { div dl.sizer-tiles { grid-template-columns: repeat(3, minmax(0, 1fr)); } }
@media (max-width: 640px) { div dl.sizer-tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .sizer-tiles dd.value { font-size: 1.7rem; } }
</style>"""


class Tile(NamedTuple):
    """A figure with its name above it and its range or remark below."""

    label: str
    value: str
    remark: str = ""
    is_good: bool | None = None  # colours the remark; None: as the rest


def show_tiles(tiles: Sequence[Tile]) -> None:
    """Draw the figures side by side, two abreast on a phone; texts are shown as they are."""
    st.html(tiles_html(tiles))


def tiles_html(tiles: Sequence[Tile]) -> str:
    """A list of figures as safe HTML."""
    return f'{_STYLE}<dl class="sizer-tiles" style="--tiles:{len(tiles)}">{"".join(map(_tile, tiles))}</dl>'


def _tile(tile: Tile) -> str:
    remark = ""
    if tile.remark:
        kind = "" if tile.is_good is None else " good" if tile.is_good else " bad"
        remark = f'<dd class="remark{kind}">{escape(tile.remark)}</dd>'
    return f'<div><dt>{escape(tile.label)}</dt><dd class="value">{escape(tile.value)}</dd>{remark}</div>'
