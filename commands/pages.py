"""Pages that commands write: an estimate's with the command that asked for it, a study's with its images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from commands.console import notice

if TYPE_CHECKING:
    from reports.html.study_page import ReportFiles
    from search.store.results import SearchResult
    from sizer.model_estimate import Estimate
    from sizer.training import TrainingMemory


def write_estimate_page(estimate: Estimate, path: str, training: TrainingMemory | None) -> None:
    """Write an estimate's page and print where on stderr."""
    from reports.html.estimate_page import write_estimate

    write_estimate(estimate, Path(path), training=training, arguments=_arguments())
    notice(f"page: {path}")


def _arguments() -> list[str]:
    """Return the arguments of this command without its output file; none if called otherwise."""
    given = sys.argv[1:]
    if not given or given[0] != "estimate":
        return []
    kept = [text for text in given if text != "--json" and not text.startswith("--html=")]
    if "--html" in kept:
        place = kept.index("--html")
        del kept[place : place + 2]
    return kept


def write_study_files(
    result: SearchResult, storage: str, out_dir: str | None, *, images: bool = False
) -> ReportFiles:
    """Write a study's page and its files, and images where asked for and a browser is found."""
    from reports.html.study_page import write_report
    from search.run.learning_curves import read_curves
    from search.store.folders import study_folder

    folder = Path(out_dir) if out_dir is not None else study_folder(result.study, storage)
    curves = read_curves(result.study, storage)
    files = write_report(result, folder, curves)
    if images:
        from reports.export.images import write_images

        drawn, notes = write_images(result, curves, files.html)
        files = files._replace(others=files.others | drawn, notes=(*files.notes, *notes))
    return files
