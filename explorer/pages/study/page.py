"""The page "Results": a study's frontier, and the details of the model that is clicked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from explorer.pages.study.trials import show_trials
from explorer.state import Choice, PageState, Text
from explorer.widgets.allowed_paths import storage_to_open
from explorer.widgets.controls import choice, text
from explorer.widgets.decision_views import show_decisions
from explorer.widgets.device_choice import device_query
from explorer.widgets.html import show_tiles
from explorer.widgets.limits import size_text
from explorer.widgets.onward import Way, show_ways
from explorer.widgets.study_views import choose_on_frontier, show_downloads, show_export, show_model
from reports.html.tiles import Tile
from reports.tables.study import trials_frame
from reports.text.answer import answer_texts
from reports.text.trust import trust_line, trust_sentence
from reports.text.trust_notes import trust_notes
from reports.text.wording import budget_texts, escape_markdown
from search.store.fallback_files import sqlite_path
from sizer.devices.catalogue import load_devices, name_parts
from sizer.errors import SizerError, StudyError
from sizer.units import format_count, format_seconds

if TYPE_CHECKING:
    from search.store.results import SearchResult

CHART, TRIAL = "frontier", "trial"
KEYS = "study_"
STUDY = Text(f"{KEYS}study", "Study", "")
STORAGE = Text(
    f"{KEYS}storage",
    "Storage",
    "",
    "An SQLite file in the directory that the explorer was started in, such as sqlite:///runs/sizer.db. "
    "Another storage: start it with `sizer app --storage`.",
)

_HOW_TO = (
    "`sizer search run` writes a study, by default to the folder `runs` of the directory that it is started "
    "in. For instance, twenty small models that fit in 2 MB on a Raspberry Pi 5:\n\n"
    "```\nsizer search run --device raspberry-pi-5 --max-size 2MB --trials 20 --study first\n```\n\n"
    "Then reload this page. It can be opened while the search is still running."
)


def page() -> None:
    """Draw the page."""
    st.header("Results")
    chosen = _choose()
    if chosen is None:
        return
    result, storage = chosen
    _show_answer(result)
    decisions = st.container()
    _show_counts(result)
    if not result.trained:
        st.info(
            f"Study {escape_markdown(result.study)} has no trained model yet: "
            f"{len(result.records)} trials so far."
        )
        _show_ways_onward(result, storage)
        return
    chosen_model = choose_on_frontier(result, chart=CHART, trial=TRIAL)
    show_model(result, chosen_model, key="model")
    show_export(result, chosen_model, storage, key="export")
    _show_all(result, storage)
    _show_ways_onward(result, storage)
    show_decisions(result, decisions)


def _choose() -> tuple[SearchResult, str] | None:
    """Return the chosen study and its storage."""
    # optuna is heavy and only this page needs it
    from search.store.storage import default_storage
    from search.store.study import list_studies, load_result

    columns = st.columns([3, 2])
    own = default_storage()
    # another address may hold a password
    shown = own if sqlite_path(own) is not None else ""
    page_state = PageState(prefix=KEYS, controls=(STORAGE._replace(first=shown), STUDY))
    page_state.load()
    with columns[0]:
        typed = text(STORAGE, placeholder="the storage that the explorer was started with")
    try:
        storage = storage_to_open(typed, own=own, folder=Path.cwd())
    except StudyError as error:
        st.error(escape_markdown(str(error)))
        return None
    try:
        names = list_studies(storage)
    except StudyError as error:
        st.info(escape_markdown(str(error)))
        _show_how_to()
        return None
    if not names:
        st.info("This storage holds no study yet.")
        _show_how_to()
        return None
    if st.session_state[STUDY.key] not in names:
        st.session_state[STUDY.key] = names[0]
    with columns[1]:
        name = choice(Choice(STUDY.key, STUDY.label, names[0], names))
    page_state.save(**{STORAGE.key: shown if storage == own else storage})
    try:
        return load_result(name, storage), storage
    except SizerError as error:
        st.error(escape_markdown(str(error)))
        return None


def _show_answer(result: SearchResult) -> None:
    """Draw what the study found and how far its ranking can be believed, before any number."""
    for sentence in answer_texts(result):
        st.markdown(f"**{escape_markdown(sentence)}**")
    if result.trained:
        st.warning(escape_markdown(trust_sentence(trust_line(result))))


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
    st.caption(escape_markdown(where))


def _show_how_to() -> None:
    """Draw where studies come from, and links to pages that need none."""
    st.markdown(_HOW_TO)
    show_ways(
        Way("search", "Start a search", {"view": "Start"}),
        Way("design", "See the best shapes without training"),
    )


def _show_ways_onward(result: SearchResult, storage: str) -> None:
    """Draw links to the study on the search page, which has the explorer's own storage alone."""
    from search.store.storage import default_storage

    own = (
        Way("search", "Watch, resume or extend it", {"study": result.study}),
        Way("search", "Compare with other studies", {"view": "Compare", "studies": [result.study]}),
    )
    again = Way("search", "Search this budget again", {"view": "Start", **_budget_query(result)})
    st.subheader("What next", divider="gray")
    show_ways(*(own if storage == default_storage() else ()), again)


def _budget_query(result: SearchResult) -> dict[str, str]:
    """Return a study's device, runtime and limits as parameters of the search page's address."""
    found = {"engine": result.runtime}
    if result.device is not None and name_parts(result.device)[0] in load_devices():
        found |= device_query(result.device)
    for name, field in (("max_size", "max_size_bytes"), ("max_memory", "max_memory_bytes")):
        if (limit := result.budget.get(field)) is not None:
            found[name] = size_text(int(limit))
    if (rate := result.budget.get("min_decode_tokens_per_s")) is not None:
        found["min_decode"] = f"{rate:g}"
    return found


def _show_all(result: SearchResult, storage: str) -> None:
    st.subheader("Whole study", divider="gray")
    show_downloads(result, storage, key="download")
    st.markdown("\n".join(f"- {escape_markdown(note)}" for note in trust_notes(result)))
    show_trials(result, TRIAL)


page()
