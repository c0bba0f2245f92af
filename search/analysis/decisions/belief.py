"""Belief about the losses of a study's models: the law as prior mean, axes' own effects, deviations, noise.

    log bits per byte = level of a length + law + effects of the axes + the model's deviation + seed

The law is the calculator's (`sizer/quality/law.py`), asked at the run's tokens, with its constants' spread.
What a corpus or a size of models adds to it is an effect of each axis, alone and times log size, and a
deviation of each model. At other lengths than the target's they differ, the more the further the lengths are
apart, so runs that are too short for the question move it little. Scales are not chosen but averaged over, by
how well they explain the runs; replicates show that of seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.analysis.decisions.points import ModelPoint, Observation
from search.quality.features import ShapeFeatures, columns_without_bits, feature
from search.quality.law import of_searches
from search.quality.published import bits_nats
from search.space.ffn_growth import growth_of
from search.stats.gaussian import Conditioned, chance_below_zero, condition
from search.stats.ridge import Floats
from sizer.quality.constants import published_law
from sizer.quality.law import loss
from sizer.quality.lengths import USUAL_TOKENS_PER_WEIGHT

Places = NDArray[np.int64]


class Effect(NamedTuple):
    """Prior of an axis's effect."""

    sd: float
    by_length: float = 0.2


# An effect's deviation on log loss, per unit of its column, and by what share of itself it differs for each
# factor e between a run's tokens and the target's. Measured: Gemstones' effect of depth moves by 0.008.
EFFECTS = {
    "parameters": Effect(sd=0.04, by_length=0.3),  # per factor e of weights
    "aspect": Effect(sd=0.02, by_length=0.4),  # per factor e of width over depth
    "aspect_squared": Effect(sd=0.006, by_length=0.4),
    "head_dim": Effect(sd=0.01),
    "kv_ratio": Effect(sd=0.01),
    "ffn_ratio": Effect(sd=0.015),
    "ffn_ratio_squared": Effect(sd=0.006),
    "ffn_growth": Effect(sd=0.01),  # per factor e between the last layer's FFN size and the first's
    "windowed": Effect(sd=0.02),  # of all layers together without the whole context, and with sinks
    "convolved": Effect(sd=0.04),  # of all layers with a convolution, and norms of query and key elsewhere
    "experts": Effect(sd=0.04),  # per factor e of experts over those that a token uses
    "runs_of_block": Effect(sd=0.03),  # per factor e of layers executed over layers stored
    "untied": Effect(sd=0.02),
    "vocabulary": Effect(sd=0.06),  # per factor e of rows
}
# Axes of which the law knows nothing: it was fitted to models with attention in every layer and one
# feed-forward block for all tokens. Decisions about them are by the runs alone.
UNKNOWN_TO_LAW = frozenset({"convolutions", "experts"})
OF_STRATEGY = Effect(sd=0.01)  # of a way of sharing about that of its repeats
OF_FORMAT, OF_BITS = 0.004, 0.5  # of a format about what its bits cost: least, and as a share of that
FORMAT_BY_LENGTH = 0.1
MODEL_BY_LENGTH = 0.4  # of a model's own deviation
BY_SIZE = 0.5  # an effect changes by this share of itself for each factor e of weights
_LEVEL = 1.0  # of each length of training: left to the runs
_SAME_RUN = 0.3  # correlation of a seed's luck after two lengths (measured: 0.33)
_ROUNDING = 2e-4  # of a score, as a share: formats of one run differ by this much for no reason

# Scales that are averaged over: of effects, of models' own deviations, of seeds (shares of the loss).
_OF_EFFECTS = (0.5, 1.0, 2.0, 4.0)
_OF_MODELS = (0.002, 0.005, 0.01)
_OF_SEEDS = (0.0025, 0.005, 0.01, 0.02)
# Seed noise before any replicate: 0.013 to 0.019 bits of 2.0 on the shapes of `docs/decisions.md`.
SEED_SD, SEED_SD_FACTOR = 0.007, 1.8
_STEP = 1e-4
_USUAL_LOSS = 3.0  # nats a token, of which the cost of bits is a share


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LossPosterior:
    """Belief about what was asked under one setting of the scales."""

    share: float  # of all settings, which add up to 1
    mean: Floats
    covariance: Floats
    seed_sd: float

    @property
    def sd(self) -> Floats:
        """Standard deviations."""
        return np.asarray(np.sqrt(np.clip(np.diag(self.covariance), 0, None)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Belief:
    """Belief about differences of log losses, averaged over settings."""

    settings: tuple[LossPosterior, ...]

    @property
    def chances(self) -> Floats:
        """Probability that each difference is below 0."""
        found = [
            s.share * np.array([chance_below_zero(m, sd) for m, sd in zip(s.mean, s.sd, strict=True)])
            for s in self.settings
        ]
        return np.asarray(np.sum(found, axis=0))

    @property
    def mean(self) -> Floats:
        """Mean of each difference."""
        return np.asarray(sum(s.share * s.mean for s in self.settings))

    @property
    def likeliest(self) -> LossPosterior:
        """The setting that explains the runs best."""
        return max(self.settings, key=lambda s: s.share)

    @property
    def seed_sd(self) -> float:
        """Deviation of one run by its seed, as a share of the loss."""
        return float(sum(s.share * s.seed_sd for s in self.settings))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Items:
    """Losses that the prior speaks of: of a point after the target's training, or after a run's."""

    places: Places
    length: Floats  # logarithm of the target's tokens over those of the run; 0 for the target
    level: Floats  # tokens of a run, which share one level; NaN for the target
    mean: Floats
    law: Floats  # [items, constants]: change by a deviation of each
    effects: Floats  # [items, columns]
    changes: Floats  # [items, columns]: of the effects by the length of training


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedScore:
    """A run that could be trained: of which point, after how many tokens."""

    point: int
    tokens: float


class LossModel:
    """Prior over losses of some models after the target's training and after that of runs."""

    def __init__(
        self,
        points: Sequence[ModelPoint],
        *,
        target_tokens: float | None = None,
        runs_weights: float | None = None,
    ) -> None:
        """Work out the prior of the points.

        `target_tokens`: training that decisions are about; None: 20 a weight of the middle model.
        `runs_weights`: size of the models that are trained, where that is not the middle of all points;
        effects differ from theirs the more, the further a model's size is from it.
        """
        self.points = tuple(points)
        self._features = [point.features for point in points]
        weights = feature(self._features, "parameters")
        middle = float(np.exp(np.log(weights).mean()))
        self.target_tokens = USUAL_TOKENS_PER_WEIGHT * middle if target_tokens is None else target_tokens
        self._columns, self._by_length = _effects(
            self.points, middle if runs_weights is None else runs_weights
        )
        shapes = {shape: n for n, shape in enumerate(dict.fromkeys(p.shape for p in points))}
        self._shape = np.array([shapes[p.shape] for p in points])

    def believe(
        self,
        differences: Floats,
        observations: Sequence[Observation],
        *,
        planned: Sequence[PlannedScore] = (),
        with_law: bool = True,
    ) -> Belief:
        """Return the belief about differences of target losses, then about scores of planned runs.

        `differences`: a row of weights over points for each, which add up to 0. `with_law`: without, the
        prior expects no difference between models, which leaves what the runs alone say.
        """
        target = self._items(np.arange(len(self.points)), None)
        runs = self._items(np.array([p.point for p in planned], int), np.array([p.tokens for p in planned]))
        seen = self._items(
            np.array([o.point for o in observations], int), np.array([o.tokens for o in observations])
        )
        values = np.array([log(o.bits_per_byte) for o in observations])
        level = float(values.mean()) if len(values) else 0.0
        expected = np.concatenate([differences @ target.mean, runs.mean]) * with_law
        residuals = values - level - (seen.mean - (seen.mean.mean() if len(values) else 0)) * with_law
        found: list[tuple[float, Conditioned, float]] = []
        for setting in product(_OF_EFFECTS, _OF_MODELS):
            of_target = _blocks(differences, self._prior(target, target, *setting))
            to_runs = differences @ self._prior(target, runs, *setting)
            asked = np.block([[of_target, to_runs], [to_runs.T, self._prior(runs, runs, *setting)]])
            cross = np.concatenate(
                [differences @ self._prior(target, seen, *setting), self._prior(runs, seen, *setting)]
            )
            between = self._prior(seen, seen, *setting)
            for of_seeds in _OF_SEEDS:
                posterior = condition(
                    mean=expected,
                    covariance=asked,
                    cross=cross,
                    observed_covariance=between + self._noise(seen, observations, of_seeds),
                    residuals=residuals,
                )
                known = -0.5 * (log(of_seeds / SEED_SD) / log(SEED_SD_FACTOR)) ** 2
                found.append((posterior.log_evidence + known, posterior, of_seeds))
        top = max(score for score, _, _ in found)
        shares = np.exp([score - top for score, _, _ in found])
        shares /= shares.sum()
        return Belief(
            settings=tuple(
                LossPosterior(share=float(share), mean=p.mean, covariance=p.covariance, seed_sd=sd)
                for share, (_, p, sd) in zip(shares, found, strict=True)
            )
        )

    def _items(self, places: Places, tokens: Floats | None) -> _Items:
        after = np.full(len(places), self.target_tokens) if tokens is None else tokens
        mean, law = self.law(places, after)
        length = np.log(self.target_tokens / after)
        return _Items(
            places=places,
            length=length,
            level=np.full(len(places), np.nan) if tokens is None else after,
            mean=mean,
            law=law,
            effects=self._columns[places],
            changes=self._columns[places] * self._by_length * length[:, None],
        )

    def _prior(self, one: _Items, other: _Items, of_effects: float, of_models: float) -> Floats:
        """Return the prior covariance of two lists of losses."""
        same = (self._shape[one.places][:, None] == self._shape[other.places][None]).astype(float)
        of_axes = one.effects @ other.effects.T + one.changes @ other.changes.T
        own = same * (1 + MODEL_BY_LENGTH**2 * np.outer(one.length, other.length))
        level = _LEVEL**2 * (one.level[:, None] == other.level[None])
        return np.asarray(one.law @ other.law.T + of_effects**2 * of_axes + of_models**2 * own + level)

    def _noise(self, seen: _Items, observations: Sequence[Observation], of_seeds: float) -> Floats:
        """Return the covariance of scores by seeds: formats of one run of a shape share all of it."""
        shape, seed = self._shape[seen.places], np.array([o.seed for o in observations])
        same = (shape[:, None] == shape[None]) & (seed[:, None] == seed[None])
        along = np.where(seen.level[:, None] == seen.level[None], 1.0, _SAME_RUN)
        scoring = np.array([o.scoring_sd / o.bits_per_byte for o in observations])
        return np.asarray(of_seeds**2 * same * along + np.diag(scoring**2 + _ROUNDING**2))

    def law(self, places: Places, tokens: Floats) -> tuple[Floats, Floats]:
        """Return the law's log loss of points after a training, and its change by each constant's spread."""
        shapes = [self._features[i] for i in places]
        columns, known = columns_without_bits(shapes, tokens), of_searches(published_law())
        constants = known.mean
        cost = _bits_nats(shapes, tokens)
        value = np.log(loss(constants, columns) + cost)
        steps = _STEP * np.eye(len(constants))
        slopes = [
            np.log(loss(constants + step, columns) + cost) - np.log(loss(constants - step, columns) + cost)
            for step in steps
        ]
        return value, np.stack(slopes, axis=1) / (2 * _STEP) * known.sd


def _blocks(weights: Floats, covariance: Floats) -> Floats:
    return np.asarray(weights @ covariance @ weights.T)


def _bits_nats(shapes: Sequence[ShapeFeatures], tokens: Floats) -> Floats:
    """Return nats a token that the bits of each shape cost after some training, by all of its weights."""
    return bits_nats(feature(shapes, "bits_per_weight"), tokens / feature(shapes, "parameters"))


def _effects(points: Sequence[ModelPoint], runs_weights: float) -> tuple[Floats, Floats]:
    """Return effects in units of their deviations, alone and times log size, and their `by_length`."""
    shapes = [point.features for point in points]
    weights = np.log(feature(shapes, "parameters"))
    aspect = np.log(feature(shapes, "width") * feature(shapes, "sharing") / feature(shapes, "depth"))
    ffn = np.log(feature(shapes, "ffn_ratio"))
    named = {
        "parameters": weights,
        "aspect": aspect,
        "aspect_squared": (aspect - aspect.mean()) ** 2,
        "head_dim": np.log(feature(shapes, "head_dim")),
        "kv_ratio": np.log(feature(shapes, "kv_ratio")),
        "ffn_ratio": ffn,
        "ffn_ratio_squared": (ffn - ffn.mean()) ** 2,
        "ffn_growth": np.log([growth_of(p.shape) for p in points]),
        "windowed": np.array([len(p.shape.sliding_layers) / p.shape.num_layers for p in points]),
        "convolved": np.array([len(p.shape.conv_layers) / p.shape.num_layers for p in points]),
        "experts": np.log(feature(shapes, "experts")),
        "runs_of_block": np.log(feature(shapes, "sharing")),
        "untied": np.array([float(not p.shape.tie_embeddings) for p in points]),
        "vocabulary": np.log([p.vocab_size for p in points]),
    }
    columns = [effect.sd * (named[name] - named[name].mean()) for name, effect in EFFECTS.items()]
    by_length = [effect.by_length for effect in EFFECTS.values()]
    for strategy in dict.fromkeys(p.sharing for p in points):
        columns.append(OF_STRATEGY.sd * np.array([float(p.sharing == strategy) for p in points]))
        by_length.append(OF_STRATEGY.by_length)
    costs = _bits_nats(shapes, USUAL_TOKENS_PER_WEIGHT * np.exp(weights)) / _USUAL_LOSS
    for name in dict.fromkeys(p.format for p in points):
        is_one = np.array([float(p.format == name) for p in points])
        columns.append((OF_FORMAT + OF_BITS * float((costs * is_one).sum() / is_one.sum())) * is_one)
        by_length.append(FORMAT_BY_LENGTH)
    size = BY_SIZE * (weights - log(runs_weights))
    both = np.stack([*columns, *(column * size for column in columns)], axis=1)
    return both, np.array([*by_length, *by_length])
