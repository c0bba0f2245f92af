"""Studies of the search page's storage and their results, read again only when the storage has changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import streamlit as st

from explorer.widgets.study_views import Reliability
from reports.text.trust import trust_line
from reports.text.trust_notes import trust_notes
from search.analysis.reliability import rung_trust
from search.run.launch import activity, launched_studies
from search.store.fallback_files import sqlite_path
from sizer.errors import StudyError

if TYPE_CHECKING:
    from search.config.config import SearchConfig
    from search.store.results import SearchResult

# A storage that is no file is read again after this many seconds.
_AGE_S = 2.0


def stored_studies(storage: str) -> tuple[str, ...]:
    """Return names of the studies in the storage; none before the first search has created it."""
    from search.store.study import list_studies  # optuna is heavy: other pages do not load it

    try:
        return list_studies(storage)
    except StudyError:
        return ()


def known_studies(storage: str) -> tuple[str, ...]:
    """Return names of the studies in the storage, and of searches that started but were never stored."""
    return tuple(sorted({*stored_studies(storage), *launched_studies(storage)}))


def never_stored(study: str, storage: str) -> bool:
    """Return True if a search was started in the background and ended before it was stored."""
    started = study in launched_studies(storage) and study not in stored_studies(storage)
    return started and activity(study, storage).owner is None


def taken_names(storage: str) -> tuple[str, ...]:
    """Return names that a new study cannot have."""
    running = (name for name in launched_studies(storage) if activity(name, storage).owner is not None)
    return tuple(sorted({*stored_studies(storage), *running}))


def next_name(names: tuple[str, ...]) -> str:
    """Return the next free search-N, as the command line chooses it."""
    return next(f"search-{n}" for n in range(1, len(names) + 2) if f"search-{n}" not in names)


def load(study: str, storage: str) -> tuple[SearchConfig, SearchResult]:
    """Return a study's configuration and result; SizerError if it cannot be read."""
    return _loaded(study, storage, _version(storage))


@st.cache_resource(max_entries=16, show_spinner=False)
def _loaded(study: str, storage: str, version: object) -> tuple[SearchConfig, SearchResult]:
    from search.store.study import open_study

    opened = open_study(study, storage)
    return opened.config, opened.result()


def reliability_of(study: str, storage: str) -> Reliability:
    """Return the reliability of a study's ranking, cached until the storage changes: it takes long."""
    return _reliability(study, storage, _version(storage))


@st.cache_resource(max_entries=16, show_spinner=False)
def _reliability(study: str, storage: str, version: object) -> Reliability:
    result = _loaded(study, storage, version)[1]
    return Reliability(rung_trust(result), trust_line(result), trust_notes(result))


def _version(storage: str) -> object:
    """Return a value that changes when the storage may have changed."""
    path = sqlite_path(storage)
    if path is None:
        return int(time.monotonic() / _AGE_S)
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
