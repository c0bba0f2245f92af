"""Models against devices as pandas tables: a row a pair, and a matrix to look at, sort and filter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from reports.palette import GREEN, VERMILION
from reports.text.compare import FITS
from reports.text.solve import quality_columns
from reports.text.wording import NOT_KNOWN, energy_text, range_text, rate_text
from sizer.quality.lengths import best_first
from sizer.units import format_bytes, format_bytes_binary, format_count, format_seconds

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

    from sizer.comparison import Comparison
    from sizer.model_estimate import Estimate
    from sizer.prediction import Prediction
    from sizer.quality.prediction import Quality

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
    "time_to_first_token_s": Figure("TTFT", format_seconds, True),
    "load_s": Figure("load", format_seconds, True),
    "energy": Figure("energy per token", energy_text, True),
}


def prediction_of(estimate: Estimate, figure: str) -> Prediction | None:
    """Return one of FIGURES of an estimate; None if it is not known."""
    if figure == "energy":
        return estimate.energy
    found: Prediction | None = getattr(estimate.latency, figure) if estimate.latency else None
    return found


def comparison_frame(comparison: Comparison) -> pd.DataFrame:
    """Return a row for each model on each device, units in the column names."""
    return pd.DataFrame([_pair_row(cell) for row in comparison.rows for cell in row])


def _pair_row(cell: Estimate) -> dict[str, Any]:
    found: dict[str, Any] = {
        "model": cell.name,
        "device": cell.device.name if cell.device else None,
        "format": cell.format,
        "runtime": cell.runtime,
        "context_tokens": cell.workload.context_tokens,
        "parameters": cell.parameters.total,
        "bits_per_weight": cell.bits_per_weight if cell.weights else None,
        "file_bytes": file_bytes(cell),
        "memory_bytes": memory_bytes(cell),
        "memory_budget_bytes": cell.budget_bytes,
        "fits": cell.fits,
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


def quality_frame(comparison: Comparison, reached: Sequence[tuple[Quality, ...] | None]) -> pd.DataFrame:
    """Return a row for each model, best first, with its accuracy and range after each training length."""
    order = [place for place in best_first(reached) if reached[place]]
    columns = quality_columns([row for place in order if (row := reached[place])])
    names = [_row_name(comparison, place) for place in order]
    return pd.DataFrame(
        {"model": names} | {name.replace("\n", " "): texts for name, texts in columns.items()}
    )


class Order(NamedTuple):
    """What rows of a matrix are sorted by: a column of `SORTS`, or a device of which the figure counts."""

    by: str
    device: str | None = None


SORTS = ("as chosen", "parameters", "file", "memory")
KEPT = ("all", "fit every device", "fit some device", "fit no device")


def chosen_rows(comparison: Comparison, *, figure: str, order: Order, keep: str) -> tuple[int, ...]:
    """Return the rows to show, in order: smallest first, or best by a figure first."""
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
    keys: dict[str, int | None] = {
        "parameters": cell.parameters.total,
        "file": file_bytes(cell),
        "memory": memory_bytes(cell),
    }
    key = keys.get(order.by, number)
    return float("inf") if key is None else key


def file_bytes(estimate: Estimate) -> int | None:
    """Return the bytes of the file; None where the runtime cannot hold the model."""
    return estimate.file.total if estimate.weights else None


def memory_bytes(estimate: Estimate) -> int | None:
    """Return the bytes of memory; None where they are not known."""
    return estimate.memory.total_bytes if estimate.held else None


def matrix_style(comparison: Comparison, rows: tuple[int, ...], figure: str) -> Styler:
    """Return models by devices: numbers to sort by, shown with their ranges and whether the model fits."""
    chosen = [comparison.rows[number] for number in rows]
    names = [name or NO_DEVICE for name in comparison.devices]
    wording = FIGURES[figure].wording
    values: dict[str, list[Any]] = {
        "parameters": [row[0].parameters.total for row in chosen],
        "file": [file_bytes(row[0]) for row in chosen],
        "memory": [memory_bytes(row[0]) for row in chosen],
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
        texts[column] = [NOT_KNOWN if value is None else to_text(value) for value in values[column]]
    grounds = frame.astype(object)
    grounds[:] = ""
    for place, name in enumerate(names):
        texts[name] = [_cell_text(row[place], figure, wording) for row in chosen]
        grounds[name] = [_GROUNDS[row[place].fits] for row in chosen]
    style = frame.style.apply(lambda _: grounds, axis=None)
    for column in values:
        style = style.format(_in_order(texts[column]), subset=[column])
    return style


def _in_order(texts: Iterable[str]) -> Callable[[object], str]:
    """Return a formatter that ignores its value and gives the next text: equal values may have two texts."""
    rest = iter(texts)
    return lambda _: next(rest)


def _row_name(comparison: Comparison, number: int) -> str:
    """Return a model's name, with its place if several shapes have that name."""
    name = comparison.models[number]
    return name if comparison.models.count(name) == 1 else f"{name} ({number + 1})"


def _cell_text(cell: Estimate, figure: str, wording: Callable[[float], str]) -> str:
    prediction = prediction_of(cell, figure)
    mark = _MARKS[cell.fits]
    if prediction is None:
        return f"{mark} {NOT_KNOWN}" if cell.device else f"{mark} {FITS[cell.fits]}"
    return f"{mark} {wording(prediction.value)} ({range_text(prediction, wording)})"
