"""Downloads of a study: the files of `sizer search report`, each made when its button is clicked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import PurePath
from typing import NamedTuple

from reports.export.files import PAGE_NAME
from reports.html.study_page import report_files
from search.run.learning_curves import LearningCurve, read_curves
from search.store.results import SearchResult
from sizer.errors import StudyError

# Name of a file type, and its media type.
_KINDS = {
    ".html": ("HTML", "text/html"),
    ".csv": ("CSV", "text/csv"),
    ".parquet": ("Parquet", "application/vnd.apache.parquet"),
    ".json": ("JSON", "application/json"),
    ".toml": ("TOML", "application/toml"),
}
# Of a study's name in a file name: at four bytes a letter the file name stays below 255 bytes.
_MOST_LETTERS = 48


class Download(NamedTuple):
    """One file: label of its button, file name, media type, and the function that makes it."""

    label: str
    file_name: str
    mime: str
    make: Callable[[], bytes]


def study_downloads(result: SearchResult, storage: str) -> tuple[Download, ...]:
    """Return the report's page, then its tables; nothing is made or read yet."""
    names = sorted(report_files(result), key=lambda name: name != PAGE_NAME)
    return tuple(_download(result, storage, name) for name in names)


def download_name(study: str, name: str) -> str:
    """Return a file name that starts with the study's name, reduced to letters, digits and ._-.

    >>> download_name("../<b>pi 5</b>", "report.html")
    'b-pi-5-b-report.html'
    """
    words = "".join(c if c.isalnum() or c in "._" else " " for c in study).split()
    kept = "-".join(words)[:_MOST_LETTERS].strip("-._")
    return f"{kept or 'study'}-{name}"


def _download(result: SearchResult, storage: str, name: str) -> Download:
    path = PurePath(name)
    kind, mime = _KINDS[path.suffix]
    label = f"{path.stem.capitalize()} ({kind})"
    return Download(label, download_name(result.study, name), mime, partial(_make, result, storage, name))


def _make(result: SearchResult, storage: str, name: str) -> bytes:
    curves: tuple[LearningCurve, ...] = ()
    if name == PAGE_NAME:
        with suppress(StudyError):  # a name that is a path, as only other programs give, has no folder
            curves = read_curves(result.study, storage)
    return report_files(result, curves)[name]()
