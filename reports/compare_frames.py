"""Models against devices as pandas tables: a row a pair, and a matrix to look at, sort and filter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from reports.compare_text import FITS
from reports.palette import GREEN, VERMILION
from reports.wording import NOT_KNOWN, energy_text, range_text, rate_text
from sizer.units import format_bytes, format_bytes_binary, format_count, format_seconds

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

    from sizer.comparison import Comparison
    from sizer.estimate import Estimate
    from sizer.prediction import Prediction

_MARKS = {True: "✓", False: "✗", None: "?"}
# Behind the text of a cell: seen on a light and on a dark page.
_GROUNDS = {
    True: f"background-color: {GREEN}26",
    False: f"background-color: {VERMILION}33",
    None: "",
}
NO_DEVICE = "no device"


class Figure(NamedTuple):
    """A figure that depends on the device: its name, how its numbers are written, whether less is better."""

    name: str
    wording: Callable[[float], str]
    less_is_better: bool


FIGURES = {
    "decode_tokens_per_s": Figure("decode, tokens/s", rate_text, False),
    "prefill_tokens_per_s": Figure("prefill, tokens/s", rate_text, False),
    "time_to_first_token_s": Figure("first token", format_seconds, True),
    "load_s": Figure("load", format_seconds, True),
    "energy": Figure("energy per token", energy_text, True),
}


def prediction_of(estimate: Estimate, figure: str) -> Prediction | None:
    """One of FIGURES of an estimate; None where it is not known."""
    if figure == "energy":
        return estimate.energy
    found: Prediction | None = getattr(estimate.latency, figure) if estimate.latency else None
    return found


def comparison_frame(comparison: Comparison) -> pd.DataFrame:
    """A row for each model on each device, units in the column names."""
    return pd.DataFrame([_pair_row(cell) for row in comparison.rows for cell in row])


def _pair_row(cell: Estimate) -> dict[str, Any]:
    found: dict[str, Any] = {
        "model": cell.architecture.name,
        "device": cell.device.name if cell.device else None,
        "format": cell.format,
        "runtime": cell.runtime,
        "context_tokens": cell.memory.context_tokens,
        "parameters": cell.parameters.total,
        "bits_per_weight": cell.bits_per_weight,
        "file_bytes": cell.file.total,
        "memory_bytes": cell.memory.total_bytes,
        "memory_budget_bytes": cell.memory.budget_bytes,
        "fits": cell.memory.fits,
    }
    for name in FIGURES:
        prediction = prediction_of(cell, name)
        column = "joules_per_token" if name == "energy" else name
        found |= {
            column: prediction.value if prediction else None,
            f"{column}_low": prediction.low if prediction else None,
            f"{column}_high": prediction.high if prediction else None,
            f"{column}_basis": prediction.basis.value if prediction else None,
        }
    return found


class Order(NamedTuple):
    """What rows of a matrix are sorted by: a column of `SORTS`, or a device of which the figure counts."""

    by: str
    device: str | None = None


SORTS = ("as chosen", "parameters", "file", "memory")
KEPT = ("all", "fit every device", "fit some device", "fit no device")


def chosen_rows(comparison: Comparison, *, figure: str, order: Order, keep: str) -> tuple[int, ...]:
    """Rows of the comparison that are kept, in that order: small, or of a figure good, ones first."""
    fits = comparison.fits
    tests: dict[str, Callable[[tuple[bool | None, ...]], bool]] = {
        "all": lambda row: True,
        "fit every device": lambda row: all(cell is not False for cell in row),
        "fit some device": lambda row: any(cell is not False for cell in row),
        "fit no device": lambda row: all(cell is False for cell in row),
    }
    kept = [number for number in range(len(fits)) if tests[keep](fits[number])]
    return tuple(sorted(kept, key=lambda number: _sort_key(comparison, number, figure, order)))


def _sort_key(comparison: Comparison, number: int, figure: str, order: Order) -> float:
    cell = comparison.rows[number][0]
    if order.device is not None and order.device in comparison.devices:
        prediction = prediction_of(comparison.rows[number][comparison.devices.index(order.device)], figure)
        if prediction is None:
            return float("inf")
        return prediction.value if FIGURES[figure].less_is_better else -prediction.value
    keys = {
        "parameters": cell.parameters.total,
        "file": cell.file.total,
        "memory": cell.memory.total_bytes,
    }
    return keys.get(order.by, number)


def matrix_style(comparison: Comparison, rows: tuple[int, ...], figure: str) -> Styler:
    """Models down and devices across: numbers to sort by, shown with their ranges and whether it fits."""
    chosen = [comparison.rows[number] for number in rows]
    names = [name or NO_DEVICE for name in comparison.devices]
    wording = FIGURES[figure].wording
    values: dict[str, list[Any]] = {
        "parameters": [row[0].parameters.total for row in chosen],
        "file": [row[0].file.total for row in chosen],
        "memory": [row[0].memory.total_bytes for row in chosen],
    }
    for place, name in enumerate(names):
        predictions = [prediction_of(row[place], figure) for row in chosen]
        values[name] = [p.value if p else float("nan") for p in predictions]
    frame = pd.DataFrame(values, index=pd.Index([_row_name(comparison, n) for n in rows], name="model"))
    texts = frame.astype(object)
    for column, to_text in (
        ("parameters", format_count),
        ("file", format_bytes),
        ("memory", format_bytes_binary),
    ):
        texts[column] = [to_text(value) for value in values[column]]
    grounds = frame.astype(object)
    grounds[:] = ""
    for place, name in enumerate(names):
        texts[name] = [_cell_text(row[place], figure, wording) for row in chosen]
        grounds[name] = [_GROUNDS[row[place].memory.fits] for row in chosen]
    style = frame.style.apply(lambda _: grounds, axis=None)
    for column in values:
        style = style.format(_in_order(texts[column]), subset=[column])
    return style


def _in_order(texts: Iterable[str]) -> Callable[[object], str]:
    """A formatter that gives one text after the other: a Styler asks by value, and values may be equal."""
    rest = iter(texts)
    return lambda _: next(rest)


def _row_name(comparison: Comparison, number: int) -> str:
    """A model's name; shapes of one name are told apart by their place."""
    name = comparison.models[number]
    return name if comparison.models.count(name) == 1 else f"{name} ({number + 1})"


def _cell_text(cell: Estimate, figure: str, wording: Callable[[float], str]) -> str:
    prediction = prediction_of(cell, figure)
    mark = _MARKS[cell.memory.fits]
    if prediction is None:
        return f"{mark} {NOT_KNOWN}" if cell.device else f"{mark} {FITS[cell.memory.fits]}"
    return f"{mark} {wording(prediction.value)} ({range_text(prediction, wording)})"
