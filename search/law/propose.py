"""Which model to train next: the expected gain in hypervolume under the quality law.

Size is known before training, only loss is uncertain, so the expectation has a closed form: a model of size s
pushes the front down between s and the reference, by how much its loss falls below the front's there, and for
a Gaussian loss the expected fall below a level is the integral of expected improvement (Mockus; Jones,
Schonlau and Welch 1998) over each stair of the front.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np

from search.law.hypervolume import Point, reference_point, steps
from search.law.law import QualityLaw
from search.law.ridge import Floats
from search.law.shapes import ShapeFeatures

_TINY = 1e-12


def expected_improvement(
    sizes: Floats, means: Floats, sds: Floats, *, observed: Sequence[Point], reference: Point
) -> Floats:
    """Expected gain in hypervolume from one more point of each size with a Gaussian loss.

    >>> gain = expected_improvement(
    ...     np.array([1.0]), np.array([2.0]), np.array([0.0]), observed=[(3.0, 1.0)], reference=(4.0, 4.0)
    ... )
    >>> round(float(gain[0]), 6)  # two wide and two high until the observed point's stair, nothing beyond
    4.0
    """
    stairs = steps(observed, reference)
    starts = np.array([-np.inf, *(size for size, _ in stairs)])
    ends = np.array([*(size for size, _ in stairs), reference[0]])
    levels = np.array([reference[1], *(loss for _, loss in stairs)])
    widths = np.clip(ends - np.maximum(starts, sizes[:, None]), 0, None)
    return np.asarray((widths * _expected_fall(levels, means[:, None], sds[:, None])).sum(axis=1))


def _expected_fall(level: Floats, mean: Floats, sd: Floats) -> Floats:
    """E[max(0, level - Y)] for Y normal."""
    z = (level - mean) / np.maximum(sd, _TINY)
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.asarray((level - mean) * _normal_below(z) + sd * density)


def _normal_below(z: Floats) -> Floats:
    """Normal distribution function."""
    from math import erf, sqrt

    below = np.frompyfunc(lambda value: 0.5 * (1 + erf(value / sqrt(2))), 1, 1)
    return np.asarray(below(z), np.float64)


def propose(
    pool: Sequence[ShapeFeatures],
    sizes_bytes: Sequence[float],
    law: QualityLaw,
    *,
    count: int = 1,
    reference: Point | None = None,
) -> tuple[int, ...]:
    """Indices of the pool's models to train next, best first; sizes on a logarithmic scale.

    Those chosen before count as trained with the loss that the law expects, so that several proposals at once
    do not say the same thing. Without a reference (log bytes, loss) it lies beyond all that was trained and
    the pool's sizes.
    """
    assert len(pool) == len(sizes_bytes)
    if not pool:
        return ()
    observed = [(log(row.size_bytes), row.loss) for row in law.rows]
    sizes = np.log(np.array(sizes_bytes, np.float64))
    means, sds = law.predict_arrays(pool)
    if reference is None:
        worst = max(loss for _, loss in observed)
        reference = reference_point(
            [*observed, *((float(size), worst) for size in (sizes.min(), sizes.max()))]
        )
    chosen: list[int] = []
    free = np.ones(len(pool), np.bool_)
    while free.any() and len(chosen) < count:
        gains = expected_improvement(sizes, means, sds, observed=observed, reference=reference)
        # where nothing is expected to help, the lowest loss expected
        best = int(np.lexsort((means, -gains, ~free))[0])
        chosen.append(best)
        free[best] = False
        observed.append((float(sizes[best]), float(means[best])))
    return tuple(chosen)
