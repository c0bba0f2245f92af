"""The ladder: a user's own cheap runs calibrate the law, which predicts the dear ones with ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import least_squares

from sizer.errors import InvalidFile
from sizer.quality.constants import published_law
from sizer.quality.law import Floats, TrainedShapes, loss
from sizer.quality.posterior import FittedLaw, counted_share, fit_law
from sizer.quality.runs import TrainedRun, columns, read_runs

SCHEMA = "sizer.quality/1"

# Deviations of the normal distribution that hold 80 %, as every range of this project does.
_Z_80 = 1.2815515655446004
# Ranges of tables left out held more than they should: docs/quality.md.
_LOSS_RANGE = 0.9
# and of accuracies less.
_ACCURACY_RANGE = 1.1
# The map from loss to accuracy: middle and width in nats of the published law's unit, floor and top as
# shares; deviations, of the width's logarithm. Of any tasks, and of the eight of MobileLLM's tables, whose
# models near chance all lie at one floor (`data/accuracy.toml`): which of them explains the runs better.
_MAPS = (
    (np.array([2.3, np.log(0.3), 0.33, 0.85]), np.array([0.2, 0.3, 0.12, 0.08])),
    (np.array([2.265, np.log(0.2456), 0.397, 0.8]), np.array([0.2, 0.2, 0.01, 0.08])),
)
_MAP_TERMS = 4
_LEAST_NOISE, _LEAST_NOISE_RUNS = 0.006, 3.0
# Nats of a recipe about the law where no loss is known: how far families differ (data/accuracy.toml).
_RECIPE_SD = 0.11
_STEP = 1e-4
_ROUNDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranged:
    """A predicted figure; [low, high] is meant to hold 80 %."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Return plain JSON values."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderPrediction:
    """What one asked model would reach, and what that rests on."""

    model: str
    loss: Ranged
    accuracy: Ranged | None
    basis: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "model": self.model,
            "loss_nats": self.loss.to_dict(),
            "accuracy": self.accuracy.to_dict() if self.accuracy else None,
            "basis": self.basis,
        }


def climb(runs_path: Path, asked_path: Path) -> list[LadderPrediction]:
    """Read both tables and predict the asked models, in their order."""
    runs, asked = read_runs(runs_path), read_runs(asked_path)
    if not any(run.has("loss_nats") or run.has("accuracy") for run in runs):
        raise InvalidFile(
            f"{runs_path}, row {runs[0].line}, loss_nats: no row has a loss or an accuracy; "
            "accepted: numbers in column loss_nats or accuracy"
        )
    like = (*runs, *asked)
    return predictions(
        runs, columns(runs_path, runs, like=like), asked, columns(asked_path, asked, like=like)
    )


def predictions(
    runs: Sequence[TrainedRun], known: TrainedShapes, asked: Sequence[TrainedRun], wanted: TrainedShapes
) -> list[LadderPrediction]:
    """Return what the asked models would reach by the law and map that the runs calibrate."""
    losses = np.array([run["loss_nats"] for run in runs])
    accuracies = np.array([run["accuracy"] for run in runs])
    given = np.array([run["loss_nats"] for run in asked])
    with_loss = np.isfinite(losses)
    basis = "published law alone"
    if with_loss.any():
        law = fit_law(known.select(with_loss), losses[with_loss], published_law())
        basis = f"law calibrated on {with_loss.sum()} of your runs"
    else:
        prior = published_law()
        law = FittedLaw(parameters=prior.mean, covariance=np.diag(prior.sd**2), noise=_RECIPE_SD)
    value, sd = law.predict(wanted)
    half = _LOSS_RANGE * _Z_80 * sd
    reached: list[Ranged | None] = [None] * len(asked)
    if np.isfinite(accuracies).any():
        reached = list(_accuracies(known, losses, accuracies, law, wanted, given))
        basis += f", accuracy on {np.isfinite(accuracies).sum()}"
    return [
        LadderPrediction(
            model=run.model,
            loss=Ranged(
                value=float(value[row]),
                low=float(max(value[row] - half[row], 0)),
                high=float(value[row] + half[row]),
            ),
            accuracy=reached[row],
            basis=basis,
        )
        for row, run in enumerate(asked)
    ]


def _curve(p: Floats, losses: Floats) -> Floats:
    """Return shares right at these losses by a map's middle, width's logarithm, floor and top."""
    away = np.clip((losses - p[0]) / np.exp(p[1]), -50, 50)
    return np.asarray(p[2] + (p[3] - p[2]) / (1 + np.exp(away)))


def _accuracies(
    known: TrainedShapes,
    losses: Floats,
    accuracies: Floats,
    law: FittedLaw,
    wanted: TrainedShapes,
    given: Floats,
) -> list[Ranged]:
    """Return the asked models' accuracies, in the unit of the runs'.

    The law's constants and the map's are fitted together to the accuracies: a run without a loss stands at
    the law's, and so does an asked model.
    """
    some = np.isfinite(accuracies)
    unit = 100.0 if accuracies[some].max() > 1.5 else 1.0
    # the runs' nats in those of the published law
    scale = float(np.median(loss(law.parameters, wanted) / loss(published_law().mean, wanted)))
    p, covariance, noise = max(
        (
            _fit_accuracies(known.select(some), losses[some], accuracies[some] / unit, law, prior)
            for prior in (_in_unit(*published, scale) for published in _MAPS)
        ),
        key=lambda fitted: fitted.log_evidence,
    )[:3]
    slopes = np.stack(
        [
            (_expected(p + s, wanted, given) - _expected(p - s, wanted, given)) / (2 * _STEP)
            for s in _STEP * np.eye(len(p))
        ],
        axis=1,
    )
    variance = np.einsum("ij,jk,ik->i", slopes, covariance, slopes) + noise**2
    value = _expected(p, wanted, given)
    half = _ACCURACY_RANGE * _Z_80 * np.sqrt(variance)
    return [
        Ranged(
            value=float(unit * v),
            low=float(unit * max(v - h, 0.0)),
            high=float(unit * min(v + h, 1.0)),
        )
        for v, h in zip(value, half, strict=True)
    ]


class _FittedMap(NamedTuple):
    """Constants of law and map fitted to accuracies."""

    parameters: Floats
    covariance: Floats
    noise: float  # of a share right
    log_evidence: float  # of the runs under the map's prior, up to what all priors share


def _in_unit(middle: Floats, sd: Floats, scale: float) -> tuple[Floats, Floats]:
    """Return a map's prior in nats of these runs, of which a nat of the published law is `scale`."""
    return middle * (scale, 1, 1, 1) + (0, np.log(scale), 0, 0), sd * (scale, 1, 1, 1)


def _fit_accuracies(
    models: TrainedShapes,
    measured: Floats,
    shares: Floats,
    law: FittedLaw,
    prior: tuple[Floats, Floats],
) -> _FittedMap:
    """Fit the constants of law and map to shares right, from a prior of the map."""
    start = np.concatenate([law.parameters, prior[0]])
    of_law = len(law.parameters)
    root = np.zeros((len(start), len(start)))
    root[:of_law, :of_law] = np.linalg.cholesky(np.linalg.inv(law.covariance)).T
    root[of_law:, of_law:] = np.diag(1 / prior[1])
    share = counted_share(models)
    noise = 0.01
    p = start
    for _ in range(_ROUNDS):
        scatter = noise

        def residuals(p: Floats, scatter: float = scatter) -> Floats:
            away = (_expected(p, models, measured) - shares) * (share**0.5 / scatter)
            return np.concatenate([away, root @ (p - start)])

        found = least_squares(residuals, p, x_scale=0.1, max_nfev=100)
        moved, p = np.abs(found.x - p).max(), found.x
        squares = (_expected(p, models, measured) - shares) ** 2
        count = len(shares) + _LEAST_NOISE_RUNS
        noise = float(np.sqrt((squares.sum() + _LEAST_NOISE_RUNS * _LEAST_NOISE**2) / count))
        if moved < 1e-3:
            break
    precision = found.jac.T @ found.jac
    evidence = np.linalg.slogdet(root)[1] - found.cost - 0.5 * np.linalg.slogdet(precision)[1]
    return _FittedMap(
        parameters=p,
        covariance=np.linalg.inv(precision),
        noise=noise,
        log_evidence=float(evidence - share * len(shares) * np.log(scatter)),
    )


def _expected(p: Floats, models: TrainedShapes, losses: Floats) -> Floats:
    """Return shares right by constants of law and map, from the law's losses where none is given."""
    of_law, of_map = p[:-_MAP_TERMS], p[-_MAP_TERMS:]
    return _curve(of_map, np.where(np.isfinite(losses), losses, loss(of_law, models)))
