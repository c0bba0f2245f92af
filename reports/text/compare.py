"""Models against devices for the terminal: a matrix, or for one device a line a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from reports.text.solve import quality_columns
from reports.text.text_table import Column, TextTable
from reports.text.wording import NOT_KNOWN, limit_bytes_text, range_text, rate_text
from sizer.model_estimate import Estimate
from sizer.prediction import Basis, Prediction
from sizer.units import format_bytes, format_bytes_binary, format_count

if TYPE_CHECKING:
    from sizer.quality.prediction import Quality

FITS = {True: "fits", False: "does not fit", None: "no limit known"}
BASES = {
    Basis.MEASURED: f"m {Basis.MEASURED.label}",
    Basis.FITTED: f"f {Basis.FITTED.label}",
    Basis.SPECIFICATION: f"s {Basis.SPECIFICATION.label}",
}
_GAP = 2  # columns between two cells
# with this many devices the text sums up on how many a model runs
_MANY_DEVICES = 8
_LEAST_CELL = 14  # "does not fit", "69.5 tokens/s f": what a cell must not break


def compare_tables(rows: Sequence[Sequence[Estimate]], width: int) -> Group:
    """Return estimates `rows[model][device]` as tables of at most `width` columns."""
    first = rows[0][0]
    head = f"{first.format} on {first.runtime}, {first.workload.context_tokens:,} tokens of context"
    if len(rows[0]) == 1:
        tables: Sequence[Table | TextTable] = [_list(rows)]
        if first.device is not None:
            head = f"{first.device.name}{_limit(first, ', {} for a model')}; {head}"
    else:
        tables = list(_matrices(rows, width))
    return Group(Text(head), Text(), *_apart(tables), *_legend(rows))


def quality_table(models: Sequence[str], reached: Sequence[tuple[Quality, ...] | None]) -> Group:
    """Return accuracies with their ranges by training length, a line a model, and what they mean."""
    known = [row for row in reached if row is not None]
    if not known:
        return Group(
            Text("None of these models predicts the next token: nothing is known of their accuracy.")
        )
    columns = quality_columns(known)
    cells = iter(zip(*columns.values(), strict=True))
    table = TextTable(
        columns=(Column(name="model", is_key=True), *(Column(name=name, right=True) for name in columns)),
        rows=tuple(
            (name, *(next(cells) if row else [NOT_KNOWN] * len(columns)))
            for name, row in zip(models, reached, strict=True)
        ),
    )
    basis = known[0][-1].basis
    return Group(
        table,
        Text(),
        Text(
            "Best first after the longest training. Accuracies are percent, the mean of eight zero-shot "
            f"tasks, with 80 % ranges, what the format costs included; {basis}."
        ),
    )


def _apart(tables: Sequence[Table | TextTable]) -> Iterator[Table | TextTable | Text]:
    for table in tables:
        yield table
        yield Text()


def _list(rows: Sequence[Sequence[Estimate]]) -> TextTable:
    """Return a table of one model a line: sizes, and fit and speed if there is a device."""
    on_device = rows[0][0].device is not None
    more = (
        (Column(name="fits", is_plain=True), Column(name="decode tokens/s", right=True)) if on_device else ()
    )
    found = []
    for (estimate,) in rows:
        cells = [
            estimate.name,
            format_count(estimate.parameters.total),
            file_text(estimate),
            memory_text(estimate),
        ]
        if on_device:
            decode = _decode(estimate)
            speed = f"{rate_text(decode.value)} ({_range(decode)})" if decode else NOT_KNOWN
            cells += [_fit(estimate), f"{speed}{_letter(decode)}"]
        found.append(tuple(cells))
    sizes = (Column(name=name, right=True) for name in ("params", "file", "memory"))
    return TextTable(
        columns=(Column(name="model", is_key=True), *sizes, *more),
        rows=tuple(found),
    )


def _matrices(rows: Sequence[Sequence[Estimate]], width: int) -> Iterator[Table]:
    """Return tables of models by devices, as many as the width needs."""
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
        table = _table(("model", *("\n".join(_device(e)) for e in rows[0][start:stop])))
        for label, row in zip(labels, rows, strict=True):
            table.add_row(*(Text("\n".join(lines)) for lines in (label, *map(_cell, row[start:stop]))))
        yield table
        start = stop


def _table(headings: Sequence[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0), leading=1)
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table


def _label(estimate: Estimate) -> tuple[str, ...]:
    """Return a model's name and what is the same on every device."""
    return (
        f"{estimate.name}, {format_count(estimate.parameters.total)}",
        f"file {file_text(estimate)}",
        f"memory {memory_text(estimate)}",
    )


def _device(estimate: Estimate) -> tuple[str, ...]:
    assert estimate.device is not None
    return estimate.device.name, _limit(estimate, "up to {}") or "no limit known"


def _column(estimate: Estimate) -> tuple[str, ...]:
    """Return all texts of a column: the device's name and the cell."""
    return *_device(estimate), *_cell(estimate)


def _cell(estimate: Estimate) -> tuple[str, ...]:
    """Return whether a model fits a device, its decoding speed and the speed's range."""
    decode = _decode(estimate)
    if decode is None:
        return _fit(estimate), "speed not known"
    return _fit(estimate), f"{rate_text(decode.value)} tokens/s{_letter(decode)}", _range(decode)


def _fit(estimate: Estimate) -> str:
    return "cannot run" if estimate.weights is None else FITS[estimate.fits]


def file_text(estimate: Estimate) -> str:
    """Return the bytes of the file for people; a dash where the runtime cannot hold the model."""
    return NOT_KNOWN if estimate.weights is None else format_bytes(estimate.file.total)


def memory_text(estimate: Estimate) -> str:
    """Return the bytes of memory for people; a dash where they are not known."""
    return NOT_KNOWN if estimate.held is None else format_bytes_binary(estimate.memory.total_bytes)


def _decode(estimate: Estimate) -> Prediction | None:
    return estimate.latency.decode_tokens_per_s if estimate.latency else None


def _range(prediction: Prediction) -> str:
    return range_text(prediction, rate_text)


def _letter(prediction: Prediction | None) -> str:
    return f" {prediction.basis.value[0]}" if prediction else ""


def _limit(estimate: Estimate, wording: str) -> str:
    budget = estimate.budget_bytes
    return wording.format(limit_bytes_text(budget)) if budget is not None else ""


def _legend(rows: Sequence[Sequence[Estimate]]) -> Iterator[Text]:
    """Return what the letters mean, and which pairs do not fit."""
    speeds = [decode for row in rows for e in row if (decode := _decode(e))]
    bases = [text for basis, text in BASES.items() if any(s.basis is basis for s in speeds)]
    if bases:
        yield Text(f"Decode speeds with 80 % ranges; {'; '.join(bases)}.")
    cells = [e for row in rows for e in row]
    if rows and len(rows[0]) >= _MANY_DEVICES:
        yield from _runs_on(rows)
    refused = [e for e in cells if e.weights is not None and e.fits is False]
    if refused:
        yield Text(f"Does not fit: {', '.join(map(_pair, refused))}.")
    for name, reason in {e.name: e.unsupported["weights"] for e in cells if not e.weights}.items():
        yield Text(f"{name}: {reason}.")


def _runs_on(rows: Sequence[Sequence[Estimate]]) -> Iterator[Text]:
    """Return on how many devices each model runs, where there are many."""
    for row in rows:
        runs = sum(e.fits is not False and e.latency is not None for e in row)
        yield Text(f"{row[0].name} runs on {runs} of {len(row)} devices.")


def _pair(estimate: Estimate) -> str:
    name = estimate.name
    return f"{name} on {estimate.device.name}" if estimate.device else name
