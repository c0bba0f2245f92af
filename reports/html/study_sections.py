"""What each section of a study's page shows: tables, figures and texts, by the names its template uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from reports.figures.breakdowns import bytes_info, memory_info, parameters_info
from reports.figures.depth import depth_info
from reports.figures.frontier import frontier_figure, frontier_info
from reports.figures.importance import importance_info
from reports.figures.rungs import losses_info, rungs_info, training_figure
from reports.figures.study import compared_cohort, shape_figures
from reports.html.bars import breakdown_html
from reports.html.page import figure_html
from reports.html.tables import table_html
from reports.text.common_model import common_model_text
from reports.text.decisions import COLUMNS, decision_cells, decision_lines, decisions_of, noise_line
from reports.text.frontier import frontier_cells, frontier_columns
from reports.text.rerun import TOML_NAME, reproduce_commands, search_toml, version_texts
from reports.text.rungs import OUTCOME_COLUMNS, RUNG_COLUMNS, outcome_cells, rung_cells
from reports.text.scaled_proxies import (
    frontier_notes,
    ranked_text,
    ranks_extrapolated,
    score_cells,
    score_columns,
)
from reports.text.trust import TAU_ROW, trust_columns, trust_line, trust_rows
from reports.text.trust_notes import trust_notes
from reports.text.wording import NOT_KNOWN, rate_text, shape_text
from search.analysis.frontier import drawn_costs, frontier
from search.analysis.importance import importances
from search.analysis.reliability import rung_trust
from search.analysis.rung_history import rung_history
from search.store.results import SearchResult, TrialRecord
from sizer.errors import SizerError
from sizer.units import format_bytes, format_count

if TYPE_CHECKING:
    from search.run.learning_curves import LearningCurve

# Values of a section by their names in the template; empty: the section is left out.
_Values = Mapping[str, Any]
_TRIAL_COLUMNS = ("trial", "status", "shape", "format", "file", "parameters", "decode tokens/s")


def frontier_section(result: SearchResult) -> _Values:
    """Return the figure of each cost and the frontier as a table."""
    cells = frontier_cells(result)
    figures = []
    for cost in drawn_costs(result):
        info = frontier_info(result, cost)
        drawn = "" if info.notice else figure_html(frontier_figure(info), f"frontier-{cost.key}")
        figures.append({"notice": info.notice, "drawn": drawn})
    return {
        "count": len(cells),
        "devices": common_model_text(result),
        "note": frontier_notes(result)[-1] if ranks_extrapolated(result) else "",
        "figures": figures,
        "table": table_html(
            frontier_columns(result),
            cells,
            caption="Models that no other beats on both costs and accuracy, cheapest first",
            text_columns=("shape", "format"),
        ),
    }


def decisions_section(result: SearchResult) -> _Values:
    """Return the first decisions as lines and all of them as a table; empty where too little was trained."""
    found = decisions_of(result)
    if found is None:
        return {}
    count, *lines = decision_lines(found)
    return {
        "count": count,
        "lines": [line.strip() for line in lines],
        "table": table_html(
            COLUMNS,
            decision_cells(found),
            caption=f"{len(found.decisions)} decisions, the surest first",
            text_columns=("decision", "basis"),
            bold_rows=[place for place, one in enumerate(found.decisions) if one.settled],
        ),
        "noise": noise_line(found),
    }


def models_section(result: SearchResult) -> list[_Values]:
    """Return the breakdowns of the most accurate and of the smallest model of the frontier."""
    front = frontier(result)
    if not front:
        return []
    if len({record.number for record in (front[0], front[-1])}) == 1:
        return [_model(result, "The frontier's model", front[0])]
    return [_model(result, "Most accurate model", front[-1]), _model(result, "Smallest model", front[0])]


def _model(result: SearchResult, title: str, record: TrialRecord) -> _Values:
    shape = f"{shape_text(record.candidate.architecture)} in {record.candidate.format}"
    values = {"title": title, "trial": record.number, "text": f"{shape}, {ranked_text(result, record)}"}
    try:
        sized = result.deployment(record)
    except SizerError as error:
        # a study from elsewhere may name a device or format that this version does not know
        return {**values, "error": str(error)}
    infos = {"parameters": parameters_info, "file": bytes_info, "memory": memory_info}
    figures = [
        breakdown_html(info(sized), f"trial-{record.number}-{name}", level=4) for name, info in infos.items()
    ]
    return {**values, "error": "", "figures": figures, "assumptions": sized.assumptions}


def rungs_section(result: SearchResult, curves: Sequence[LearningCurve]) -> _Values:
    """Return rungs as a table and as lines over steps, why models were promoted, and learning curves."""
    history = rung_history(result)
    if not history:
        return {}
    losses = losses_info(result, curves)
    lines = {"rungs": rungs_info(result)} if len(history) > 1 else {}
    lines |= {"curves": losses} if losses.lines else {}
    return {
        "count": len(history),
        "figures": [figure_html(training_figure(info), name) for name, info in lines.items()],
        "notice": "" if losses.lines else losses.notice,
        "table": table_html(
            RUNG_COLUMNS,
            rung_cells(history),
            caption="Models promoted to the next rung, and why",
            text_columns=("why",),
            wide_columns=("why",),
        ),
        "outcomes": table_html(
            OUTCOME_COLUMNS,
            outcome_cells(result, history),
            caption="Every model at every rung",
            text_columns=("shape", "why", OUTCOME_COLUMNS[-2]),
        ),
    }


def trust_section(result: SearchResult) -> _Values:
    """Return what to know before believing the order of the models, as sentences and as a table."""
    reports = rung_trust(result)
    rows = trust_rows(reports)
    table = table_html(
        trust_columns(reports),
        rows,
        caption=f"Order of short runs against longer ones, 80 % intervals: {trust_line(result)}",
        text_columns=("measure",),
        bold_rows=[place for place, row in enumerate(rows) if row[0] == TAU_ROW],
    )
    return {"notes": trust_notes(result), "table": table if reports else ""}


def shapes_section(result: SearchResult) -> _Values:
    """Return what the scores depend on: importance, every model's line, depth at one size, formats."""
    cohort = compared_cohort(result)
    if cohort is None:
        return {}
    try:
        figures = shape_figures(result)
        effects = importance_info(importances(result))
    except SizerError as error:
        # a study from elsewhere may name a format or runtime that this version does not know
        return {"error": str(error)}
    drawn = {name: figure_html(figure, name, is_wide=name == "parallel") for name, figure in figures.items()}
    return {
        "error": "",
        "notice": effects.notice,
        "importance": drawn.get("importance", ""),
        "wide": [drawn[name] for name in ("parallel", "depth") if name in drawn],
        "depth_notice": depth_info(result, cohort).notice,
        "small": [figure for name, figure in drawn.items() if name.startswith("format-")],
    }


def trials_table(result: SearchResult) -> Markup:
    """Return every trial, those that were never trained too."""
    on_front = {record.number for record in frontier(result)}
    records = sorted(result.records, key=lambda record: record.number)
    bold = ", models on the frontier in bold" if on_front else ""
    rows = [_trial_cells(result, record) for record in records]
    columns = (*_TRIAL_COLUMNS, *score_columns(result), "remark")
    if not any(row[-1] for row in rows):  # an empty column would take the room of the others
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return table_html(
        columns,
        rows,
        caption=f"{len(records)} trials{bold}",
        text_columns=("shape", "format", "status", "remark"),
        wide_columns=("remark",),
        bold_rows=[place for place, record in enumerate(records) if record.number in on_front],
    )


def _trial_cells(result: SearchResult, record: TrialRecord) -> tuple[str, ...]:
    reasons = list(record.violations)
    if record.repeats is not None:
        reasons.append(f"same as trial {record.repeats}")
    return (
        str(record.number),
        record.status.value,
        shape_text(record.candidate.architecture),
        record.candidate.format,
        format_bytes(record.file_bytes),
        format_count(record.num_parameters),
        rate_text(record.decode_tokens_per_s.value) if record.decode_tokens_per_s else NOT_KNOWN,
        *score_cells(result, record),
        "; ".join(reasons),
    )


def rerun_section(result: SearchResult) -> _Values:
    """Return commands, configuration and versions that run the study again."""
    config = result.config
    return {
        "commands": reproduce_commands(result),
        "toml_name": TOML_NAME,
        "toml": "" if config is None else search_toml(config, result.corpus_digest),
        "versions": version_texts(result),
    }
