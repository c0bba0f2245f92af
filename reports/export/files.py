"""Files next to a report: a study's tables as CSV and Parquet, its frontier as JSON, its search as TOML."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from reports.export.documents import frontier_document
from reports.tables.study import frontier_frame, runs_frame, trials_frame
from reports.text.rerun import TOML_NAME, search_toml
from search.store.results import SearchResult
from sizer.atomic_write import atomic_write
from sizer.errors import InvalidFile

if TYPE_CHECKING:
    import pandas as pd

    _MakeFrame = Callable[[SearchResult], pd.DataFrame]

PAGE_NAME = "report.html"
NO_PARQUET = "no Parquet files: pyarrow is not installed (pip install 'sizer[parquet]')"


def frontier_json(result: SearchResult) -> str:
    """Return the frontier document as indented JSON text."""
    return json.dumps(frontier_document(result), indent=2, allow_nan=False) + "\n"


def study_files(result: SearchResult) -> dict[str, Callable[[], bytes]]:
    """Return a function for each file of a study's tables, by file name; Parquet only with pyarrow."""
    frames: dict[str, _MakeFrame] = {
        "frontier": frontier_frame,
        "trials": trials_frame,
        "runs": runs_frame,
    }
    files: dict[str, Callable[[], bytes]] = {"frontier.json": lambda: frontier_json(result).encode()}
    for name, frame in frames.items():
        files[f"{name}.csv"] = partial(_csv, frame, result)
        if has_parquet():
            files[f"{name}.parquet"] = partial(_parquet, frame, result)
    config = result.config
    if config is not None:
        files[TOML_NAME] = lambda: search_toml(config, result.corpus_digest).encode()
    return files


def has_parquet() -> bool:
    """Return whether Parquet files can be written."""
    return find_spec("pyarrow") is not None


def _csv(frame: _MakeFrame, result: SearchResult) -> bytes:
    return frame(result).to_csv(index=False).encode()


def _parquet(frame: _MakeFrame, result: SearchResult) -> bytes:
    out = BytesIO()
    frame(result).to_parquet(out, index=False)
    return out.getvalue()


def write_files(folder: Path, contents: Mapping[str, bytes]) -> dict[str, Path]:
    """Write files into a directory, made if need be; a reader never sees half of one.

    Raises InvalidFile when the directory cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            with atomic_write(folder / name) as file:
                file.write(content)
    except OSError as error:
        raise InvalidFile(
            f"out: cannot write to {str(folder)!r}: {error.strerror or error}; "
            "accepted: a directory you may write to, or a new one in such a directory"
        ) from None
    return {name: folder / name for name in contents}
