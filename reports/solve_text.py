"""Architectures that fill a budget as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from reports.wording import NOT_KNOWN, decode_text, shape_text
from sizer.estimate import Estimate
from sizer.units import format_bytes, format_bytes_binary, format_count

COLUMNS = ("shape", "MLP", "parameters", "bits per weight", "file", "memory", "decode tokens/s (range)")


def solve_table(found: Sequence[Estimate]) -> Table:
    """One row a shape, in the order given."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "shape" else "right", no_wrap=True)
    for sized in found:
        decode = sized.latency.decode_tokens_per_s if sized.latency else None
        cells = (
            shape_text(sized.architecture),
            f"{sized.architecture.intermediate_size:,}",
            format_count(sized.parameters.total),
            f"{sized.bits_per_weight:.2f}",
            format_bytes(sized.file.total),
            format_bytes_binary(sized.memory.total_bytes),
            decode_text(decode) if decode else NOT_KNOWN,
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table
