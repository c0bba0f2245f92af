"""Models against devices as a table for the terminal: one row a model, one column a device."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from reports.wording import NOT_KNOWN, decode_text
from sizer.estimate import Estimate
from sizer.units import format_bytes, format_bytes_binary, format_count

_FITS = {True: "fits", False: "does not fit", None: "no budget known"}


def compare_table(rows: Sequence[Sequence[Estimate]]) -> Table:
    """Table of estimates `rows[model][device]`; without devices each row holds one estimate without any."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in ("model", "parameters", "format", "file", "memory"):
        left = heading in ("model", "format")
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for estimate in rows[0]:
        if estimate.device is not None:
            table.add_column(f"{estimate.device.name}\ndecode tokens/s", justify="right")
    for row in rows:
        table.add_row(*(Text(cell) for cell in _cells(row)))
    return table


def _cells(row: Sequence[Estimate]) -> tuple[str, ...]:
    first = row[0]
    return (
        first.architecture.name,
        format_count(first.parameters.total),
        first.format,
        format_bytes(first.file.total),
        format_bytes_binary(first.memory.total_bytes),
        *(_on_device(estimate) for estimate in row if estimate.device is not None),
    )


def _on_device(estimate: Estimate) -> str:
    speed = decode_text(estimate.latency.decode_tokens_per_s) if estimate.latency else NOT_KNOWN
    return f"{speed}\n{_FITS[estimate.memory.fits]}"
