"""Which model to train next: the expected gain in hypervolume under the quality law.

Costs are known before training, only loss is uncertain, so the expectation has a closed form: a model of size
s pushes the front down between s and the reference, by how much its loss falls below the front's there, and
for a Gaussian loss the expected fall below a level is the integral of expected improvement (Mockus; Jones,
Schonlau and Welch 1998) over each stair of the front. With several costs stairs are boxes of a grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import log

import numpy as np
from numpy.typing import NDArray

from search.quality.features import ShapeFeatures
from search.quality.law import QualityLaw
from search.stats.hypervolume import Point, reference_point, steps
from search.stats.ridge import Floats

Indices = NDArray[np.intp]

_TINY = 1e-12


def expected_improvement(
    costs: Floats, means: Floats, sds: Floats, *, observed: Sequence[Point], reference: Point
) -> Floats:
    """Return the expected gain in hypervolume of one more point of each cost with a Gaussian loss.

    `costs` are `[points]`, or `[points, costs]` where there are several.

    >>> gain = expected_improvement(
    ...     np.array([1.0]), np.array([2.0]), np.array([0.0]), observed=[(3.0, 1.0)], reference=(4.0, 4.0)
    ... )
    >>> round(float(gain[0]), 6)  # two wide and two high until the observed point's stair, nothing beyond
    4.0
    """
    columns = costs.reshape(len(means), -1)
    stairs = steps(observed, reference)
    edges = [sorted({stair[axis] for stair in stairs}) for axis in range(columns.shape[1])]
    losses = [reference[-1], *sorted({stair[-1] for stair in stairs}, reverse=True)]
    level_of = _levels(stairs, edges, losses)
    falls = _expected_fall(np.array(losses), means[:, None], sds[:, None])
    widths = [
        np.clip(np.array([*inner, end]) - np.maximum(np.array([-np.inf, *inner]), column[:, None]), 0, None)
        for inner, end, column in zip(edges, reference, columns.T, strict=False)
    ]
    gains = np.empty(len(means))
    for point in range(len(means)):
        volume = falls[point][level_of]
        for along in reversed(widths):
            volume = volume @ along[point]
        gains[point] = volume
    return gains


def _levels(stairs: Sequence[Point], edges: Sequence[Sequence[float]], losses: Sequence[float]) -> Indices:
    """Return for each box of the grid the lowest loss that a stair has there, as an index of `losses`."""
    found = np.zeros([len(inner) + 1 for inner in edges], np.intp)
    for *costs, loss in stairs:
        beyond = tuple(slice(inner.index(cost) + 1, None) for inner, cost in zip(edges, costs, strict=True))
        found[beyond] = np.maximum(found[beyond], losses.index(loss))
    return found


def _expected_fall(level: Floats, mean: Floats, sd: Floats) -> Floats:
    """Return E[max(0, level - Y)] for Y normal."""
    z = (level - mean) / np.maximum(sd, _TINY)
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.asarray((level - mean) * _normal_below(z) + sd * density)


def _normal_below(z: Floats) -> Floats:
    """Return the normal distribution function."""
    from math import erf, sqrt

    below = np.frompyfunc(lambda value: 0.5 * (1 + erf(value / sqrt(2))), 1, 1)
    return np.asarray(below(z), np.float64)


def propose(
    pool: Sequence[ShapeFeatures],
    costs: Sequence[float] | Sequence[Sequence[float]],
    law: QualityLaw,
    *,
    count: int = 1,
    reference: Point | None = None,
    trained_costs: Sequence[Sequence[float]] | None = None,
) -> tuple[int, ...]:
    """Return indices of the pool's models to train next, best first; positive costs, on a logarithmic scale.

    `trained_costs` are those of the law's rows, by default their bytes. All models are compared after the
    tokens of the longest run, and trained ones by their scores without chance: a lucky run is no front that
    others have to beat. Those chosen before count as trained with the loss that the law expects, so that
    several proposals at once do not mean the same. Without a reference (log of each cost, loss) it lies
    beyond all that was trained and the pool's costs.
    """
    assert len(pool) == len(costs)
    if not pool:
        return ()
    if trained_costs is None:
        trained_costs = [(row.size_bytes,) for row in law.rows]
    tokens = max(row.features.tokens for row in law.rows)
    scores = law.shrunk([replace(row.features, tokens=tokens) for row in law.rows])
    observed: list[Point] = [
        (*map(log, own), float(score)) for own, score in zip(trained_costs, scores, strict=True)
    ]
    logs = np.log(np.array(costs, np.float64)).reshape(len(pool), -1)
    means, sds = law.predict_arrays([replace(shape, tokens=tokens) for shape in pool])
    if reference is None:
        worst = max(point[-1] for point in observed)
        ends = (logs.min(axis=0), logs.max(axis=0))
        reference = reference_point([*observed, *((*end.tolist(), worst) for end in ends)])
    chosen: list[int] = []
    free = np.ones(len(pool), np.bool_)
    while free.any() and len(chosen) < count:
        gains = expected_improvement(logs, means, sds, observed=observed, reference=reference)
        # where nothing is expected to help, the lowest loss expected
        best = int(np.lexsort((means, -gains, ~free))[0])
        chosen.append(best)
        free[best] = False
        observed.append((*logs[best].tolist(), float(means[best])))
    return tuple(chosen)
