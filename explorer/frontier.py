"""The page "Open a study": a search's frontier, and everything about the model that is clicked on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from explorer.folder import storage_to_open
from explorer.study_views import choose_on_frontier, show_downloads, show_model
from explorer.tiles import Tile, show_tiles
from reports.frames import trials_frame
from reports.trust_notes import trust_notes
from reports.wording import budget_texts, plain
from search.store.kept import sqlite_path
from sizer.errors import SizerError, StudyError
from sizer.units import format_count, format_seconds

if TYPE_CHECKING:
    from search.store.results import SearchResult

STORAGE, STUDY, CHART, TRIAL = "storage", "study", "frontier", "trial"

_HOW_TO = (
    "A study is what `sizer search run` leaves behind, by default in the folder `runs` of the directory it "
    "was started in. For instance, twenty small models that fit in 2 MB on a Raspberry Pi 5:\n\n"
    "```\nsizer search run --device raspberry-pi-5 --max-size 2MB --trials 20 --study first\n```\n\n"
    "Then reload this page. It can be opened while the search is still running."
)


def page() -> None:
    """Draw the page."""
    st.header("Open a study")
    chosen = _choose()
    if chosen is None:
        return
    result, storage = chosen
    _show_counts(result)
    if not result.trained:
        st.info(f"Study {plain(result.study)} has no trained model yet: {len(result.records)} trials so far.")
        return
    show_model(result, choose_on_frontier(result, chart=CHART, trial=TRIAL), key="model")
    _show_all(result, storage)


def _choose() -> tuple[SearchResult, str] | None:
    """The study chosen, and the storage that it is in."""
    # optuna is heavy and only this page needs it
    from search.store.study import default_storage, list_studies, load_result

    columns = st.columns([3, 2])
    own = default_storage()
    # another address may hold a password
    shown = own if sqlite_path(own) is not None else ""
    st.session_state.setdefault(STORAGE, st.query_params.get(STORAGE, shown))
    typed = columns[0].text_input(
        "Storage",
        key=STORAGE,
        placeholder="the storage that the explorer was started with",
        help="An SQLite file in the directory that the explorer was started in, such as "
        "sqlite:///runs/sizer.db. Another storage: start it with `sizer app --storage`.",
    )
    try:
        storage = storage_to_open(typed, own=own, folder=Path.cwd())
    except StudyError as error:
        st.error(plain(str(error)))
        return None
    try:
        names = list_studies(storage)
    except StudyError as error:
        st.info(plain(str(error)))
        st.markdown(_HOW_TO)
        return None
    if not names:
        st.info("This storage holds no study yet.")
        st.markdown(_HOW_TO)
        return None
    wanted = st.query_params.get(STUDY)
    if STUDY not in st.session_state and wanted in names:
        st.session_state[STUDY] = wanted
    name = columns[1].selectbox("Study", names, key=STUDY)
    st.query_params.from_dict({STUDY: name} | ({STORAGE: storage} if storage != own else {}))
    try:
        return load_result(name, storage), storage
    except SizerError as error:
        st.error(plain(str(error)))
        return None


def _show_counts(result: SearchResult) -> None:
    numbers = trials_frame(result)
    own = numbers[numbers["repeats_trial"].isna()]  # a repeat of an earlier candidate trained nothing
    counts = own["status"].value_counts()
    show_tiles(
        [
            Tile("Trained", f"{len(result.trained)} of {result.trials_requested}"),
            Tile("On the frontier", str(numbers["on_frontier"].sum())),
            Tile("Over the budget", str(counts.get("infeasible", 0))),
            Tile("Diverged", str(counts.get("diverged", 0))),
            Tile("Tokens", format_count(int(own["trained_tokens"].sum()))),
            Tile("Training time", format_seconds(float(own["wall_s"].sum()))),
        ]
    )
    where = " · ".join((result.device or "no device", *budget_texts(result), f"corpus {result.corpus}"))
    st.caption(plain(where))


def _show_all(result: SearchResult, storage: str) -> None:
    st.subheader("The whole study", divider="gray")
    show_downloads(result, storage, key="download")
    st.markdown("\n".join(f"- {plain(note)}" for note in trust_notes(result)))
    st.dataframe(trials_frame(result), hide_index=True, key="trials")


page()
