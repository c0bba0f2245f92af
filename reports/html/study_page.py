"""A study as one HTML page that opens offline, with the same figures as CSV, Parquet and JSON files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from reports.export.documents import frontier_document
from reports.export.files import NO_PARQUET, PAGE_NAME, frontier_json, has_parquet, study_files, write_files
from reports.html.page import page_html
from reports.html.study_sections import (
    decisions_section,
    frontier_section,
    models_section,
    rerun_section,
    rungs_section,
    shapes_section,
    trials_table,
    trust_section,
)
from reports.html.tiles import Tile, tiles_html
from reports.text.answer import answer_texts
from reports.text.trust import trust_line, trust_sentence
from reports.text.wording import budget_texts
from search.store.results import SearchResult, TrialStatus
from sizer.units import format_count, format_seconds

if TYPE_CHECKING:
    from search.run.learning_curves import LearningCurve

__all__ = ["ReportFiles", "frontier_json", "report_files", "report_html", "write_report"]


_TIMED = "_step_s"
_HEADINGS = {
    "decisions": "Decisions",
    "frontier": "Frontier",
    "models": "Where the bytes go",
    "trust": "How far to trust it",
    "rungs": "Rungs and learning curves",
    "shapes": "Shapes and formats",
    "trials": "All trials",
    "rerun": "Run it again",
}


class ReportFiles(NamedTuple):
    """What `write_report` wrote, and what it could not."""

    html: Path
    others: dict[str, Path]  # by name, such as frontier.csv
    notes: tuple[str, ...]


def write_report(
    result: SearchResult, out_dir: Path | str, curves: Sequence[LearningCurve] = ()
) -> ReportFiles:
    """Write the files of `report_files` into a directory, made if need be.

    Raises InvalidFile when the directory cannot be made or written to.
    """
    contents = {name: make() for name, make in report_files(result, curves).items()}
    written = write_files(Path(out_dir), contents)
    html = written.pop(PAGE_NAME)
    return ReportFiles(html, written, () if has_parquet() else (NO_PARQUET,))


def report_files(
    result: SearchResult, curves: Sequence[LearningCurve] = ()
) -> dict[str, Callable[[], bytes]]:
    """Return a function for each file of a report, by file name: those of `study_files`, then the page."""
    tables = study_files(result)
    names = tuple(tables)
    return {**tables, PAGE_NAME: lambda: report_html(result, curves, files=names).encode()}


def report_html(
    result: SearchResult, curves: Sequence[LearningCurve] = (), *, files: Sequence[str] = ()
) -> str:
    """Return the whole page; every text that comes from the study is escaped."""
    sections = {
        "decisions": decisions_section(result),
        "frontier": frontier_section(result),
        "models": models_section(result),
        "trust": trust_section(result),
        "rungs": rungs_section(result, curves),
        "shapes": shapes_section(result),
        "trials": trials_table(result),
        "rerun": rerun_section(result),
    }
    return page_html(
        "study.html",
        title=f"{result.study}: frontier of file size and accuracy",
        study=result.study,
        answer=answer_texts(result),
        verdict=trust_sentence(trust_line(result)) if result.trained else "",
        tiles=_tiles(result),
        headings=[_HEADINGS[name] for name, values in sections.items() if values],
        asked=_asked(result),
        files=files,
        **sections,
    )


def _asked(result: SearchResult) -> dict[str, str]:
    budget = "; ".join(budget_texts(result)) or "no limit"
    # step times are no settings: the search measured them on the machine to choose how to train
    timed = {
        key: f"{format_seconds(value)} {key.removesuffix(_TIMED).replace('_', ' ')}"
        for key, value in result.settings.items()
        if key.endswith(_TIMED) and isinstance(value, float)
    }
    settings = {
        key.replace("_", " "): _setting(value) for key, value in result.settings.items() if key not in timed
    }
    return {
        "device": result.device or "none: no speed was predicted",
        "runtime": result.runtime,
        "budget": budget,
        "corpus": f"{result.corpus} (digest {result.corpus_digest[:12]})",
        **settings,
    } | ({"a step took": "; ".join(timed.values())} if timed else {})


def _setting(value: str | int | float) -> str:
    return value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _tiles(result: SearchResult) -> Markup:
    # a repeat of an earlier candidate is listed below but was not a separate trial
    own = [record.status for record in result.records if record.repeats is None]
    counts = {status: own.count(status) for status in TrialStatus}
    document = frontier_document(result)
    figures = {
        "trained": f"{len(result.trained):,} of {result.trials_requested:,}",
        "on the frontier": f"{len(document['points']):,}",
        "over the budget, not trained": f"{counts[TrialStatus.INFEASIBLE]:,}",
        "diverged": f"{counts[TrialStatus.DIVERGED]:,}",
        "failed": f"{counts[TrialStatus.FAILED]:,}",
        "tokens trained on": format_count(document["trained_tokens"]),
        "training time": format_seconds(document["wall_s"]),
    }
    return tiles_html([Tile(label, value) for label, value in figures.items()])
