"""A user's runs as a CSV file: models, their training tokens, and the losses and accuracies they reached."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path

import numpy as np

from sizer.errors import InvalidFile, shown
from sizer.quality.law import Floats, TrainedShapes, shapes
from sizer.quality.weights import outside_embedding
from sizer.units import COUNT_UNITS

COLUMNS = (
    *("model", "num_layers", "hidden_size", "intermediate_size", "num_heads", "num_kv_heads", "head_dim"),
    *("vocab_size", "params_nonembedding", "params_total", "tokens", "unique_tokens", "bits"),
    *("loss_nats", "accuracy"),
)
_NUMBERS = COLUMNS[1:]
_EMPTY = {"", "nan", "na", "n/a", "none", "null", "-"}
_DELIMITERS = ",;\t"
# 1,000,000 of a count; a loss or an accuracy with a comma may be a decimal one
_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+")
_SIZES = "params_nonembedding, params_total, or num_layers and hidden_size"
_MOST_BYTES = 64 * 2**20
_MOST_ACCURACY = 100.0  # percent; shares are below 1
# Where no row of a table states how long it was trained, all are taken to be trained alike.
_ALIKE_TOKENS = 1e11


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedRun:
    """One row: numbers by column, NaN where it is empty."""

    line: int
    model: str
    numbers: dict[str, float]

    def __getitem__(self, column: str) -> float:
        return self.numbers[column]

    def has(self, *columns: str) -> bool:
        """Return whether all of these columns are known."""
        return all(isfinite(self.numbers[column]) for column in columns)


def read_runs(path: Path) -> list[TrainedRun]:
    """Read a table of runs; raise InvalidFile that names row and column."""
    text = _text(path)
    lines = text.splitlines()
    reader = csv.DictReader(lines, delimiter=max(_DELIMITERS, key=lines[0].count) if lines else ",")
    header = ["_".join((name or "").lower().split()) for name in reader.fieldnames or ()]
    if twice := next((name for name in header if name in COLUMNS and header.count(name) > 1), None):
        raise InvalidFile(f"{path}, row 1, {twice}: is there twice; accepted: one column of a name")
    if not set(header) & set(_NUMBERS):
        raise InvalidFile(f"{path}, row 1: no known column in {shown(header)}; known: {', '.join(COLUMNS)}")
    reader.fieldnames = header
    rows = [_run(path, reader.line_num, row) for row in reader]
    if not rows:
        raise InvalidFile(f"{path}: no rows below the header")
    return rows


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InvalidFile(f"{path}: larger than 64 MiB; accepted: a CSV table of runs")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidFile(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidFile(f"{path}: not text in UTF-8; accepted: a CSV table of runs") from None


def _run(path: Path, line: int, row: dict[str | None, str | list[str] | None]) -> TrainedRun:
    if None in row:
        raise InvalidFile(f"{path}, row {line}: has more fields than the header")
    numbers = {column: _number(path, line, column, row.get(column)) for column in _NUMBERS}
    return TrainedRun(line=line, model=str(row.get("model") or "").strip(), numbers=numbers)


def _number(path: Path, line: int, column: str, value: object) -> float:
    text = str(value or "").strip()
    if text.lower() in _EMPTY:
        return nan
    if column not in ("loss_nats", "accuracy") and _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    try:
        scale = COUNT_UNITS.get(text[-1:].upper(), 1)
        number = float(text[:-1] if scale > 1 else text) * scale
    except ValueError:
        number = nan
    if column == "accuracy":
        if not 0 <= number <= _MOST_ACCURACY:
            raise InvalidFile(f"{path}, row {line}, accuracy: must be 0 to 100 or empty, got {shown(text)}")
    elif not (isfinite(number) and number > 0):
        raise InvalidFile(
            f"{path}, row {line}, {column}: must be a number above 0 or empty, got {shown(text)}"
        )
    return number


def columns(path: Path, runs: Sequence[TrainedRun], *, like: Sequence[TrainedRun]) -> TrainedShapes:
    """Return runs as the law sees them, weights counted as in all of `like`; raise InvalidFile."""

    def column(value: Callable[[TrainedRun], float]) -> Floats:
        return np.array([value(run) for run in runs], np.float64)

    timeless = not any(run.has("tokens") for run in like)
    for run in runs:
        if not timeless and not run.has("tokens"):
            raise InvalidFile(f"{path}, row {run.line}, tokens: is empty; accepted: training tokens")
        if not any(run.has(*needs) for needs, _ in _COUNTS):
            raise InvalidFile(f"{path}, row {run.line}, params_nonembedding: is empty; needs {_SIZES}")
    # one way of counting for all rows where there is one: two ways differ by more than runs do
    common = next((count for needs, count in _COUNTS if all(run.has(*needs) for run in like)), _best_count)
    return shapes(
        weights=column(common),
        tokens=column(lambda run: _ALIKE_TOKENS if timeless else run["tokens"]),
        unique_tokens=column(lambda run: run["unique_tokens"]),
        aspect=column(lambda run: run["hidden_size"] / run["num_layers"]),
        head_dim=column(_head_dim),
        ffn_ratio=column(lambda run: _ffn_ratio(run, common(run))),
        bits=column(lambda run: run["bits"]),
    )


def _head_dim(run: TrainedRun) -> float:
    return run["head_dim"] if run.has("head_dim") else run["hidden_size"] / run["num_heads"]


def _attention(run: TrainedRun) -> float:
    """Return the weights of a layer's attention; with as many KV heads as heads if nothing is known."""
    width = run["hidden_size"]
    heads = run["num_heads"]
    if not isfinite(heads):
        return 4 * width**2
    kv_heads = run["num_kv_heads"] if run.has("num_kv_heads") else heads
    return 2 * width * (heads + kv_heads) * _head_dim(run)


def _ffn_ratio(run: TrainedRun, weights: float) -> float:
    """Return FFN over attention weights, by what the layers weigh besides attention."""
    if not run.has("num_layers", "hidden_size", "num_heads"):
        return nan
    ratio = weights / (run["num_layers"] * _attention(run)) - 1
    return ratio if 0.2 < ratio < 20 else nan


def _by_vocabulary(run: TrainedRun) -> float:
    """Return the total less one table or two, whichever is nearer to what the layers weigh."""
    table = run["vocab_size"] * run["hidden_size"]
    choices = [c for c in (run["params_total"] - table, run["params_total"] - 2 * table) if c > 0]
    if not choices:
        return outside_embedding(run["params_total"], run["vocab_size"])
    layers = _by_layers(run)
    return min(choices, key=lambda c: abs(np.log(c / layers))) if isfinite(layers) else choices[0]


def _by_layers(run: TrainedRun) -> float:
    """Return what the layers weigh: three FFN matrices where the FFN is narrower than 4 x width, else two."""
    width, middle = run["hidden_size"], run["intermediate_size"]
    if not isfinite(middle):
        return run["num_layers"] * (_attention(run) + 8 * width**2)
    matrices = 3 if middle < 3.9 * width else 2
    return run["num_layers"] * (_attention(run) + matrices * width * middle)


def _by_total(run: TrainedRun) -> float:
    return outside_embedding(run["params_total"], run["vocab_size"])


# Ways to count weights outside the embedding, best first: columns needed and the count.
_COUNTS: tuple[tuple[tuple[str, ...], Callable[[TrainedRun], float]], ...] = (
    (("params_nonembedding",), lambda run: run["params_nonembedding"]),
    (("params_total", "vocab_size", "hidden_size", "num_layers"), _by_vocabulary),
    (("num_layers", "hidden_size"), _by_layers),
    (("params_total",), _by_total),
)


def _best_count(run: TrainedRun) -> float:
    return next(count(run) for needs, count in _COUNTS if run.has(*needs))
