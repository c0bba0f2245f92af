"""Links from page to page in the same tab, with what was chosen in their address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import streamlit as st
from streamlit.errors import StreamlitAPIException

from explorer.state import said

_PAGES = Path(__file__).parents[1] / "pages"
Query = Mapping[str, str | Sequence[str]]
# What a person chose of these goes along to every page.
_CARRIED = (
    *("device", "ram", "backend", "engine", "context"),
    *("max_size", "max_memory", "min_decode", "formats"),
)


class Way(NamedTuple):
    """A link to a page, by its folder in `explorer/pages`, with parameters of its address."""

    page: str
    label: str
    query: Query = {}
    help: str = ""


def page_file(page: str) -> Path:
    """Return the whole path of a page's script: Streamlit counts others from its main script's folder."""
    return _PAGES / page / "page.py"


def show_ways(*ways: Way) -> None:
    """Draw links side by side."""
    row = st.container(horizontal=True)
    for way in ways:
        with row:
            show_way(way)


def show_way(way: Way) -> None:
    """Draw one link."""
    query = _with_said(way)
    try:
        st.page_link(
            page_file(way.page),
            label=f"{way.label} \N{RIGHTWARDS ARROW}",
            help=way.help or None,
            query_params=query,
        )
    except StreamlitAPIException:  # a page that runs without app.py, which registers the others
        st.markdown(f"[{way.label}]({address(way.page, query)})")


def address(page: str, query: Query) -> str:
    """Return the address of a page from the explorer's root."""
    return f"{page}?{urlencode(query, doseq=True)}" if query else page


def _with_said(way: Way) -> dict[str, str | list[str]]:
    """Return the parameters of a link with what was chosen on any page."""
    query = {name: text for name in _CARRIED if (text := said(name)) and name != "formats"}
    given = {k: v if isinstance(v, str) else list(v) for k, v in way.query.items()}
    return {**query, **given}
