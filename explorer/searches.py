"""The page "Search": begin a search in the background, watch it, stop it, go on with it, compare studies."""

from __future__ import annotations

import streamlit as st

from explorer.search_compare import compare_view
from explorer.search_start import LINKED, has_new_link, start_view
from explorer.search_studies import COMPARE, START, VIEW, WATCH
from explorer.search_watch import watch_view

_VIEWS = {START: start_view, WATCH: watch_view, COMPARE: compare_view}


def page() -> None:
    """Draw the page; only studies of the storage that the explorer was started with are opened."""
    from search.store.study import default_storage

    st.header("Search")
    if has_new_link():
        st.session_state[VIEW] = START
    elif VIEW not in st.session_state:
        st.session_state[VIEW] = _first_view()
    st.segmented_control(
        "View", tuple(_VIEWS), key=VIEW, required=True, label_visibility="collapsed", persist_state="session"
    )
    view = st.session_state[VIEW]
    _forget_others(view)
    _VIEWS[view](default_storage())


def _first_view() -> str:
    """What the address asks for."""
    asked = st.query_params.get("view")
    if asked in _VIEWS:
        return asked
    return WATCH if "study" in st.query_params else START


def _forget_others(view: str) -> None:
    """Keep the address to what the view shows: a link to it then opens the same."""
    keeps = {START: tuple(LINKED), WATCH: ("study",), COMPARE: ("studies",)}[view]
    kept = {name: st.query_params.get_all(name) for name in keeps if name in st.query_params}
    wanted = kept | ({"view": [view]} if view != START else {})
    if wanted != {name: st.query_params.get_all(name) for name in st.query_params}:
        st.query_params.from_dict(wanted)


page()
