"""The page "Search": start a search in the background, watch, stop and resume it, compare studies."""

from __future__ import annotations

import streamlit as st

from explorer.pages.search.compare import compare_view
from explorer.pages.search.controls import COMPARE, LIST, START, STATE, STUDY, VIEW, WATCH
from explorer.pages.search.overview import overview
from explorer.pages.search.start import start_view
from explorer.pages.search.studies import known_studies
from explorer.pages.search.watch import watch_view
from explorer.widgets.onward import Way, show_ways
from search.run.launch import activity

_VIEWS = {START: start_view, LIST: overview, WATCH: watch_view, COMPARE: compare_view}


def page() -> None:
    """Draw the page; only studies of the storage that the explorer was started with are opened."""
    from search.store.storage import default_storage

    st.header("Search")
    if "study" in st.query_params and "view" not in st.query_params:
        st.query_params["view"] = WATCH
    elif not st.query_params and VIEW.key not in st.session_state:
        _open_what_runs(default_storage())
    STATE.load()
    st.segmented_control(
        VIEW.label,
        VIEW.options,
        key=VIEW.key,
        required=True,
        label_visibility="collapsed",
        persist_state="session",
    )
    _VIEWS[st.session_state[VIEW.key]](default_storage())
    STATE.save()
    st.subheader("What next", divider="gray")
    show_ways(
        Way("design", "See the best shapes without training"),
        Way("study", "Results of finished searches"),
        Way("size", "Size a model"),
    )


def _open_what_runs(storage: str) -> None:
    """Open the search that is running, for a person who comes back to the page."""
    running = [name for name in known_studies(storage) if activity(name, storage).owner is not None]
    if running:
        st.query_params.from_dict({"view": WATCH, STUDY.key.removeprefix(STATE.prefix): running[-1]})


page()
