"""The prefill part of docs/accuracy.md: every measured prompt against a prediction without its model."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.accuracy.held_out import by_basis, by_device
from sizer.calibration.held_out import predict_prefill
from sizer.calibration.regression import MeasurementRow

_INTRODUCTION = """\
Reading speed of every row with one, predicted as decoding is: without the rows of its model on its device
(`fitted`), from other models there (`fitted, few rows`), or, where no other model's prompts were timed there,
from the operations that the other devices of a kind reach for each byte a second they decode with
(`specification`); that from the device's decoding of other models, or else from its data sheet. The range is
the device's own in the first case, else that of the other devices of its kind. What a format costs on a CPU
(`[[format]]` in `profiles.toml`, by instruction set) is learned without the rows left out, too, on devices
with few rows: prompts of one model in seven formats on a Pixel 6a and a Pavilion are a quarter of all, and a
format left out on one of them is known from the other alone, whose instructions differ."""


def prefill_lines(rows: Sequence[MeasurementRow]) -> list[str]:
    """Markdown: errors and coverage by basis and device."""
    judged, without = predict_prefill(rows)
    named = "; ".join(f"{r.device} ({r.backend}) {r.model} {r.format}" for r in without)
    return [
        "### Prefill",
        "",
        _INTRODUCTION,
        "",
        *by_basis(judged),
        "",
        *by_device(judged),
        "",
        f"{len(without)} rows have nothing else to be predicted from: {named}.",
    ]
