"""What a report says of a study besides its frontier: rungs, trust, what accuracy depends on, all trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports.figures.depth import depth_info
from reports.figures.importance import importance_info
from reports.figures.rungs import losses_info, rungs_info, training_figure
from reports.page_parts import (
    bullets,
    code,
    definitions,
    figure_part,
    folded,
    notice,
    quiet,
    section,
    side_by_side,
    table,
)
from reports.proxies import score_cells, score_columns
from reports.reproduce import TOML_NAME, reproduce_commands, search_toml, version_texts
from reports.rung_text import OUTCOME_COLUMNS, RUNG_COLUMNS, outcome_cells, rung_cells
from reports.study_figures import compared_cohort, shape_figures
from reports.trust_notes import trust_notes
from reports.trust_text import TAU_ROW, trust_columns, trust_line, trust_rows
from reports.wording import NOT_KNOWN, rate_text, shape_text
from search.law.importance import importances
from search.law.pareto import frontier
from search.store.results import SearchResult, TrialRecord
from search.trust.rung_history import rung_history
from search.trust.trust import rung_trust
from sizer.errors import SizerError
from sizer.units import format_bytes, format_count

if TYPE_CHECKING:
    from search.run.curves import Curve

SHAPES = "Shapes and formats"
_TRIAL_COLUMNS = (
    "trial",
    "status",
    "shape",
    "format",
    "file",
    "parameters",
    "decode tokens/s",
)


def rungs_section(result: SearchResult, curves: Sequence[Curve]) -> str:
    """Rungs as a table and as lines over steps, why models went on, and learning curves."""
    history = rung_history(result)
    if not history:
        return ""
    scores, losses = rungs_info(result), losses_info(result, curves)
    drawn = [] if len(history) < 2 else [figure_part(training_figure(scores), "rungs")]
    if losses.lines:
        drawn.append(figure_part(training_figure(losses), "curves"))
    else:
        drawn.append(quiet(losses.notice))
    outcomes = table(
        OUTCOME_COLUMNS,
        outcome_cells(result, history),
        caption="Every model at every rung",
        text_columns=("shape", "why", "goes on"),
    )
    rungs = table(
        RUNG_COLUMNS,
        rung_cells(history),
        caption="Who trained on, and why",
        text_columns=("why",),
        wide_columns=("why",),
    )
    alone = quiet("All models were trained for one length: nobody was stopped.") if len(history) < 2 else ""
    return section(
        "Rungs and learning curves", alone, rungs, *drawn, folded("every model at every rung", outcomes)
    )


def trust_section(result: SearchResult) -> str:
    """What to know before believing the order of the models, in sentences and as a table."""
    reports = rung_trust(result)
    measured = (
        table(
            trust_columns(reports),
            trust_rows(reports),
            caption=f"Order of short runs against longer ones, 80 % intervals: {trust_line(result)}",
            text_columns=("measure",),
            marked=[row[0] == TAU_ROW for row in trust_rows(reports)],
        )
        if reports
        else ""
    )
    return section("How far to trust it", bullets(trust_notes(result)), measured)


def shapes_section(result: SearchResult) -> str:
    """What the scores depend on: importance, every model's line, depth at one size, formats."""
    if compared_cohort(result) is None:
        return ""
    try:
        figures = shape_figures(result)
        effects = importance_info(importances(result))
    except SizerError as error:
        # a study from elsewhere may name a format or runtime that this version does not know
        return section(SHAPES, notice(f"Shapes cannot be compared: {error}"))
    depth = depth_info(result, compared_cohort(result))
    method = (
        "A model takes over one feature from another, all else as it is; the bar is by how much its bits per "
        "byte then change, by the quality law fitted to these models (root mean square over pairs of models, "
        "with the sign of more of that feature). The interval holds 80 % of the laws that the models leave "
        "open; grey: it has 0 in it."
    )
    wide = [
        figure_part(figures[name], name, wide=name == "parallel")
        for name in ("parallel", "depth")
        if name in figures
    ]
    small = [figure_part(figure, name) for name, figure in figures.items() if name.startswith("format-")]
    return section(
        SHAPES,
        notice(effects.notice)
        if effects.notice
        else figure_part(figures["importance"], "importance") + quiet(method),
        *wide,
        quiet(depth.notice) if depth.notice else "",
        side_by_side(small),
    )


def trials_section(result: SearchResult) -> str:
    """Every trial, those that were never trained too."""
    on_front = {record.number for record in frontier(result)}
    records = sorted(result.records, key=lambda record: record.number)
    bold = ", models on the frontier in bold" if on_front else ""
    return section(
        "All trials",
        table(
            (*_TRIAL_COLUMNS, *score_columns(result), "remark"),
            [_trial_cells(result, record) for record in records],
            caption=f"{len(records)} trials{bold}",
            text_columns=("shape", "format", "status", "remark"),
            wide_columns=("remark",),
            marked=[record.number in on_front for record in records],
        ),
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


def reproduce_section(result: SearchResult, files: Sequence[str]) -> str:
    """Commands, configuration and versions; and the files beside the page."""
    parts = []
    if result.config is not None:
        toml = search_toml(result.config, result.corpus_digest)
        parts += [
            code(reproduce_commands(result), "Commands"),
            folded(TOML_NAME, code(toml, TOML_NAME)),
        ]
    parts.append(definitions(version_texts(result)))
    parts.append(
        quiet(
            "The same configuration, text and versions ask for the same models; scores can differ in the "
            "last digits from machine to machine."
        )
    )
    if files:
        parts.append(quiet(f"Beside this page: {', '.join(files)}."))
    return section("Run it again", *parts)
