"""A study as one HTML page that opens offline, with the same figures as CSV, Parquet and JSON beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from reports.bars import breakdown_html
from reports.breakdowns import bytes_info, memory_info, parameters_info
from reports.deployment import deployed_estimate
from reports.documents import frontier_document
from reports.exports import NO_PARQUET, PAGE_NAME, frontier_json, has_parquet, study_files, write_files
from reports.figures.frontier import frontier_figure, frontier_info
from reports.frontier_text import frontier_cells, frontier_columns
from reports.page_parts import (
    bullets,
    contents,
    definitions,
    figure_part,
    folded,
    notice,
    quiet,
    section,
    side_by_side,
    table,
    tiles,
    whole_page,
)
from reports.proxies import frontier_notes, ranked_text, ranks_carried
from reports.study_sections import (
    SHAPES,
    reproduce_section,
    rungs_section,
    shapes_section,
    trials_section,
    trust_section,
)
from reports.wording import budget_texts, shape_text
from search.law.pareto import Cost, frontier
from search.store.results import SearchResult, TrialRecord, TrialStatus
from sizer.errors import SizerError
from sizer.units import format_count, format_seconds

if TYPE_CHECKING:
    from search.run.curves import Curve

__all__ = ["ReportFiles", "frontier_json", "report_files", "report_html", "write_report"]


_TIMED = "_step_s"


class ReportFiles(NamedTuple):
    """What `write_report` wrote, and what it could not."""

    html: Path
    others: dict[str, Path]  # by name, such as frontier.csv
    notes: tuple[str, ...]


def write_report(result: SearchResult, out_dir: Path | str, curves: Sequence[Curve] = ()) -> ReportFiles:
    """Write the files of `report_files` into a directory, made if need be.

    Raises InvalidFile when the directory cannot be made or written to.
    """
    contents = {name: make() for name, make in report_files(result, curves).items()}
    written = write_files(Path(out_dir), contents)
    html = written.pop(PAGE_NAME)
    return ReportFiles(html, written, () if has_parquet() else (NO_PARQUET,))


def report_files(result: SearchResult, curves: Sequence[Curve] = ()) -> dict[str, Callable[[], bytes]]:
    """What makes each file of a report, by its name: those of `study_files`, and last the page."""
    beside = study_files(result)
    names = tuple(beside)
    return {**beside, PAGE_NAME: lambda: report_html(result, curves, files=names).encode()}


def report_html(result: SearchResult, curves: Sequence[Curve] = (), *, files: Sequence[str] = ()) -> str:
    """The whole page as text; everything that comes from the study is escaped."""
    sections = {
        "Frontier": _frontier(result),
        "Where the bytes go": _models(result),
        "How far to trust it": trust_section(result),
        "Rungs and learning curves": rungs_section(result, curves),
        SHAPES: shapes_section(result),
        "All trials": trials_section(result),
        "Run it again": reproduce_section(result, files),
    }
    links = contents([heading for heading, text in sections.items() if text])
    title = f"{result.study}: frontier of file size and accuracy"
    return whole_page(title, _head(result) + links + _asked(result) + "".join(sections.values()))


def _head(result: SearchResult) -> str:
    lead = "Which small model to train for this device and budget, and how sure that is."
    return f'<h1>{escape(result.study)}</h1>\n<p class="lead">{lead}</p>\n{_tiles(result)}'


def _asked(result: SearchResult) -> str:
    budget = "; ".join(budget_texts(result)) or "no limit"
    # what the search timed on the machine to choose how to train: no setting
    timed = {
        key: f"{format_seconds(value)} {key.removesuffix(_TIMED).replace('_', ' ')}"
        for key, value in result.settings.items()
        if key.endswith(_TIMED) and isinstance(value, float)
    }
    asked = {
        "device": result.device or "none: no speed was predicted",
        "runtime": result.runtime,
        "budget": budget,
        "corpus": f"{result.corpus} (digest {result.corpus_digest[:12]})",
        **{
            key.replace("_", " "): _setting(value)
            for key, value in result.settings.items()
            if key not in timed
        },
    }
    if timed:
        asked["a step took"] = "; ".join(timed.values())
    return section("What was asked", definitions(asked))


def _setting(value: str | int | float) -> str:
    return value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _tiles(result: SearchResult) -> str:
    # a repeat of an earlier candidate is listed below but was no trial of its own
    own = [record.status for record in result.records if record.repeats is None]
    counts = {status: own.count(status) for status in TrialStatus}
    document = frontier_document(result)
    return tiles(
        {
            "trials asked for": f"{result.trials_requested:,}",
            "trained to a score": f"{len(result.trained):,}",
            "on the frontier": f"{len(document['points']):,}",
            "over the budget, not trained": f"{counts[TrialStatus.INFEASIBLE]:,}",
            "diverged": f"{counts[TrialStatus.DIVERGED]:,}",
            "failed": f"{counts[TrialStatus.FAILED]:,}",
            "tokens trained on": format_count(document["trained_tokens"]),
            "training time": format_seconds(document["wall_s"]),
        }
    )


def _frontier(result: SearchResult) -> str:
    cells = frontier_cells(result)
    if not cells:
        return section("Frontier", notice("No trial came to a score, so there is no frontier yet."))
    one = (
        notice(
            "The frontier has one model only: it is both the smallest and the most accurate of those "
            "trained, so it says nothing about the trade between the two."
        )
        if len(cells) == 1
        else ""
    )
    by_cost = {cost: frontier_info(result, cost) for cost in Cost}
    figures = [
        notice(info.notice) if info.notice else figure_part(frontier_figure(info), f"frontier-{cost.value}")
        for cost, info in by_cost.items()
    ]
    rows = table(
        frontier_columns(result),
        cells,
        caption="Models that no other beats on both file size and accuracy, smallest first",
        text_columns=("shape", "format"),
    )
    beside = quiet(frontier_notes(result)[-1]) if ranks_carried(result) else ""
    return section("Frontier", one, figures[0], quiet(_bars(result)), beside, rows, *figures[1:])


def _bars(result: SearchResult) -> str:
    if ranks_carried(result):
        return (
            "Upright bars are the 80 % ranges of what the law of the proxies carries over to the models. "
            "Errors of neighbours go together, so that bars which overlap say little of the order, and "
            "nothing is marked as tied. Bars across are the range of a predicted speed."
        )
    return (
        "Upright bars are standard errors over the validation chunks. All models share the chunks, so that a "
        "difference is surer than the bars look: models are tied (dotted) if their paired difference is less "
        "than two standard errors. Bars across are the range of a predicted speed. Models stopped earlier "
        "are hidden, as their shorter training says nothing of how good they are; the legend shows them."
    )


def _models(result: SearchResult) -> str:
    front = frontier(result)
    if not front:
        return ""
    smallest, best = front[0], front[-1]
    chosen = {"Most accurate model": best, "Smallest model": smallest}
    if smallest.number == best.number:
        chosen = {"The frontier's model": best}
    return section("Where the bytes go", *(_model(result, title, record) for title, record in chosen.items()))


def _model(result: SearchResult, title: str, record: TrialRecord) -> str:
    shape = f"{shape_text(record.candidate.architecture)} in {record.candidate.format}"
    heading = f"<h3>{title}: trial {record.number}</h3>\n" + quiet(f"{shape}, {ranked_text(result, record)}")
    try:
        sized = deployed_estimate(result, record)
    except SizerError as error:
        # a study from elsewhere may name a device or format that this version does not know
        return heading + notice(f"No breakdown: {error}")
    figures = [
        breakdown_html(info, f"trial-{record.number}-{name}", level=4)
        for name, info in (
            ("parameters", parameters_info(sized)),
            ("file", bytes_info(sized)),
            ("memory", memory_info(sized)),
        )
    ]
    return heading + side_by_side(figures) + folded("assumptions", bullets(sized.assumptions))
