"""How well one order of models agrees with another: rank correlations, pairs of one size, bootstrap ranges.

The size-matched tau is the one that matters: over models of all sizes a count of parameters alone ranks
almost perfectly, among models of one size it hardly does. Everything here takes values of which lower is
better on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.stats.ridge import Floats

# Pairs whose deployed sizes differ by less than this share of the larger count as of one size.
SAME_SIZE = 0.1

_RESAMPLES = 1000
_LOW_QUANTILE, _HIGH_QUANTILE = 0.1, 0.9  # 80 %, as every range of this project


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A statistic with its range, of 80 % where nothing else is said; None where no pair decides it."""

    value: float | None
    low: float | None
    high: float | None

    def to_dict(self) -> dict[str, float | None]:
        """Return the three numbers as plain JSON values."""
        return {"value": self.value, "low": self.low, "high": self.high}


def _signs(values: Sequence[float]) -> Floats:
    array = np.asarray(values, np.float64)
    return np.sign(array[:, None] - array)


def _same_size(sizes: Sequence[float]) -> NDArray[np.bool_]:
    array = np.asarray(sizes, np.float64)
    return np.asarray(np.abs(array[:, None] - array) < SAME_SIZE * np.maximum(array[:, None], array))


def kendall(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return Kendall's tau-b; None if one side does not vary.

    >>> kendall([1, 2, 3], [1, 3, 2])
    0.3333333333333333
    """
    x, y = _signs(a), _signs(b)
    scale = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / scale if scale else None


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return Spearman's rho, equal values at their mean rank; None if one side does not vary.

    >>> spearman([1, 2, 3], [1, 3, 2])
    0.5
    """
    x, y = _centered_ranks(a), _centered_ranks(b)
    scale = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / scale if scale else None


def _centered_ranks(values: Sequence[float]) -> Floats:
    """Return ranks about their mean: half of the number below less the number above."""
    return np.asarray(_signs(values).sum(axis=1) / 2)


def pairs_of_one_size(sizes: Sequence[float]) -> int:
    """Number of pairs whose sizes differ by less than a tenth of the larger."""
    return int((_same_size(sizes).sum() - len(sizes)) // 2)


def tau_of_one_size(a: Sequence[float], b: Sequence[float], sizes: Sequence[float]) -> float | None:
    """Return tau over pairs within 10 % in size: (concordant - discordant) / (concordant + discordant).

    Pairs equal on either side count as neither; None where no pair is left.

    >>> tau_of_one_size([1, 2, 3], [1, 2, 0], [100, 95, 50])
    1.0
    """
    return _tau(_signs(a) * _signs(b) * _same_size(sizes), np.ones(len(a)))


def _tau(agreement: Floats, weight: Floats) -> float | None:
    decided = float(weight @ np.abs(agreement) @ weight)
    return float(weight @ agreement @ weight) / decided if decided else None


def tau_interval(
    a: Sequence[float], b: Sequence[float], sizes: Sequence[float], *, seed: int = 0
) -> Interval:
    """Return tau of pairs of one size with its bootstrap range over architectures."""
    return _range(tau_of_one_size(a, b, sizes), tau_resamples(a, b, sizes, seed=seed))


def tau_resamples(a: Sequence[float], b: Sequence[float], sizes: Sequence[float], *, seed: int = 0) -> Floats:
    """Return the tau of pairs of one size over resampled architectures, without those that decide no pair."""
    found = _resampled_taus(_signs(a) * _signs(b) * _same_size(sizes), seed)
    return np.asarray(found[np.isfinite(found)])


def tau_gain_interval(
    a: Sequence[float],
    baseline: Sequence[float],
    b: Sequence[float],
    sizes: Sequence[float],
    *,
    seed: int = 0,
) -> Interval:
    """Return how much a's tau with b exceeds the baseline's, over the same resampled architectures."""
    one, other = tau_of_one_size(a, b, sizes), tau_of_one_size(baseline, b, sizes)
    gain = None if one is None or other is None else one - other
    return _range(gain, tau_gain_resamples(a, baseline, b, sizes, seed=seed))


def tau_gain_resamples(
    a: Sequence[float],
    baseline: Sequence[float],
    b: Sequence[float],
    sizes: Sequence[float],
    *,
    seed: int = 0,
) -> Floats:
    """Return how much a's tau with b exceeds the baseline's in each resample that decides pairs of both."""
    truth = _signs(b) * _same_size(sizes)
    ours = _resampled_taus(_signs(a) * truth, seed)
    gain = ours - _resampled_taus(_signs(baseline) * truth, seed)
    return np.asarray(gain[np.isfinite(gain)])


def _resampled_taus(agreement: Floats, seed: int) -> Floats:
    """Return tau by weights of resampled architectures; NaN where no pair is decided."""
    count = len(agreement)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=_RESAMPLES)
    weight = drawn.astype(np.float64)
    decided = (weight @ np.abs(agreement) * weight).sum(1)
    right = (weight @ agreement * weight).sum(1)
    return np.asarray(np.divide(right, decided, out=np.full(len(weight), np.nan), where=decided > 0))


def _range(whole: float | None, found: Floats) -> Interval:
    """Return a statistic with the range of its resamples."""
    if whole is None or not len(found):
        return Interval(value=whole, low=None, high=None)
    low, high = np.quantile(found, (_LOW_QUANTILE, _HIGH_QUANTILE))
    return Interval(value=whole, low=float(low), high=float(high))


def resampled(
    statistic: Callable[[Sequence[float], Sequence[float]], float | None],
    a: Sequence[float],
    b: Sequence[float],
    *,
    coverage: float,
    seed: int = 0,
) -> Interval:
    """Return a rank correlation with its bootstrap range of that coverage over models."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    whole = statistic(x.tolist(), y.tolist())
    drawn = np.random.default_rng(seed).integers(len(x), size=(_RESAMPLES, len(x)))
    found = [v for i in drawn if (v := statistic(x[i].tolist(), y[i].tolist())) is not None]
    if whole is None or not found:
        return Interval(value=whole, low=None, high=None)
    low, high = np.quantile(found, ((1 - coverage) / 2, (1 + coverage) / 2))
    return Interval(value=whole, low=float(low), high=float(high))


def top_recall(predicted: Sequence[float], true: Sequence[float], count: int) -> float:
    """Share of the truly best `count` models that are among the `count` predicted best."""
    best = set(np.argsort(np.asarray(true), kind="stable")[:count].tolist())
    found = set(np.argsort(np.asarray(predicted), kind="stable")[:count].tolist())
    return len(best & found) / len(best)
