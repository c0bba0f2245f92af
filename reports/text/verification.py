"""The comparisons of `sizer verify` as text: predicted, range, measured, and whether they agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from reports.text.text_table import Column, TextTable
from reports.text.wording import NOT_KNOWN, rate_text
from sizer.units import format_bytes_binary, format_seconds

COLUMNS = ("quantity", "predicted", "range", "measured", "agrees")

_VERDICTS = {True: "yes", False: "no", None: "not compared"}


class _Wording(NamedTuple):
    """What a quantity is called, and how its values are written."""

    label: str
    figure: Callable[[float], str]


def _bytes(value: float) -> str:
    return f"{value:,.0f} B"


_WORDINGS = {
    "file_bytes": _Wording("file", _bytes),
    "tensor_bytes": _Wording("weights", _bytes),
    "val_bits_per_byte": _Wording("bits per byte", "{:.5f}".format),  # may differ by 0.00002 in F32
    "memory_bytes": _Wording("memory", format_bytes_binary),
    "load_s": _Wording("load", format_seconds),
    "prefill_tokens_per_s": _Wording("prefill, tokens/s", rate_text),
    "decode_tokens_per_s": _Wording("decode, tokens/s", rate_text),
}


def verification_table(rows: Sequence[Mapping[str, Any]]) -> TextTable:
    """Return the table of a document of schema sizer.verify/1 for the terminal."""
    columns = (
        Column(name=COLUMNS[0], is_key=True),
        *(Column(name=name, right=True) for name in COLUMNS[1:-1]),
        Column(name=COLUMNS[-1]),
    )
    return TextTable(columns=columns, rows=tuple(verification_rows(rows)))


def verification_rows(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return a row of texts for each row of a document of schema sizer.verify/1."""
    return [_cells(row) for row in rows]


def verification_notes(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the notes on quantities, such as why one is not compared; equal notes once, of all together."""
    labels: dict[str, list[str]] = {}
    for row in rows:
        if row["note"]:
            labels.setdefault(row["note"], []).append(_WORDINGS[row["quantity"]].label.split(",")[0])
    return tuple(f"{', '.join(of)}: {note}" for note, of in labels.items())


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    label, figure = _WORDINGS[row["quantity"]]
    low, high = row["low"], row["high"]
    return (
        label,
        NOT_KNOWN if row["predicted"] is None else figure(row["predicted"]),
        "" if low is None or low == high else _range(figure(low), figure(high)),
        NOT_KNOWN if row["measured"] is None else figure(row["measured"]),
        _VERDICTS[row["agrees"]],
    )


def _range(low: str, high: str) -> str:
    """Return "low to high", with a unit that both have once."""
    first, _, unit = low.partition(" ")
    return f"{first if unit and high.endswith(f' {unit}') else low} to {high}"
