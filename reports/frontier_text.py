"""A study's frontier as a table for the terminal."""

from __future__ import annotations

from io import StringIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from reports.proxies import CARRIED_COLUMN, carried_text, ranks_carried, score_cells, score_columns
from reports.wording import NOT_KNOWN, decode_text, shape_text
from search.law.pareto import frontier
from search.law.scores import are_scaled, carried
from search.store.results import SearchResult
from sizer.units import format_bytes, format_count

_COLUMNS = ("trial", "shape", "format", "file", "parameters", "decode tokens/s (range)")
_LEFT_COLUMNS = ("shape", "format")


def frontier_columns(result: SearchResult) -> tuple[str, ...]:
    """Headings of the frontier, with the score that ranks before any other of a study of scaled proxies."""
    beside = (CARRIED_COLUMN,) if are_scaled(result) and not ranks_carried(result) else ()
    return (*_COLUMNS, *score_columns(result), "steps", *beside)


def frontier_cells(result: SearchResult) -> tuple[tuple[str, ...], ...]:
    """The frontier as text, one row per model, in the order of `frontier_columns`; smallest file first."""
    rows = _cells(result)
    if not are_scaled(result) or ranks_carried(result):
        return rows
    found = carried(result)
    predictions = {} if found is None else found.predictions
    return tuple((*row, carried_text(predictions.get(int(row[0])))) for row in rows)


def _cells(result: SearchResult) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            str(record.number),
            shape_text(record.candidate.architecture),
            record.candidate.format,
            format_bytes(record.file_bytes),
            format_count(record.num_parameters),
            decode_text(record.decode_tokens_per_s),
            *score_cells(result, record),
            f"{record.proxy.steps:,}" if record.proxy else NOT_KNOWN,
        )
        for record in frontier(result)
    )


def frontier_table(result: SearchResult) -> Table:
    """The frontier as a rich table, smallest file first."""
    table = Table(
        title=Text(f"Frontier of study {result.study}"),
        caption=None if result.trained else "no model has been trained yet",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        title_justify="left",
    )
    for column in frontier_columns(result):
        left = column in _LEFT_COLUMNS
        heading = column.replace(" (", "\n(").replace(" ±", "\n±")
        table.add_column(heading, justify="left" if left else "right", no_wrap=not left)
    for cells in frontier_cells(result):
        table.add_row(*(Text(cell) for cell in cells))
    return table


def plain_text(renderable: RenderableType, width: int) -> str:
    """A rich renderable as text without colours or trailing blanks, ending in a newline."""
    out = StringIO()
    Console(file=out, width=width, color_system=None, legacy_windows=False).print(renderable)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
