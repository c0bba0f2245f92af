"""Tables of evidence: measured and predicted speeds, sources of a device's numbers, exact counts."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import TYPE_CHECKING

import pandas as pd

from reports.text.evidence import HELD_OUT, Count, device_title, exact_counts
from sizer.units import format_bytes, format_bytes_binary

if TYPE_CHECKING:
    from sizer.calibration.predicted_speed import PredictedSpeed, PrintedSpeed
    from sizer.devices.device import Device, Fact


def judged_frame(judged: Sequence[PredictedSpeed[PrintedSpeed]]) -> pd.DataFrame:
    """Return a row for each measured speed, with the speed predicted without it, and the source."""
    rows = [
        {
            "device": j.row.device,
            "device_title": device_title(j.row.device),
            "runtime": j.row.runtime,
            "backend": j.row.backend,
            "model": j.row.model,
            "format": j.row.format,
            "phase": "prompt" if j.of_prompt else "decode",
            "measured_tokens_per_s": j.measured,
            "predicted_tokens_per_s": j.predicted,
            "low_tokens_per_s": j.low,
            "high_tokens_per_s": j.high,
            "error": exp(j.error) - 1,
            "inside_range": j.inside,
            "basis": j.basis,
            "held_out": HELD_OUT[j.basis],
            "source": j.row.source,
        }
        for j in judged
    ]
    return pd.DataFrame(rows)


def facts_frame(device: Device) -> pd.DataFrame:
    """Return every known number of a device with its source and date."""
    rows = [
        {
            "figure": name.replace("_", " "),
            "value": fact.value,
            "readable": _readable(name, fact),
            "source": fact.source,
            "date": fact.date,
        }
        for name, fact in device.facts.items()
    ]
    return pd.DataFrame(rows, columns=["figure", "value", "readable", "source", "date"])


def _readable(name: str, fact: Fact) -> str:
    """Return a number with the unit that its field's name ends in."""
    if name.endswith("_bytes_per_s"):
        return f"{format_bytes(fact.value)}/s"
    if name.endswith("_bytes"):
        return format_bytes_binary(fact.value)
    if name.endswith("_ops_per_s"):
        return f"{fact.value / 1e12:.3g} T operations/s"
    if name.endswith("_joules"):
        return f"{fact.value / 3600:.3g} Wh"
    if name.endswith("_cores"):
        return f"{fact.value:g} cores"
    if name.endswith("_watts"):
        return f"{fact.value:.3g} W"
    return f"{fact.value:.0%}" if name.endswith("_share") else f"{fact.value:g}"


def counts_frame() -> pd.DataFrame:
    """Return models with a published exact count, and the calculator's count of each."""
    return pd.DataFrame(exact_counts(), columns=list(Count._fields))
