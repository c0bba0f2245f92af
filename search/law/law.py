"""The quality law: loss over depth, width, ratios, sharing and bits, fitted to trials, with intervals.

    loss = L0 + a depth^-alpha + b width^-beta + terms in log head_dim, log KV ratio, log FFN ratio,
           log sharing, log embedding ratio, exp(-decay bits) and exp(-decay bits) log N

the separable form of Nemotron-Flash (arXiv 2511.18890) with terms for what else a search varies. Only terms
that vary among the trials are active. Exponents and the prior's looseness are not chosen but averaged by how
well they explain the trials (`search/law/ridge.py`); coefficients start from what published tables say
(`search/law/law_prior.py`).

The separable law leaves out that depth may be worth more in wide models. Intervals allow for it: the same fit
with a depth x width term takes part in them, by its evidence, with the distance between the two counted as
error. Asked of Gemstones of 1B and more from those below 150M, after 16B, 32B, 64B ... 350B tokens, intervals
without that term hold 0 of 6, 0 of 6 and then 5 or 6 of 6; with it 4 of 6 and then all. The prediction itself
stays separable: averaged over both it orders those models with tau 0.2 to 0.5 in six of nine cases, separable
with 0.87 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from search.law.law_prior import LawPrior, Slope, Term, published_prior
from search.law.ridge import LEAST_SPREAD, Floats, Form, RidgeFit, fit
from search.law.shapes import LawRow, ShapeFeatures, Shapes, feature
from sizer.errors import StudyError

MIN_ROWS = 4

# Deviations of the normal distribution that hold 80 %, as every range of this project does.
_Z_80 = 1.2815515655446004
# The intercept is left to the data: its prior deviation in deviations of the losses.
_FREE_INTERCEPT = 100.0
_VARIES = 1e-9
_SMALLER_SHARE = 2 / 3  # of the trials: those that the largest are predicted from, to rehearse extrapolation
_SEPARABLE, _JOINT = 0, 1  # families of forms: without and with the depth x width term

_LOG_TERMS = (
    Term.HEAD_DIM,
    Term.KV_RATIO,
    Term.FFN_RATIO,
    Term.SHARING,
    Term.EMBEDDING_RATIO,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LawSettings:
    """What is averaged over: exponents of depth and width, and how far slopes may be from published ones."""

    depth_exponents: tuple[float, ...] = (0.25, 0.5, 1.0)
    width_exponents: tuple[float, ...] = (0.25, 0.5, 1.0)
    looseness: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0)  # in typical slopes


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    """What one form of the regression assumes."""

    depth_exponent: float
    width_exponent: float
    looseness: float
    joint: bool  # with the depth x width term


@dataclass(frozen=True, kw_only=True, eq=False)
class QualityLaw:
    """A fitted law; made by `fit_law`."""

    rows: tuple[LawRow, ...]
    terms: tuple[Term, ...]
    prior: LawPrior
    settings: LawSettings
    _design: _Design
    _settings: tuple[_Setting, ...]
    _fit: RidgeFit

    def predict(self, shapes: Sequence[ShapeFeatures]) -> tuple[LawPrediction, ...]:
        """Loss of each shape, as one training run of the trials' kind would score it."""
        mean, sd = self.predict_arrays(shapes)
        return tuple(LawPrediction(value=float(m), sd=float(s)) for m, s in zip(mean, sd, strict=True))

    def predict_arrays(self, shapes: Shapes) -> tuple[Floats, Floats]:
        """Means and standard deviations of `predict`, as arrays."""
        mean, sd = self._uninflated(shapes)
        beyond = feature(shapes, "parameters") > max(r.features.parameters for r in self.rows)
        if not beyond.any():
            return mean, sd * self._inflation
        return mean, sd * np.where(beyond, max(self._inflation, self._inflation_beyond), self._inflation)

    def _uninflated(self, shapes: Shapes) -> tuple[Floats, Floats]:
        columns: dict[tuple[float, float, bool], Floats] = {}
        means, variances = [], []
        parts = self._fit.posteriors
        plain = self._design.plain(shapes)
        for part in parts:
            setting = self._settings[part.form]
            key = (setting.depth_exponent, setting.width_exponent, setting.joint)
            if key not in columns:
                columns[key] = self._design.columns(plain, setting)
            mean, variance = part.predict(columns[key])
            means.append(mean)
            variances.append(variance)
        weight = np.array([[p.weight] for p in parts])
        own = np.array([[0.0 if self._settings[p.form].joint else p.share] for p in parts])
        mean, variance = _about_separable(np.array(means), np.array(variances), weight, own)
        return mean, np.sqrt(variance)

    @cached_property
    def leave_one_out(self) -> tuple[LawPrediction, ...]:
        """What the law says of each row when it is fitted to the others."""
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

    def slope(self, term: Term) -> Slope:
        """Change of loss per unit of an active term at the trials' mean depth and width, in units of loss."""
        at = 1 + self.terms.index(term)
        parts = [p for p in self._fit.posteriors if not self._settings[p.form].joint]
        weights = np.array([p.share for p in parts])
        values = np.array([p.coefficients[at] for p in parts])
        variances = np.array([p.covariance[at, at] for p in parts])
        mean = float(np.average(values, weights=weights))
        variance = float(np.average(variances + (values - mean) ** 2, weights=weights))
        return Slope(value=mean, sd=variance**0.5)

    def draws(self, shapes: Sequence[ShapeFeatures], count: int, *, seed: int = 0) -> Floats:
        """Losses of shapes (count x shapes) by separable laws drawn from what the trials leave open.

        Without noise: a line is one law's word on all shapes, whose differences can be read.
        """
        generator = np.random.default_rng(seed)
        parts = [p for p in self._fit.posteriors if not self._settings[p.form].joint]
        shares = np.array([p.share for p in parts])
        times = generator.multinomial(count, shares / shares.sum())
        plain = self._design.plain(shapes)
        lines = []
        for part, number in zip(parts, times, strict=True):
            if number:
                coefficients = generator.multivariate_normal(
                    part.coefficients, part.covariance, size=number, method="eigh"
                )
                columns = self._design.columns(plain, self._settings[part.form])
                lines.append(coefficients @ columns.T)
        return np.concatenate(lines)

    @cached_property
    def _without(self) -> tuple[Floats, Floats]:
        found = self._fit
        own = np.where(found.loo_family[:, None] == _SEPARABLE, found.loo_share, 0.0)
        mean, variance = _about_separable(found.loo_mean, found.loo_variance, found.loo_weight, own)
        return mean, np.sqrt(variance)

    @cached_property
    def _inflation(self) -> float:
        """Where leave-one-out residuals are larger than foreseen, all deviations grow by as much."""
        return _surprise(self.rows, *self._without)

    @cached_property
    def _inflation_beyond(self) -> float:
        """The same for models larger than any trial: what a law of the smaller trials says of the largest."""
        ordered = sorted(self.rows, key=lambda row: row.features.parameters)
        smaller = round(_SMALLER_SHARE * len(ordered))
        if smaller < MIN_ROWS or smaller == len(ordered):
            return 1.0
        rehearsal = fit_law(ordered[:smaller], prior=self.prior, settings=self.settings)
        largest = ordered[smaller:]
        return _surprise(largest, *rehearsal._uninflated([row.features for row in largest]))


def _surprise(rows: Sequence[LawRow], mean: Floats, sd: Floats) -> float:
    """Root mean square of residuals in their deviations, at least 1."""
    losses = np.array([row.loss for row in rows])
    return max(1.0, float(np.sqrt(np.mean(((losses - mean) / sd) ** 2))))


def _about_separable(means: Floats, variances: Floats, weights: Floats, own: Floats) -> tuple[Floats, Floats]:
    """Mean of the separable forms (by own weight), and its mean square error under all forms (by weight)."""
    mean = (own * means).sum(axis=0) / own.sum(axis=0)
    error = (weights * (variances + (means - mean) ** 2)).sum(axis=0) / weights.sum(axis=0)
    return mean, error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Design:
    """Turns shapes into columns: an intercept, then a column per active term, then depth x width."""

    terms: tuple[Term, ...]
    depth: float  # where curved terms have slope 1: geometric means of the trials
    width: float
    centers: dict[Term, float]
    prior: LawPrior

    def plain(self, shapes: Shapes) -> dict[Term, Floats]:
        """Depth and width over the trials' means, and the columns of active terms that have no exponent."""
        ratios = {
            Term.DEPTH: feature(shapes, "depth") / self.depth,
            Term.WIDTH: feature(shapes, "width") / self.width,
        }
        others = (term for term in self.terms if term not in ratios)
        return ratios | {t: plain_column(t, shapes, self.prior) - self.centers[t] for t in others}

    def columns(self, plain: dict[Term, Floats], setting: _Setting) -> Floats:
        """Rows x coefficients."""
        bent = plain | {
            Term.DEPTH: curved(plain[Term.DEPTH], setting.depth_exponent),
            Term.WIDTH: curved(plain[Term.WIDTH], setting.width_exponent),
        }
        parts = [np.ones(len(bent[Term.DEPTH])), *(bent[term] for term in self.terms)]
        if setting.joint:
            parts.append(bent[Term.DEPTH] * bent[Term.WIDTH])
        return np.stack(parts, axis=1)


def curved(ratios: Floats, exponent: float) -> Floats:
    """(1 - ratio^-exponent) / exponent: a power law whose value is 0 and whose slope is 1 at ratio 1."""
    return np.asarray((1 - ratios**-exponent) / exponent)


def plain_column(term: Term, shapes: Shapes, prior: LawPrior) -> Floats:
    """Column of a term that has no exponent."""
    if term in _LOG_TERMS:
        return np.log(feature(shapes, term.value))
    damage = np.exp(-prior.bits_decay * feature(shapes, "bits_per_weight"))
    if term is Term.BITS:
        return damage
    return damage * np.log(feature(shapes, "parameters") / prior.bits_parameters)


def _active_terms(shapes: Sequence[ShapeFeatures], prior: LawPrior) -> tuple[Term, ...]:
    """Terms that vary; bits x size only where neither the bits nor the size alone says the same."""
    known = [term for term in Term if term not in (Term.DEPTH, Term.WIDTH, Term.BITS_X_SIZE)]
    varying = [t for t in known if np.ptp(plain_column(t, shapes, prior)) > _VARIES]
    shape = [t for t in (Term.DEPTH, Term.WIDTH) if np.ptp([getattr(s, t.value) for s in shapes]) > 0]
    sizes = [s.parameters for s in shapes]
    joint = [Term.BITS_X_SIZE] if Term.BITS in varying and np.ptp(sizes) > 0 else []
    return (*shape, *varying, *joint)


def fit_law(
    rows: Sequence[LawRow], *, prior: LawPrior | None = None, settings: LawSettings | None = None
) -> QualityLaw:
    """The law of these rows; StudyError with fewer than MIN_ROWS. Diverged runs must not be among them."""
    if len(rows) < MIN_ROWS:
        raise StudyError(f"law: {len(rows)} trained models are too few; accepted: {MIN_ROWS} or more")
    prior = prior or published_prior()
    settings = settings or LawSettings()
    shapes = [row.features for row in rows]
    losses = np.array([row.loss for row in rows])
    terms = _active_terms(shapes, prior)
    design = _Design(
        terms=terms,
        depth=float(np.exp(np.mean(np.log([s.depth for s in shapes])))),
        width=float(np.exp(np.mean(np.log([s.width for s in shapes])))),
        centers={
            t: float(np.mean(plain_column(t, shapes, prior)))
            for t in terms
            if t not in (Term.DEPTH, Term.WIDTH)
        },
        prior=prior,
    )
    both = Term.DEPTH in terms and Term.WIDTH in terms
    options = tuple(
        _Setting(depth_exponent=a, width_exponent=b, looseness=k, joint=joint)
        for joint in ((False, True) if both else (False,))
        for a in (settings.depth_exponents if Term.DEPTH in terms else settings.depth_exponents[:1])
        for b in (settings.width_exponents if Term.WIDTH in terms else settings.width_exponents[:1])
        for k in settings.looseness
    )
    plain = design.plain(shapes)
    forms = [_form(design, plain, losses, option) for option in options]
    return QualityLaw(
        rows=tuple(rows),
        terms=terms,
        prior=prior,
        settings=settings,
        _design=design,
        _settings=options,
        _fit=fit(forms, losses),
    )


def _form(design: _Design, plain: dict[Term, Floats], losses: Floats, setting: _Setting) -> Form:
    """The regression of one setting, with the prior in the unit of the losses."""
    prior, level = design.prior, float(losses.mean())
    loose = setting.looseness * prior.typical_slope
    spread = max(float(losses.std()), LEAST_SPREAD * level)
    expected, deviation = [level], [_FREE_INTERCEPT * spread]
    for term in design.terms:
        slope = prior.slopes.get(term, Slope(value=0.0, sd=0.0))
        scale = max(loose, setting.looseness * abs(slope.value))
        expected.append(level * slope.value)
        deviation.append(level * (slope.sd**2 + scale**2) ** 0.5)
    if setting.joint:
        expected.append(0.0)
        deviation.append(level * loose)
    return Form(
        columns=design.columns(plain, setting),
        expected=np.array(expected),
        deviation=np.array(deviation),
        family=_JOINT if setting.joint else _SEPARABLE,
    )
