"""Architectures that fill a budget as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from reports.wording import NOT_KNOWN, decode_text, outside_text, shape_text
from sizer.estimate import Estimate
from sizer.units import format_bytes, format_bytes_binary, format_count

if TYPE_CHECKING:
    from search.space.design import Design

COLUMNS = ("shape", "MLP", "parameters", "bits per weight", "file", "memory", "decode tokens/s (range)")

# beside the losses there is no room for the bits
LAW, _BITS = "expected loss (range)", COLUMNS[3]


def solve_table(found: Sequence[Estimate], *, law: Sequence[str] = ()) -> Table:
    """One row a shape, in the order given, with the loss that the law expects of each where that is given."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in (*(c for c in COLUMNS if c != _BITS), LAW) if law else COLUMNS:
        table.add_column(column, justify="left" if column == "shape" else "right", no_wrap=True)
    for number, sized in enumerate(found):
        decode = sized.latency.decode_tokens_per_s if sized.latency else None
        cells = (
            shape_text(sized.architecture),
            f"{sized.architecture.intermediate_size:,}",
            format_count(sized.parameters.total),
            *(() if law else (f"{sized.bits_per_weight:.2f}",)),
            format_bytes(sized.file.total),
            format_bytes_binary(sized.memory.total_bytes),
            decode_text(decode) if decode else NOT_KNOWN,
            *law[number : number + 1],
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def law_note(design: Design, rows: Sequence[int]) -> Text:
    """What the column of losses says, and of which of these shapes the law knows nothing."""
    ranked = design.feasible
    beyond = dict.fromkeys(term for row in rows for term in ranked.outside_of(row))
    outside = f" The law was not fitted to such a {outside_text(beyond)}." if beyond else ""
    return Text(
        f"The best of {len(ranked.shapes):,} shapes within the budget. Losses are against the first one's, "
        "all trained alike, by slopes of published models; 80 % between the ends of a range."
        f"{outside}"
    )
