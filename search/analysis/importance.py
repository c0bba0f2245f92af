"""Which features of a shape the scores of a study depend on: permutation importance over the quality law.

Optuna has importances of what its sampler was asked (PED-ANOVA for several objectives), without an interval,
and width is not asked but solved. Here a model takes over one feature from another, everything else staying
as it is, and the law fitted to the trials (search/quality/law.py) predicts how much its bits per byte change:
root mean square over pairs of models, with the sign of more of that feature. The interval holds 80 % of the
laws that the trials leave open, so a feature whose interval has 0 in it cannot be said to matter.

The law does not know whether the head is tied to the embedding; what that does to the file is in the size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations
from math import ceil

import numpy as np

from search.analysis.cohorts import longest_cohort
from search.quality.features import LawRow, ShapeFeatures, trial_features
from search.quality.law import QualityLaw, fit_law
from search.stats.ridge import Floats
from search.store.results import SearchResult

# With fewer models of one training length a law cannot separate eight features.
MIN_MODELS = 8

# Fitting a law takes time by the cube of its rows; of more models every other, every third, ... is taken.
MOST_MODELS = 250
_LAWS = 400  # drawn
_PAIRS = 400  # at most, drawn where there are more
_LOW, _HIGH = 0.1, 0.9  # 80 %, as every range of this project

FEATURES = (
    "depth",
    "width",
    "head_dim",
    "kv_ratio",
    "ffn_ratio",
    "sharing",
    "experts",
    "embedding_ratio",
    "bits_per_weight",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """Change of bits per byte when a model takes over this feature from another; below 0: more is better."""

    feature: str
    value: float
    low: float
    high: float

    @property
    def matters(self) -> bool:
        """True if its interval leaves out 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Importances:
    """Importances of the features that vary, largest first, and how far the law behind them holds."""

    steps: int  # of training behind the scores
    models: int
    features: tuple[Importance, ...]
    error: float  # of the law about a model that it was not fitted to, in bits per byte
    error_of_mean: float  # the same of the mean of the other models: the error without any law

    @property
    def trustworthy(self) -> bool:
        """True if the law knows more of a model left out than the mean of the others does."""
        return self.error < self.error_of_mean


def importances(result: SearchResult) -> Importances | None:
    """Return importances from the longest rung that MIN_MODELS models reached; None if there is none."""
    cohort = longest_cohort(result, MIN_MODELS)
    if cohort is None:
        return None
    rows = tuple(
        LawRow(
            name=record.candidate.architecture.name,
            features=trial_features(record, runtime=result.runtime, run=run),
            size_bytes=record.file_bytes,
            loss=run.val_bits_per_byte or 0.0,
        )
        for record, run in cohort.members[:: ceil(len(cohort.members) / MOST_MODELS)]
    )
    return _importances(cohort.steps, rows)


# A report asks for its figure, then for its words.
@lru_cache(maxsize=4)
def _importances(steps: int, rows: tuple[LawRow, ...]) -> Importances:
    law = fit_law(rows)
    return Importances(
        steps=steps,
        models=len(rows),
        features=feature_importances(law),
        error=law.leave_one_out_error,
        error_of_mean=_error_of_mean([row.loss for row in rows]),
    )


def _error_of_mean(losses: Sequence[float]) -> float:
    """Return the root mean square of each loss minus the mean of the others."""
    count = len(losses)
    return float(np.std(losses)) * count / (count - 1)


def feature_importances(law: QualityLaw, *, seed: int = 0) -> tuple[Importance, ...]:
    """Return the importance of each feature that varies among the law's rows, largest first."""
    shapes = [row.features for row in law.rows]
    found = [
        _importance(law, feature, _pairs(shapes, feature, seed), seed)
        for feature in FEATURES
        if len({getattr(shape, feature) for shape in shapes}) > 1
    ]
    return tuple(sorted(found, key=lambda one: -abs(one.value)))


def _pairs(shapes: Sequence[ShapeFeatures], feature: str, seed: int) -> list[tuple[ShapeFeatures, float]]:
    """Return shapes and the value that each receives; pairs of equal values change nothing."""
    pairs = list(permutations(shapes, 2))
    if len(pairs) > _PAIRS:
        chosen = np.random.default_rng(seed).choice(len(pairs), _PAIRS, replace=False)
        pairs = [pairs[i] for i in sorted(chosen)]
    return [(shape, getattr(other, feature)) for shape, other in pairs]


def _importance(
    law: QualityLaw, feature: str, pairs: Sequence[tuple[ShapeFeatures, float]], seed: int
) -> Importance:
    before = [shape for shape, _ in pairs]
    after = [replace(shape, **{feature: value}) for shape, value in pairs]
    losses = law.draws([*before, *after], _LAWS, seed=seed)
    change = losses[:, len(pairs) :] - losses[:, : len(pairs)]
    more = np.sign([value - getattr(shape, feature) for shape, value in pairs])
    effects: Floats = np.sign((change * more).sum(axis=1)) * np.sqrt((change**2).mean(axis=1))
    low, high = np.quantile(effects, (_LOW, _HIGH))
    return Importance(feature=feature, value=float(effects.mean()), low=float(low), high=float(high))
