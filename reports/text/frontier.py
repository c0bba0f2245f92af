"""A study's frontier as a table for the terminal."""

from __future__ import annotations

from reports.text.scaled_proxies import (
    EXTRAPOLATED_COLUMN,
    extrapolated_text,
    ranks_extrapolated,
    score_cells,
    score_columns,
)
from reports.text.text_table import Column, TextTable
from reports.text.wording import NOT_KNOWN, decode_text, shape_text
from search.analysis.frontier import frontier
from search.analysis.ranking import are_scaled, extrapolation_of
from search.config.objectives import Objective
from search.store.results import SearchResult, TrialRecord
from sizer.runtimes import runtime as runtime_by_name
from sizer.units import format_bytes, format_count

_COLUMNS = ("trial", "shape", "format", "file", "parameters", "decode tokens/s (range)")
_LEFT_COLUMNS = ("shape", "format")


def frontier_columns(result: SearchResult) -> tuple[str, ...]:
    """Return headings of the frontier; of scaled proxies the score that ranks comes first."""
    extra = (EXTRAPOLATED_COLUMN,) if are_scaled(result) and not ranks_extrapolated(result) else ()
    return (*_COLUMNS, *_cost_columns(result), *score_columns(result), "steps", *extra)


def _shown_apart(result: SearchResult) -> tuple[Objective, ...]:
    """Return the study's objectives that no other column has."""
    return tuple(cost for cost in result.objectives if cost not in (Objective.BYTES, Objective.DECODE))


def _cost_columns(result: SearchResult) -> tuple[str, ...]:
    cache = ("KV cache",) if any(r.candidate.cache_type for r in result.records) else ()
    return (*cache, *(cost.label for cost in _shown_apart(result)))


def _cost_cells(result: SearchResult, record: TrialRecord) -> tuple[str, ...]:
    usual = runtime_by_name(result.runtime).cache_types[0]
    cache = (record.candidate.cache_type or usual,) if _cost_columns(result)[:1] == ("KV cache",) else ()
    values = [(cost, record.cost(cost)) for cost in _shown_apart(result)]
    return (*cache, *(NOT_KNOWN if value is None else cost.text(value) for cost, value in values))


def frontier_cells(result: SearchResult) -> tuple[tuple[str, ...], ...]:
    """Return one row of text a model, in the order of `frontier_columns`; smallest file first."""
    rows = _cells(result)
    if not are_scaled(result) or ranks_extrapolated(result):
        return rows
    found = extrapolation_of(result)
    predictions = {} if found is None else found.predictions
    return tuple((*row, extrapolated_text(predictions.get(int(row[0])))) for row in rows)


def _cells(result: SearchResult) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            str(record.number),
            shape_text(record.candidate.architecture),
            record.candidate.format,
            format_bytes(record.file_bytes),
            format_count(record.num_parameters),
            decode_text(record.decode_tokens_per_s),
            *_cost_cells(result, record),
            *score_cells(result, record),
            f"{record.proxy.steps:,}" if record.proxy else NOT_KNOWN,
        )
        for record in frontier(result)
    )


def frontier_table(result: SearchResult) -> TextTable:
    """Return the frontier as a table, smallest file first; a narrow terminal shows a block a model."""
    return TextTable(
        title=f"Frontier of study {result.study}",
        caption="" if result.trained else "no model has been trained yet",
        columns=tuple(
            Column(
                name=column.replace(" (", "\n(").replace(" ±", "\n±"),
                right=column not in _LEFT_COLUMNS,
                is_key=column in ("trial", *_LEFT_COLUMNS),
                drop={"steps": 1, "parameters": 2}.get(column, 0),
            )
            for column in frontier_columns(result)
        ),
        rows=frontier_cells(result),
    )
