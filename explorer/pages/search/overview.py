"""The search page's list of studies: state, device, best score, age; filter, notes, archive."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import streamlit as st

from explorer.pages.search.controls import FILTER, SHOW_ARCHIVED, SHOW_DECISIONS, STUDY, VIEW, WATCH
from explorer.pages.search.studies import known_studies, load
from explorer.widgets.controls import flag, text
from explorer.widgets.onward import Way, show_way
from reports.text.decisions import decisions_of
from reports.text.wording import NOT_KNOWN, budget_texts, escape_markdown
from search.analysis.frontier import frontier
from search.analysis.ranking import ranking
from search.run.launch import Activity, activity
from search.store.remarks import StudyRemarks, read_remarks, write_remarks
from sizer.errors import SizerError
from sizer.units import format_seconds

if TYPE_CHECKING:
    from search.store.results import SearchResult

COLUMNS = ("study", "state", "device", "budget", "trained", "frontier", "best bits per byte", "age", "note")
DECISIONS = "decisions settled"
_TABLE, _NOTE, _ERROR = "search_list", "search_note", "search_list_error"


def overview(storage: str) -> None:
    """Draw the view."""
    names = known_studies(storage)
    if not names:
        st.info("There is no study yet: start a search in the view Start.")
        return
    left, middle, right = st.columns([4, 1, 1], vertical_alignment="bottom")
    with left:
        wanted = text(FILTER, placeholder="part of a name, state, device or note")
    with middle:
        archived = flag(SHOW_ARCHIVED)
    with right:
        decided = flag(SHOW_DECISIONS)
    rows = [row for row in study_rows(names, storage, with_archived=archived) if _matches(row, wanted)]
    if not rows:
        st.info(f"None of the {len(names)} studies: all are left out by the filter or archived.")
        return
    table = {column: [row[place] for row in rows] for place, column in enumerate(COLUMNS)}
    if decided:
        with st.spinner("Weighing the decisions"):
            table[DECISIONS] = [_settled(row[0], storage) for row in rows]
    st.dataframe(table, hide_index=True, key=_TABLE, on_select="rerun", selection_mode="single-row")
    st.caption("Click a column's head to sort by it; choose a row to open it, note something, or archive it.")
    if message := st.session_state.pop(_ERROR, None):
        st.error(escape_markdown(message))
    event: Any = st.session_state.get(_TABLE)
    chosen = [rows[place][0] for place in (event["selection"]["rows"] if event else []) if place < len(rows)]
    if chosen:
        _show_chosen(chosen[0], storage)


def study_rows(names: tuple[str, ...], storage: str, *, with_archived: bool) -> list[tuple[str, ...]]:
    """Return a row of text for each study, in the order of COLUMNS; running ones first, then by age."""
    found = []
    for name in names:
        remarks = read_remarks(name, storage)
        if remarks.is_archived and not with_archived:
            continue
        now = activity(name, storage)
        try:
            result = load(name, storage)[1]
        except SizerError:  # started and not yet stored, or stored by another version
            result = None
        written = now.live.written_at_s if now.live is not None else None
        row = (name, _state(now, result), *_figures(result), _age(written), _shown_note(remarks))
        found.append((now.owner is None, -(written or 0.0), row))
    return [row for *_, row in sorted(found, key=lambda one: one[:2])]


def _state(now: Activity, result: SearchResult | None) -> str:
    if now.owner is not None:
        return "starting" if now.is_starting else "running"
    if now.state is not None:
        return now.state.value
    return "not running" if result is not None else NOT_KNOWN


def _figures(result: SearchResult | None) -> tuple[str, ...]:
    """Return device, budget, models trained, models on the frontier and the best score."""
    if result is None:
        return (NOT_KNOWN,) * 5
    ranked = ranking(result)
    best = min((ranked.scores[record.number].bits_per_byte for record in ranked.records), default=None)
    return (
        result.device or "no device",
        ", ".join(budget_texts(result)) or "no limit",
        f"{len(result.trained)} of {result.trials_requested}",
        str(len(frontier(result))),
        NOT_KNOWN if best is None else f"{best:.4f}",
    )


def _settled(name: str, storage: str) -> str:
    """Return how many decisions a study settles; not known while it runs, or with too few models."""
    if activity(name, storage).owner is not None:
        return NOT_KNOWN
    try:
        result = load(name, storage)[1]
    except SizerError:
        return NOT_KNOWN
    return _counted(name, storage, runs_of(result), result)


def runs_of(result: SearchResult) -> int:
    """Return how many runs a study has: decisions change with each, not with models alone."""
    return sum(len(record.runs) for record in result.trained)


@st.cache_data(max_entries=200, show_spinner=False)
def _counted(name: str, storage: str, runs: int, _result: SearchResult) -> str:
    found = decisions_of(_result)
    return NOT_KNOWN if found is None else f"{len(found.settled)} of {len(found.decisions)}"


def _age(written_at_s: float | None) -> str:
    return NOT_KNOWN if written_at_s is None else format_seconds(max(1.0, round(time.time() - written_at_s)))


def _shown_note(remarks: StudyRemarks) -> str:
    return f"(archived) {remarks.note}".strip() if remarks.is_archived else remarks.note


def _matches(row: tuple[str, ...], wanted: str) -> bool:
    return all(word in " ".join(row).lower() for word in wanted.lower().split())


def _show_chosen(name: str, storage: str) -> None:
    remarks = read_remarks(name, storage)
    st.subheader(escape_markdown(name), divider="gray")
    key = f"{_NOTE}_{name}"
    st.text_area("Note", remarks.note, key=key, height=80)
    row = st.container(horizontal=True, vertical_alignment="center")
    row.button("Open", type="primary", key="search_open", on_click=_open, args=(name,))
    row.button("Save the note", key="search_save_note", on_click=_save, args=(name, storage, key))
    label = "Take out of the archive" if remarks.is_archived else "Archive"
    row.button(label, key="search_archive", on_click=_archive, args=(name, storage, remarks))
    with row:
        show_way(Way("study", "Results", {"study": name}))


def _open(name: str) -> None:
    st.session_state.update({VIEW.key: WATCH, STUDY.key: name})


def _save(name: str, storage: str, key: str) -> None:
    before = read_remarks(name, storage)
    _write(name, storage, StudyRemarks(note=st.session_state[key], is_archived=before.is_archived))


def _archive(name: str, storage: str, before: StudyRemarks) -> None:
    _write(name, storage, StudyRemarks(note=before.note, is_archived=not before.is_archived))


def _write(name: str, storage: str, remarks: StudyRemarks) -> None:
    try:
        write_remarks(name, storage, remarks)
    except SizerError as error:
        st.session_state[_ERROR] = str(error)
