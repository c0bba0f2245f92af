"""Words and summaries of evidence: bases, devices, errors of predictions, exact counts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import exp
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from sizer.devices.catalogue import load_devices
from sizer.prediction import Basis
from sizer.registry import models
from sizer.tensors import count_parameters, tensor_specs

if TYPE_CHECKING:
    from sizer.calibration.predicted_speed import PredictedSpeed, PrintedSpeed

# Bases as the held-out predictions name them: in the words of estimates.
BASIS_LABELS = {
    "fitted": Basis.FITTED.label,
    "fitted, few rows": "fitted to few benchmarks",
    "specification": Basis.SPECIFICATION.label,
}
# What each basis leaves out of what a row is predicted from.
HELD_OUT = {
    "fitted": "its model on its device",
    "fitted, few rows": "its model on its device; only one or two others are measured there",
    "specification": "its whole device, known from its data sheet",
}


class Misses(NamedTuple):
    """Number of predictions, median and 90 % of their absolute relative errors, share inside their range."""

    rows: int
    median_error: float
    within_90: float
    inside: float


class Count(NamedTuple):
    """A published exact count of parameters, and the calculator's."""

    model: str
    published: int
    calculated: int
    difference: int
    source: str | None


def device_title(name: str) -> str:
    """Return a device's title, or its name if the catalogue does not have it."""
    known = load_devices().get(name)
    return known.title if known else name


def misses_of(judged: Sequence[PredictedSpeed[PrintedSpeed]]) -> Misses:
    """Return how far predictions lie from what was measured."""
    misses = sorted(abs(exp(j.error) - 1) for j in judged)
    last = min(len(misses) - 1, int(0.9 * len(misses)))
    inside = sum(j.inside for j in judged) / len(judged)
    return Misses(len(misses), median(misses), misses[last], inside)


@cache
def exact_counts() -> tuple[Count, ...]:
    """Return every model with a published exact count, and the calculator's count of it."""
    found = []
    for name, row in models().items():
        if row.params_published is not None:
            ours = count_parameters(tensor_specs(row.architecture)).total
            difference = ours - row.params_published
            found.append(Count(name, row.params_published, ours, difference, row.params_source))
    return tuple(found)
