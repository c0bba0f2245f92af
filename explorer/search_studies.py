"""Which studies the search page knows, and what they hold, read anew only when the storage has changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from reports.trust_notes import trust_notes
from reports.trust_text import trust_line
from search.run.launch import activity, launched_studies
from search.store.kept import sqlite_path
from search.trust.trust import RungTrust, rung_trust
from sizer.errors import StudyError

if TYPE_CHECKING:
    from search.space.config import SearchConfig
    from search.store.results import SearchResult

# Keys of the session that views hand to each other, and names of the views.
VIEW, STUDY = "search_view", "search_study"
START, WATCH, COMPARE = "Start", "Watch", "Compare"
# A storage that is no file is asked again after this many seconds.
_AGE_S = 2.0


def stored_studies(storage: str) -> tuple[str, ...]:
    """Names of the studies in the storage; none before the first search has made it."""
    from search.store.study import list_studies  # optuna is heavy: other pages do without

    try:
        return list_studies(storage)
    except StudyError:
        return ()


def known_studies(storage: str) -> tuple[str, ...]:
    """Names of the studies in the storage, and of those begun in the background that never came there."""
    return tuple(sorted({*stored_studies(storage), *launched_studies(storage)}))


def never_stored(study: str, storage: str) -> bool:
    """Whether a study was begun in the background, and ended without coming to the storage."""
    begun = study in launched_studies(storage) and study not in stored_studies(storage)
    return begun and activity(study, storage).owner is None


def taken_names(storage: str) -> tuple[str, ...]:
    """Names that a new study cannot have."""
    begun = (name for name in launched_studies(storage) if activity(name, storage).owner is not None)
    return tuple(sorted({*stored_studies(storage), *begun}))


def next_name(names: tuple[str, ...]) -> str:
    """The next free search-N, as the command line would choose."""
    return next(f"search-{n}" for n in range(1, len(names) + 2) if f"search-{n}" not in names)


def load(study: str, storage: str) -> tuple[SearchConfig, SearchResult]:
    """A study's configuration and everything it holds; SizerError where it cannot be read."""
    return _loaded(study, storage, _version(storage))


@st.cache_resource(max_entries=16, show_spinner=False)
def _loaded(study: str, storage: str, version: object) -> tuple[SearchConfig, SearchResult]:
    from search.store.study import open_study

    opened = open_study(study, storage)
    return opened.config, opened.result()


class Trust(NamedTuple):
    """How far a study's ranking can be believed: the comparisons, their verdict, and what else to know."""

    reports: tuple[RungTrust, ...]
    line: str
    notes: tuple[str, ...]


def trust_of(study: str, storage: str) -> Trust:
    """Trust in a study, worked out anew only when the storage has changed: it draws thousands of samples."""
    return _trust(study, storage, _version(storage))


@st.cache_resource(max_entries=16, show_spinner=False)
def _trust(study: str, storage: str, version: object) -> Trust:
    result = _loaded(study, storage, version)[1]
    return Trust(rung_trust(result), trust_line(result), trust_notes(result))


def _version(storage: str) -> object:
    """Something that differs when the storage may hold more than before."""
    path = sqlite_path(storage)
    if path is None:
        return int(time.monotonic() / _AGE_S)
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
