"""How often decisions of some probability were right where searches were replayed: what "settled" rests on.

`search/data/decision_coverage.toml` is written by benchmarks/reference/calibration.py from searches replayed
on the reference table (docs/decisions.md).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FILE = Path(__file__).resolve().parents[2] / "data" / "decision_coverage.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCoverage:
    """Share of replayed decisions of a probability or more that were right."""

    probability: float
    right: float
    decisions: int


@cache
def measured_coverage() -> tuple[MeasuredCoverage, ...]:
    """Return what was measured, by rising probability."""
    levels = tomllib.loads(_FILE.read_text(encoding="utf-8"))["levels"]
    return tuple(MeasuredCoverage(**level) for level in levels)


def coverage_from(probability: float) -> MeasuredCoverage:
    """Return what was measured of decisions of at least the highest level that is not above a probability."""
    return [level for level in measured_coverage() if level.probability <= max(probability, 0.5)][-1]
