"""Gaussian beliefs about a vector: conditioning on noisy observations, and signs of differences."""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, sqrt

import numpy as np

from search.stats.ridge import Floats

# Deviations below this are taken as no deviation.
_NONE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conditioned:
    """What observations make of some contrasts: their mean and covariance, and how likely they were."""

    mean: Floats
    covariance: Floats
    log_evidence: float


def condition(
    *, mean: Floats, covariance: Floats, cross: Floats, observed_covariance: Floats, residuals: Floats
) -> Conditioned:
    """Condition contrasts with a prior mean and covariance on observations.

    `cross` is the prior covariance of contrasts with observations, `observed_covariance` that of the
    observations with their noise, `residuals` the observations less their prior mean.

    >>> one = np.ones((1, 1))
    >>> found = condition(
    ...     mean=np.zeros(1), covariance=one, cross=one, observed_covariance=2 * one, residuals=np.ones(1)
    ... )
    >>> float(found.mean[0]), float(found.covariance[0, 0])
    (0.5, 0.5)
    """
    if not len(residuals):
        return Conditioned(mean=mean, covariance=covariance, log_evidence=0.0)
    root = np.linalg.cholesky(observed_covariance)
    white, gain = np.linalg.solve(root, residuals), np.linalg.solve(root, cross.T)
    evidence = -0.5 * float(white @ white) - float(np.log(np.diag(root)).sum())
    return Conditioned(
        mean=mean + gain.T @ white,
        covariance=covariance - gain.T @ gain,
        log_evidence=evidence - 0.5 * len(residuals) * float(np.log(2 * np.pi)),
    )


def below(value: float) -> float:
    """Return the normal distribution function."""
    return 0.5 * (1 + erf(value / sqrt(2)))


def chance_below_zero(mean: float, sd: float) -> float:
    """Return the probability that a Gaussian number is below 0; one half of what is 0 for certain.

    >>> chance_below_zero(0.0, 1.0), chance_below_zero(-1.0, 0.0)
    (0.5, 1.0)
    """
    if sd > _NONE:
        return below(-mean / sd)
    return 0.5 if mean == 0 else float(mean < 0)
