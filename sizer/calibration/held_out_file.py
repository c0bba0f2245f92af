"""Held-out predictions as kept in data/held_out.csv: reading them takes milliseconds, making them seconds.

`python -m sizer.calibration.held_out` writes the file. It holds a digest of the data that it was made from:
with other data it counts for nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from io import SEEK_END, StringIO
from pathlib import Path
from typing import NamedTuple

from sizer.calibration.measurement_cells import (
    MEASUREMENTS,
    backend_cell,
    format_cell,
    measurement_cells,
    number,
)
from sizer.calibration.predicted_speed import PredictedSpeed, PrintedSpeed

_DEVICES = MEASUREMENTS.with_name("devices.toml")
HELD_OUT = MEASUREMENTS.with_name("held_out.csv")
_DECODE, _PROMPT = "decode", "prompt"
_COLUMNS = ("measurement", "phase", "basis", "error", "limit")
_MADE_FROM = "# data: "
_HEAD = """# Written by python -m sizer.calibration.held_out: change the measurements and run it again.
# measurement: row of measurements.csv, from 0; error: log(predicted / measured); limit: log of the range's
# factor.
"""


class PrintedRow(NamedTuple):
    """What measurements.csv prints with a speed."""

    device: str
    runtime: str
    backend: str
    model: str
    format: str
    source: str
    decode_tokens_per_s: float | None
    prefill_tokens_per_s: float | None


HeldOut = tuple[tuple[PredictedSpeed[PrintedSpeed], ...], tuple[PredictedSpeed[PrintedSpeed], ...]]


@cache
def kept_held_out(path: Path = HELD_OUT) -> HeldOut | None:
    """Return the held-out predictions of the file; None if it was made from other data, or is missing."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    if f"{_MADE_FROM}{data_digest()}" not in lines:
        return None
    rows = [_printed(cells) for cells in measurement_cells()]
    found: dict[str, list[PredictedSpeed[PrintedSpeed]]] = {_DECODE: [], _PROMPT: []}
    for cells in csv.DictReader(line for line in lines if not line.startswith("#")):
        phase = cells["phase"]
        found[phase].append(
            PredictedSpeed(
                rows[int(cells["measurement"])],
                cells["basis"],
                float(cells["error"]),
                float(cells["limit"]),
                of_prompt=phase == _PROMPT,
            )
        )
    return tuple(found[_DECODE]), tuple(found[_PROMPT])


def held_out_text(numbered: Sequence[tuple[int, PredictedSpeed[PrintedSpeed]]]) -> str:
    """Return the file's text for predictions and the numbers of their rows."""
    text = StringIO(f"{_HEAD}{_MADE_FROM}{data_digest()}\n")
    text.seek(0, SEEK_END)
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    for n, j in numbered:
        table.writerow([n, _PROMPT if j.of_prompt else _DECODE, j.basis, f"{j.error:.9g}", f"{j.limit:.9g}"])
    return text.getvalue()


def data_digest() -> str:
    """Return the digest of the data that predictions are made from: measurements and devices."""
    digest = sha256()
    for path in (MEASUREMENTS, _DEVICES):
        digest.update(path.read_text(encoding="utf-8").encode())
    return digest.hexdigest()


def _printed(cells: dict[str, str]) -> PrintedRow:
    return PrintedRow(
        device=cells["device"],
        runtime=cells["runtime"],
        backend=backend_cell(cells),
        model=cells["model"],
        format=format_cell(cells),
        source=cells["source"],
        decode_tokens_per_s=number(cells["decode_tokens_per_s"]),
        prefill_tokens_per_s=number(cells["prefill_tokens_per_s"]),
    )
