"""Costs of at least zero that fit measured times: least squares, and least absolute relative errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Floats = NDArray[np.float64]

# Errors below this have equal weight: most speeds are printed with two or three digits.
EXACT = 0.03
# Rounds of reweighted least squares, which converge to least absolute errors.
REWEIGHTINGS = 24


def least_absolute(
    table: Sequence[Sequence[float]], times: Sequence[float], weights: Sequence[float]
) -> Floats:
    """Fit costs >= 0 of the columns to times, with the least weighted sum of absolute relative errors."""
    relative = np.array(table) / np.array(times)[:, None]
    ones, start = np.ones(len(times)), np.sqrt(np.array(weights))
    costs = nonnegative_least_squares(relative * start[:, None], ones * start)
    for _ in range(REWEIGHTINGS):
        misses = np.abs(relative @ costs - 1)
        factors = start / np.sqrt(np.maximum(misses, EXACT))
        costs = nonnegative_least_squares(relative * factors[:, None], ones * factors)
    return costs


def nonnegative_least_squares(table: Floats, targets: Floats) -> Floats:
    """Return the coefficients >= 0 with the least squared distance of table x coefficients to targets.

    Columns are scaled to length one first: bytes and layers of a model differ by seven orders of magnitude.
    """
    lengths = np.linalg.norm(table, axis=0)
    lengths[lengths == 0] = 1.0
    found: Floats = nnls(table / lengths, targets)[0] / lengths
    return found
