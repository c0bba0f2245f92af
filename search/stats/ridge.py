"""Ridge regressions averaged over their settings by how well each explains the data; exact leave-one-out.

One `RegressionSpec` is one linear regression: columns, where its coefficients are expected and how far off
they may be. For Gaussian noise everything about a form is closed: its evidence, its posterior, and its
prediction of each row without that row. Forms and noise levels are weighed by their evidence (Bayesian model
averaging), so no setting has to be chosen from data that cannot separate settings; without row i a form's
weight is its evidence over its density at row i, which is exact as well (Rasmussen and Williams, Gaussian
Processes for Machine Learning, sections 2.7 and 5.4.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Noise deviations tried, as shares of the deviation of the values themselves.
NOISE_SHARES = tuple(float(share) for share in np.geomspace(0.003, 1.0, 11))

# Values are taken to differ by this share at least, so that equal ones are not taken for known without noise.
LEAST_SPREAD = 0.01

# Below this weight a form changes nothing that is printed.
_NEGLIGIBLE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegressionSpec:
    """One regression: a column per coefficient, the coefficients' expected values and deviations."""

    columns: Floats  # rows x coefficients
    expected: Floats
    deviation: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Posterior:
    """Posterior of one form with one noise level."""

    form: int
    weight: float  # among all forms and noise levels
    coefficients: Floats
    covariance: Floats
    noise_variance: float

    def predict(self, columns: Floats) -> tuple[Floats, Floats]:
        """Predict mean and variance (noise included) of new rows."""
        spread = np.einsum("ij,jk,ik->i", columns, self.covariance, columns)
        return columns @ self.coefficients, np.maximum(spread, 0) + self.noise_variance


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RidgeFit:
    """All forms after the data: those of any weight, and what is said of each row without it.

    The leave-one-out arrays have a line per form and noise level; weights sum to 1 in each column.
    """

    posteriors: tuple[Posterior, ...]
    loo_mean: Floats
    loo_variance: Floats
    loo_weight: Floats


def noise_variances(values: Floats) -> Floats:
    """Return the noise variances tried for these values."""
    spread = max(float(np.std(values)), LEAST_SPREAD * float(np.abs(values).max()))
    return np.asarray((np.array(NOISE_SHARES) * spread) ** 2)


def fit(forms: Sequence[RegressionSpec], values: Floats, noises: Floats | None = None) -> RidgeFit:
    """Weigh and fit forms to values under each variance of noise; every form has a row per value."""
    noises = noise_variances(values) if noises is None else noises
    evidence, means, variances, densities, solved = [], [], [], [], []
    for form in forms:
        rest = values - form.columns @ form.expected
        scaled = form.columns * form.deviation
        eigenvalues, vectors = np.linalg.eigh(scaled @ scaled.T)
        inverse = 1 / (np.maximum(eigenvalues, 0)[:, None] + noises)  # eigenvalue x noise
        pulled = vectors @ (inverse * (vectors.T @ rest)[:, None])
        diagonal = (vectors**2) @ inverse
        evidence.append(0.5 * (np.log(inverse).sum(axis=0) - rest @ pulled))
        mean, variance = values[:, None] - pulled / diagonal, 1 / diagonal
        means.append(mean.T)
        variances.append(variance.T)
        densities.append((-0.5 * (pulled**2 / diagonal + np.log(2 * np.pi * variance))).T)
        solved.append((pulled, vectors, inverse))
    log_evidence = np.array(evidence).reshape(-1)
    weights = _normalized(log_evidence)
    posteriors = []
    for line in np.flatnonzero(weights > _NEGLIGIBLE):
        number, level = divmod(int(line), len(noises))
        form, (pulled, vectors, inverse) = forms[number], solved[number]
        step = form.deviation[:, None] * (form.columns * form.deviation).T
        through = step @ vectors
        posteriors.append(
            Posterior(
                form=number,
                weight=float(weights[line]),
                coefficients=form.expected + step @ pulled[:, level],
                covariance=np.diag(form.deviation**2) - (through * inverse[:, level]) @ through.T,
                noise_variance=float(noises[level]),
            )
        )
    without = log_evidence[:, None] - np.concatenate(densities)
    return RidgeFit(
        posteriors=tuple(posteriors),
        loo_mean=np.concatenate(means),
        loo_variance=np.concatenate(variances),
        loo_weight=_normalized(without),
    )


def _normalized(logarithms: Floats) -> Floats:
    """Normalize weights given as logarithms to a sum of 1 along the first axis."""
    weights = np.exp(logarithms - logarithms.max(axis=0))
    return np.asarray(weights / weights.sum(axis=0))
