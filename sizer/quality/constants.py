"""Constants of the law and of accuracy, read from data/quality.toml and data/accuracy.toml."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sizer.quality.law import PARAMETERS
from sizer.quality.posterior import Prior

_DATA = Path(__file__).parents[1] / "data"
QUALITY_FILE, ACCURACY_FILE = _DATA / "quality.toml", _DATA / "accuracy.toml"


@cache
def published_law() -> Prior:
    """Return the law that published tables agree on, written by `benchmarks/quality/fit.py`."""
    document = tomllib.loads(QUALITY_FILE.read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in document["constant"]}
    return Prior(
        mean=np.log([float(rows[name]["value"]) for name in PARAMETERS]),
        sd=np.array([float(rows[name]["sd"]) for name in PARAMETERS]),
    )


@cache
def fitted_ranges() -> dict[str, tuple[float, float]]:
    """Return the least and the most of the law's columns among the models that it was fitted to."""
    document = tomllib.loads(QUALITY_FILE.read_text(encoding="utf-8"))
    return {row["name"]: (float(row["least"]), float(row["most"])) for row in document["range"]}


@cache
def accuracy_data() -> dict[str, Any]:
    """Return the constants of the map from loss to accuracy, its corpora and known models' tokens."""
    return tomllib.loads(ACCURACY_FILE.read_text(encoding="utf-8"))
