"""The comparisons of `sizer verify` as text: predicted, range, measured, and whether they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = ("quantity", "predicted", "range", "measured", "agrees")

_VERDICTS = {True: "yes", False: "no", None: "not compared"}


def verification_rows(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return a row of texts for each row of a document of schema sizer.verify/1."""
    return [
        (
            row["quantity"],
            _figure(row["predicted"]),
            ""
            if row["low"] is None or row["low"] == row["high"]
            else f"{_figure(row['low'])} to {_figure(row['high'])}",
            _figure(row["measured"]),
            _VERDICTS[row["agrees"]],
        )
        for row in rows
    ]


def verification_notes(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the notes on quantities, such as why one is not compared."""
    return tuple(f"{row['quantity']}: {row['note']}" for row in rows if row["note"])


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    if float(value).is_integer() and abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.5g}"
