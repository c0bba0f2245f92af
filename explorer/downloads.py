"""Files of a study that a page offers: those of `sizer search report`, each made only when asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import PurePath
from typing import NamedTuple

from reports.exports import PAGE_NAME
from reports.page import report_files
from search.run.curves import Curve, read_curves
from search.store.results import SearchResult
from sizer.errors import StudyError

# How an ending is called, and the type that a browser is told.
_KINDS = {
    ".html": ("HTML", "text/html"),
    ".csv": ("CSV", "text/csv"),
    ".parquet": ("Parquet", "application/vnd.apache.parquet"),
    ".json": ("JSON", "application/json"),
    ".toml": ("TOML", "application/toml"),
}
# Of a study's name, in a file's: four bytes a letter and the file's own name stay below 255 bytes.
_MOST_LETTERS = 48


class Download(NamedTuple):
    """One file: what its button says, what it is called, and what makes it."""

    label: str
    file_name: str
    mime: str
    make: Callable[[], bytes]


def study_downloads(result: SearchResult, storage: str) -> tuple[Download, ...]:
    """The report's page, then the tables beside it; nothing is made or read yet."""
    names = sorted(report_files(result), key=lambda name: name != PAGE_NAME)
    return tuple(_download(result, storage, name) for name in names)


def download_name(study: str, name: str) -> str:
    """A file's name with the study's before it, of letters, digits and ._- alone, whatever that holds.

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
    curves: tuple[Curve, ...] = ()
    if name == PAGE_NAME:
        with suppress(StudyError):  # a name that is a path, as only other programs give, has no folder
            curves = read_curves(result.study, storage)
    return report_files(result, curves)[name]()
