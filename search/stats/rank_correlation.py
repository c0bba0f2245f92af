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
    agreement = _signs(a) * _signs(b) * _same_size(sizes)
    return _bootstrap(lambda weight: _tau(agreement, weight), len(a), seed)


def tau_gain_interval(
    a: Sequence[float],
    baseline: Sequence[float],
    b: Sequence[float],
    sizes: Sequence[float],
    *,
    seed: int = 0,
) -> Interval:
    """Return how much a's tau with b exceeds the baseline's, over the same resampled architectures."""
    truth = _signs(b) * _same_size(sizes)
    ours, theirs = _signs(a) * truth, _signs(baseline) * truth

    def gain(weight: Floats) -> float | None:
        one, other = _tau(ours, weight), _tau(theirs, weight)
        return None if one is None or other is None else one - other

    return _bootstrap(gain, len(a), seed)


def _bootstrap(statistic: Callable[[Floats], float | None], count: int, seed: int) -> Interval:
    """Return a statistic of weights per architecture and its bootstrap range."""
    whole = statistic(np.ones(count))
    if whole is None:
        return Interval(value=None, low=None, high=None)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=_RESAMPLES)
    found = [value for value in map(statistic, drawn.astype(np.float64)) if value is not None]
    if not found:
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
