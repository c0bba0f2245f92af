"""The law fitted to one table's runs: constants as likely as its runs and other tables make them.

Maximum a posteriori with a normal prior per constant and normal uncertainty about it (Laplace). Runs whose
loss lies far off count less (Student's t with four degrees of freedom), and many runs count as few: what a
law misses is the same in neighbouring runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from sizer.quality.law import NATS, Floats, TrainedShapes, by_heart, few_tokens, loss, slopes

# As many runs as count in full: chosen, as the two below, where tables left out are predicted best.
RUNS_THAT_COUNT = 8.0
RUNS_PER_SIZE = 2.0
# Of the median loss, for each factor e by which tokens are fewer than two a weight: such runs obey no law.
UNTRAINED_NOISE = 0.05
LEAST_NOISE = 0.008  # of the median loss
LEAST_NOISE_RUNS = 3.0
# Of what is lost by learning data by heart: chosen where four in five repeated runs are in their range.
HEART_SHARE = 0.5
UNIT = 0.5  # deviation of the logarithm of another tokenizer's nats
_FREEDOM = 4.0
_ROUNDS = 15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prior:
    """Estimate from other tables of the logarithm of each constant of the law."""

    mean: Floats
    sd: Floats

    @property
    def root_precision(self) -> Floats:
        """Return R with R'R the inverse of the covariance: constants in nats also share an unknown unit."""
        covariance = np.diag(self.sd**2) + UNIT**2 * np.outer(NATS, NATS)
        return np.asarray(np.linalg.cholesky(np.linalg.inv(covariance)).T)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedLaw:
    """The law of one table: its constants' logarithms, their covariance and what a run varies by."""

    parameters: Floats
    covariance: Floats
    noise: float

    def predict(self, models: TrainedShapes) -> tuple[Floats, Floats]:
        """Return the loss of each model and its standard deviation, a single run's noise included."""
        steep = slopes(self.parameters, models)
        variance = np.einsum("ij,jk,ik->i", steep, self.covariance, steep)
        variance += (HEART_SHARE * by_heart(models)) ** 2
        return loss(self.parameters, models), np.sqrt(variance + self.noise**2)


def counted_share(models: TrainedShapes) -> float:
    """Return the share that each run counts: what a law misses is alike in runs of one size."""
    sizes = len(np.unique(np.round(10 * np.log(models.weights))))
    return min(1.0, min(RUNS_THAT_COUNT, RUNS_PER_SIZE * sizes) / len(models))


def fit_law(models: TrainedShapes, losses: Floats, prior: Prior, *, share: float | None = None) -> FittedLaw:
    """Return the law of a table's runs; one run is enough, as the prior is proper.

    `share` is what each run counts, by default that of `counted_share`.
    """
    middle = float(np.median(losses))
    root = prior.root_precision
    share = counted_share(models) if share is None else share
    parameters = prior.mean + NATS * np.log(middle / np.median(loss(prior.mean, models)))
    noise, weights = 0.02 * middle, np.ones(len(losses))
    untrained = UNTRAINED_NOISE * middle * few_tokens(models)
    for _ in range(_ROUNDS):
        varies = noise**2 + untrained**2
        scale = np.sqrt(share * weights / varies)

        def residuals(p: Floats, scale: Floats = scale) -> Floats:
            return np.concatenate([(loss(p, models) - losses) * scale, root @ (p - prior.mean)])

        found = least_squares(residuals, parameters, x_scale=0.1, max_nfev=100)
        moved = np.abs(found.x - parameters).max()
        parameters = found.x
        squares = (loss(parameters, models) - losses) ** 2
        weights = (_FREEDOM + 1) / (_FREEDOM + squares / varies)
        least = LEAST_NOISE_RUNS * (LEAST_NOISE * middle) ** 2
        seen = share * (weights * squares * noise**2 / varies).sum()
        noise = float(np.sqrt((seen + least) / (share * len(losses) + LEAST_NOISE_RUNS)))
        if moved < 1e-3:
            break
    return FittedLaw(parameters=parameters, covariance=np.linalg.inv(found.jac.T @ found.jac), noise=noise)
