"""The quality law fitted to a search's own runs: the published law, moved as far as their noise allows.

The law is `sizer/quality/law.py`; its constants start at what published tables agree on (data/quality.toml).
A search's models are smaller and trained for shorter than any of those tables', so

    loss = law(shape, tokens, bits) + deviations linear in what the models differ in + noise of a run

with a normal prior on everything. The law is replaced by its tangent at the most likely constants, which
leaves a linear regression: its evidence, its posterior and its prediction of each run without that run are
closed (`search/stats/ridge.py`). How far constants may be from the published ones, how large deviations are,
and the noise, are not chosen but averaged by how well they explain the runs.

Small proxies and whole models, short runs and long ones are the same law at other weights and tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from search.quality.features import RUN_NOISE, Feature, LawRow, ShapeFeatures, Shapes, feature, law_columns
from search.stats.ridge import Floats, RegressionSpec, RidgeFit, fit, noise_variances
from sizer.errors import StudyError
from sizer.quality.constants import published_law
from sizer.quality.law import NATS, PARAMETERS, TrainedShapes, slopes
from sizer.quality.law import loss as law_loss
from sizer.quality.posterior import Prior

MIN_ROWS = 4

# Deviations of the normal distribution that hold 80 %, as every range of this project does.
_Z_80 = 1.2815515655446004
_VARIES = 1e-9
# Logarithm of the unit of a search's scores in the tables' nats a token (bits per byte are 0.2 to 0.4).
_UNIT_SD = 1.0
# Deviations that published tables say nothing of at such sizes, as shares of the loss for each unit.
_LEAST_DEVIATION = {Feature.EMBEDDING_RATIO: 0.1, Feature.BITS_PER_WEIGHT: 0.3}
# Beyond the sizes that were trained their deviations do not grow.
_BOUNDED = (Feature.DEPTH, Feature.WIDTH)
_BITS_DECAY = 0.9  # of the damage of few bits, as the law's
# Of the gain that the law foresees beyond the largest model it was fitted to, what it errs by: 0.02 to 0.17
# on Gemstones from 4B tokens on, 0.06 to 0.17 on LTS (docs/proxies.md).
_FAR_SHARE = 0.2
# Tables' large batches leave large models few steps, which the law's term of few tokens is about; a search's
# small batches leave thousands.
_NO_FEW_TOKENS = np.log(1e-6)
_ROUNDS, _CLOSE, _FURTHEST_STEP = 6, 1e-3, 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class LawSettings:
    """What is averaged over: how much wider than tables' the constants' spread is, and deviations' size."""

    spreads: tuple[float, ...] = (1.0, 2.0)
    looseness: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3)  # share of the loss for each unit of a logarithm


# Of proposals, which ask for models within the sizes that were trained: with constants as sure as published
# tables make them, guided searches of LTS keep 0.35 of random ones' regret after 20 models, so 0.28. Beyond
# those sizes constants as free as these are off by 0.2 nats where the others are by 0.03 (Gemstones).
PROPOSALS = LawSettings(spreads=(10.0,))


@dataclass(frozen=True, slots=True, kw_only=True)
class LawPrediction:
    """Loss that the law expects and its standard deviation; [low, high] is meant to hold 80 %."""

    value: float
    sd: float

    @property
    def low(self) -> float:
        """Low end of the 80 % interval."""
        return self.value - _Z_80 * self.sd

    @property
    def high(self) -> float:
        """High end of the 80 % interval."""
        return self.value + _Z_80 * self.sd


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LossBelief:
    """Normal belief about the losses of some models, a single run's noise not included."""

    mean: Floats  # [models]
    covariance: Floats  # [models, models]

    @property
    def sd(self) -> Floats:
        """Standard deviation of each loss."""
        return np.asarray(np.sqrt(np.maximum(np.diag(self.covariance), 0)))

    def given(self, models: Sequence[int], scores: Sequence[float], noise_sd: Sequence[float]) -> LossBelief:
        """Return the belief after runs of some of the models (indices), each with its noise's deviation.

        A model may be given several times, once for each of its runs.
        """
        rows = np.asarray(models, np.int64)
        across = self.covariance[:, rows]
        seen = across[rows] + np.diag(np.square(np.asarray(noise_sd, np.float64)))
        gain = np.linalg.solve(seen, across.T).T
        away = np.asarray(scores, np.float64) - self.mean[rows]
        return LossBelief(mean=self.mean + gain @ away, covariance=self.covariance - gain @ across.T)

    def difference(self, one: int, other: int) -> tuple[float, float]:
        """Return the mean of the first model's loss less the second's, and its standard deviation."""
        c = self.covariance
        variance = c[one, one] + c[other, other] - 2 * c[one, other]
        return float(self.mean[one] - self.mean[other]), float(max(variance, 0.0)) ** 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Tangent:
    """The law about some constants, with deviations: columns of a linear regression."""

    prior: Prior
    constants: Floats  # where the law is replaced by its tangent
    varied: tuple[Feature, ...]
    seen: Floats  # least, most and middle of each deviation's column

    def base(self, models: TrainedShapes, steepness: Floats) -> Floats:
        """Return what the tangent gives models at the published constants."""
        return law_loss(self.constants, models) + steepness @ (self.prior.mean - self.constants)

    def columns(self, shapes: Shapes) -> tuple[Floats, Floats]:
        """Return the tangent at the published constants, and a column for each coefficient.

        Coefficients: the logarithms of the constants, of the unit of the losses, and the deviations.
        """
        models = law_columns(shapes)
        steepness = slopes(self.constants, models)
        parts = [steepness, (steepness @ NATS)[:, None]]
        if self.varied:
            least, most, middle = self.seen
            parts.append(np.clip(_deviations(shapes, self.varied), least, most) - middle)
        return self.base(models, steepness), np.concatenate(parts, axis=1)

    def deviation(self, spread: float, looseness: float, level: float) -> Floats:
        """Return the coefficients' prior standard deviations."""
        loose = [level * max(looseness, _LEAST_DEVIATION.get(f, 0.0)) for f in self.varied]
        return np.concatenate([spread * self.prior.sd, [_UNIT_SD], loose])


@dataclass(frozen=True, kw_only=True, eq=False)
class QualityLaw:
    """A fitted law; made by `fit_law`."""

    rows: tuple[LawRow, ...]
    varied: tuple[Feature, ...]  # what the rows differ in
    _tangent: _Tangent
    _base: Floats
    _fit: RidgeFit

    def predict(self, shapes: Sequence[ShapeFeatures]) -> tuple[LawPrediction, ...]:
        """Predict the loss of each shape, as one training run of the trials' kind would score it."""
        mean, sd = self.predict_arrays(shapes)
        return tuple(LawPrediction(value=float(m), sd=float(s)) for m, s in zip(mean, sd, strict=True))

    def predict_arrays(self, shapes: Shapes) -> tuple[Floats, Floats]:
        """Predict means and standard deviations as arrays."""
        base, columns = self._tangent.columns(shapes)
        parts = [part.predict(columns) for part in self._fit.posteriors]
        mean, variance = _mixture(
            np.array([m for m, _ in parts]), np.array([v for _, v in parts]), self._weights[:, None]
        )
        return base + mean, np.hypot(np.sqrt(variance) * self._inflation, self._far(shapes))

    def _far(self, shapes: Shapes) -> Floats:
        """Return what a share of the gain foreseen beyond the largest row is: that much it may be off by."""
        models = law_columns(shapes)
        inside = replace(models, weights=np.minimum(models.weights, self._most_weights))
        constants = self._tangent.constants
        return np.asarray(_FAR_SHARE * (law_loss(constants, inside) - law_loss(constants, models)))

    def belief(self, shapes: Sequence[ShapeFeatures]) -> LossBelief:
        """Return what the runs leave open of the losses of these shapes, with their covariance."""
        base, columns = self._tangent.columns(shapes)
        means = np.array([columns @ part.coefficients for part in self._fit.posteriors])
        mean = self._weights @ means
        covariance = sum(
            weight * (columns @ part.covariance @ columns.T + np.outer(own - mean, own - mean))
            for weight, part, own in zip(self._weights, self._fit.posteriors, means, strict=True)
        )
        far = self._far(shapes)
        return LossBelief(
            mean=base + mean, covariance=np.asarray(covariance) * self._inflation**2 + np.outer(far, far)
        )

    def draws(self, shapes: Sequence[ShapeFeatures], count: int, *, seed: int = 0) -> Floats:
        """Draw losses of shapes (count x shapes) from laws that the trials do not exclude.

        Without noise: a line is one law's losses of all shapes, whose differences can be read.
        """
        generator = np.random.default_rng(seed)
        base, columns = self._tangent.columns(shapes)
        lines = []
        for part, number in zip(
            self._fit.posteriors, generator.multinomial(count, self._weights), strict=True
        ):
            if number:
                coefficients = generator.multivariate_normal(
                    part.coefficients, part.covariance, size=number, method="eigh"
                )
                lines.append(base + coefficients @ columns.T)
        return np.concatenate(lines)

    @property
    def noise_sd(self) -> float:
        """Standard deviation of a run about the law and its deviations."""
        variances = np.array([part.noise_variance for part in self._fit.posteriors])
        return float(np.sqrt(self._weights @ variances))

    def shrunk(self, shapes: Sequence[ShapeFeatures]) -> Floats:
        """Return the scores of the rows without their chance, asked of the rows' models as `shapes`.

        Of what a row scores above or below the law, the share that is not noise of its runs is its own:
        what all rows vary by about the law, less what seeds vary by.
        """
        expected = self.predict_arrays([row.features for row in self.rows])[0]
        losses = np.array([row.loss for row in self.rows])
        chance = (RUN_NOISE * losses) ** 2 / np.array([row.runs for row in self.rows])
        share = np.clip(1 - chance / self.noise_sd**2, 0, 1)
        return np.asarray(self.predict_arrays(shapes)[0] + share * (losses - expected))

    @cached_property
    def leave_one_out(self) -> tuple[LawPrediction, ...]:
        """Predictions of each row by the law fitted to the others."""
        mean, sd = self._without
        sd = sd * self._inflation
        return tuple(LawPrediction(value=float(m), sd=float(s)) for m, s in zip(mean, sd, strict=True))

    @cached_property
    def leave_one_out_error(self) -> float:
        """Root mean square of loss minus leave-one-out prediction."""
        errors = [row.loss - p.value for row, p in zip(self.rows, self.leave_one_out, strict=True)]
        return float(np.sqrt(np.mean(np.square(errors))))

    @cached_property
    def coverage(self) -> float:
        """Share of rows inside their leave-one-out 80 % interval."""
        inside = [p.low <= row.loss <= p.high for row, p in zip(self.rows, self.leave_one_out, strict=True)]
        return sum(inside) / len(inside)

    @cached_property
    def _most_weights(self) -> float:
        return float(law_columns([row.features for row in self.rows]).weights.max())

    @cached_property
    def _weights(self) -> Floats:
        weights = np.array([part.weight for part in self._fit.posteriors])
        return np.asarray(weights / weights.sum())

    @cached_property
    def _without(self) -> tuple[Floats, Floats]:
        found = self._fit
        mean, variance = _mixture(found.loo_mean, found.loo_variance, found.loo_weight)
        return self._base + mean, np.sqrt(variance)

    @cached_property
    def _inflation(self) -> float:
        """Where leave-one-out residuals are larger than foreseen, all deviations grow by as much."""
        mean, sd = self._without
        losses = np.array([row.loss for row in self.rows])
        return max(1.0, float(np.sqrt(np.mean(((losses - mean) / sd) ** 2))))


def _mixture(means: Floats, variances: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return mean and variance over forms, the first axis, by weights that sum to 1 along it."""
    mean = (weights * means).sum(axis=0)
    return mean, (weights * (variances + (means - mean) ** 2)).sum(axis=0)


def _deviations(shapes: Shapes, varied: Sequence[Feature]) -> Floats:
    """Return the columns of deviations: logarithms, but for two features.

    An embedding wider than the model gains nothing more; few bits hurt by exp(-0.9 bits).
    """
    found = []
    for name in varied:
        values = feature(shapes, name.value)
        if name is Feature.EMBEDDING_RATIO:
            found.append(-0.5 * np.log1p(values**-2))
        elif name is Feature.BITS_PER_WEIGHT:
            found.append(np.exp(-_BITS_DECAY * values))
        else:
            found.append(np.log(values))
    return np.stack(found, axis=1)


def fit_law(
    rows: Sequence[LawRow], *, prior: Prior | None = None, settings: LawSettings | None = None
) -> QualityLaw:
    """Fit the law to these rows, none diverged; StudyError with fewer than MIN_ROWS."""
    if len(rows) < MIN_ROWS:
        raise StudyError(f"law: {len(rows)} trained models are too few; accepted: {MIN_ROWS} or more")
    prior, settings = of_searches(prior or published_law()), settings or LawSettings()
    shapes, losses = [row.features for row in rows], np.array([row.loss for row in rows])
    level, noises = float(losses.mean()), noise_variances(losses)
    models = law_columns(shapes)
    varied, seen = _varied(shapes)
    constants = _in_unit(prior, models, level)
    for _ in range(_ROUNDS):
        tangent = _Tangent(prior=prior, constants=constants, varied=varied, seen=seen)
        base, columns = tangent.columns(shapes)
        forms = [
            RegressionSpec(columns=columns, expected=np.zeros(len(deviation)), deviation=deviation)
            for spread in settings.spreads
            for loose in settings.looseness
            for deviation in (tangent.deviation(spread, loose, level),)
        ]
        found = fit(forms, losses - base, noises)
        step = _likeliest(found, prior) - constants
        if np.abs(step).max() < _CLOSE:
            break
        constants = constants + np.clip(step, -_FURTHEST_STEP, _FURTHEST_STEP)
    return QualityLaw(rows=tuple(rows), varied=varied, _tangent=tangent, _base=base, _fit=found)


def of_searches(prior: Prior) -> Prior:
    """Return the prior for training in batches so small that few tokens are still many steps."""
    mean = prior.mean.copy()
    mean[PARAMETERS.index("few_tokens")] = _NO_FEW_TOKENS
    return Prior(mean=mean, sd=prior.sd)


def _in_unit(prior: Prior, models: TrainedShapes, level: float) -> Floats:
    """Return the published constants in the unit in which these models have losses of about `level`."""
    return np.asarray(prior.mean + NATS * np.log(level / np.median(law_loss(prior.mean, models))))


def _likeliest(found: RidgeFit, prior: Prior) -> Floats:
    """Return the mean of the constants' logarithms, each form by its weight."""
    count = len(prior.mean)
    weights = np.array([part.weight for part in found.posteriors])
    mean = weights @ np.array([part.coefficients for part in found.posteriors]) / weights.sum()
    return np.asarray(prior.mean + mean[:count] + NATS * mean[count])


def prior_belief(
    shapes: Sequence[ShapeFeatures],
    *,
    level: float,
    prior: Prior | None = None,
    settings: LawSettings | None = None,
) -> LossBelief:
    """Return what published tables alone say of these shapes' losses, in a unit where they are about `level`.

    Settings that a fit would weigh count alike. How good all shapes are is left wide open; that cancels in
    differences, and runs fix it.
    """
    prior, settings = of_searches(prior or published_law()), settings or LawSettings()
    models, (varied, seen) = law_columns(shapes), _varied(shapes)
    tangent = _Tangent(prior=prior, constants=_in_unit(prior, models, level), varied=varied, seen=seen)
    columns = tangent.columns(shapes)[1]
    variances = [
        tangent.deviation(spread, loose, level) ** 2
        for spread in settings.spreads
        for loose in settings.looseness
    ]
    return LossBelief(
        mean=law_loss(tangent.constants, models),
        covariance=(columns * np.mean(variances, axis=0)) @ columns.T,
    )


def _varied(shapes: Sequence[ShapeFeatures]) -> tuple[tuple[Feature, ...], Floats]:
    """Return the features that differ, and bounds and middle of their columns."""
    varied = tuple(name for name in Feature if np.ptp(_deviations(shapes, (name,))) > _VARIES)
    columns = _deviations(shapes, varied) if varied else np.zeros((len(shapes), 0))
    bounded = np.array([name in _BOUNDED for name in varied])
    least, most = (
        np.where(bounded, columns.min(axis=0), -np.inf),
        np.where(bounded, columns.max(axis=0), np.inf),
    )
    return varied, np.stack([least, most, columns.mean(axis=0)])
