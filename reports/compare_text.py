"""Models against devices for the terminal: a matrix, or for one device a line a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from reports.wording import NOT_KNOWN, range_text, rate_text
from sizer.estimate import Estimate
from sizer.prediction import Basis, Prediction
from sizer.units import format_bytes, format_bytes_binary, format_count

FITS = {True: "fits", False: "does not fit", None: "no limit known"}
BASES = {
    Basis.MEASURED: "m measured on the device",
    Basis.FITTED: "f fitted to measurements of such devices",
    Basis.SPECIFICATION: "s from the data sheet",
}
_GAP = 2  # columns between two cells
_LEAST_CELL = 14  # "does not fit", "69.5 tokens/s f": what a cell must not break


def compare_tables(rows: Sequence[Sequence[Estimate]], width: int) -> Group:
    """Estimates `rows[model][device]` within that many columns; as many tables as the devices need."""
    first = rows[0][0]
    head = f"{first.format} on {first.runtime}, {first.memory.context_tokens:,} tokens of context"
    if len(rows[0]) == 1:
        tables = [_list(rows)]
        if first.device is not None:
            head = f"{first.device.name}{_limit(first, ', {} for a model')}; {head}"
    else:
        tables = list(_matrices(rows, width))
    return Group(Text(head), Text(), *_apart(tables), *_legend(rows))


def _apart(tables: Sequence[Table]) -> Iterator[Table | Text]:
    for table in tables:
        yield table
        yield Text()


def _list(rows: Sequence[Sequence[Estimate]]) -> Table:
    """One model a line: sizes, and what one device makes of them if there is one."""
    on_device = rows[0][0].device is not None
    more = ("fits", "decode tokens/s") if on_device else ()
    table = _table(("model", "weights", "file", "memory", *more))
    for (estimate,) in rows:
        cells = [
            estimate.architecture.name,
            format_count(estimate.parameters.total),
            format_bytes(estimate.file.total),
            format_bytes_binary(estimate.memory.total_bytes),
        ]
        if on_device:
            decode = _decode(estimate)
            speed = f"{rate_text(decode.value)} ({_range(decode)})" if decode else NOT_KNOWN
            cells += [FITS[estimate.memory.fits], f"{speed}{_letter(decode)}"]
        table.add_row(*map(Text, cells))
    return table


def _matrices(rows: Sequence[Sequence[Estimate]], width: int) -> Iterator[Table]:
    """Models down and devices across, in as many tables as the width asks for."""
    start = 0
    labels = [_label(row[0]) for row in rows]
    left = max(len(line) for label in labels for line in label)
    while start < len(rows[0]):
        stop, used = start, left
        while stop < len(rows[0]):
            used += _GAP + max(_LEAST_CELL, *(len(line) for row in rows for line in _column(row[stop])))
            if used > width and stop > start:
                break
            stop += 1
        table = _table(("model", *("\n".join(_device(e)) for e in rows[0][start:stop])), leading=1)
        for label, row in zip(labels, rows, strict=True):
            table.add_row(*(Text("\n".join(lines)) for lines in (label, *map(_cell, row[start:stop]))))
        yield table
        start = stop


def _table(headings: Sequence[str], leading: int = 0) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0), leading=leading)
    for index, heading in enumerate(headings):
        # in a list figures stand under each other; the cells of a matrix are text
        table.add_column(heading, justify="right" if index and not leading else "left", no_wrap=True)
    return table


def _label(estimate: Estimate) -> tuple[str, ...]:
    """A model and what is the same on every device."""
    return (
        f"{estimate.architecture.name}, {format_count(estimate.parameters.total)}",
        f"file {format_bytes(estimate.file.total)}",
        f"memory {format_bytes_binary(estimate.memory.total_bytes)}",
    )


def _device(estimate: Estimate) -> tuple[str, ...]:
    assert estimate.device is not None
    return estimate.device.name, _limit(estimate, "up to {}") or "no limit known"


def _column(estimate: Estimate) -> tuple[str, ...]:
    """All that stands in a column: the device's name and the cell."""
    return *_device(estimate), *_cell(estimate)


def _cell(estimate: Estimate) -> tuple[str, ...]:
    """Whether a model fits a device, its decoding speed and the speed's range."""
    decode = _decode(estimate)
    if decode is None:
        return FITS[estimate.memory.fits], "speed not known"
    return FITS[estimate.memory.fits], f"{rate_text(decode.value)} tokens/s{_letter(decode)}", _range(decode)


def _decode(estimate: Estimate) -> Prediction | None:
    return estimate.latency.decode_tokens_per_s if estimate.latency else None


def _range(prediction: Prediction) -> str:
    return range_text(prediction, rate_text)


def _letter(prediction: Prediction | None) -> str:
    return f" {prediction.basis.value[0]}" if prediction else ""


def _limit(estimate: Estimate, wording: str) -> str:
    budget = estimate.memory.budget_bytes
    return wording.format(format_bytes_binary(budget)) if budget is not None else ""


def _legend(rows: Sequence[Sequence[Estimate]]) -> Iterator[Text]:
    """What the letters mean, and which pairs do not fit."""
    speeds = [decode for row in rows for e in row if (decode := _decode(e))]
    bases = [text for basis, text in BASES.items() if any(s.basis is basis for s in speeds)]
    if bases:
        yield Text(f"Speeds are of decoding, with ranges meant to hold 80 % of the time; {'; '.join(bases)}.")
    cells = [e for row in rows for e in row]
    refused = [e for e in cells if e.memory.fits is False]
    if refused:
        yield Text(f"Does not fit: {', '.join(map(_pair, refused))}.")


def _pair(estimate: Estimate) -> str:
    name = estimate.architecture.name
    return f"{name} on {estimate.device.name}" if estimate.device else name
