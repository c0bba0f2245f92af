"""Baselines that the quality law has to beat: orders of models by their number of weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search.quality.features import LawRow
from search.quality.law import fit_law
from search.stats.ridge import LEAST_SPREAD, RegressionSpec, fit
from sizer.quality.posterior import Prior

# Exponents of the size law: none to Chinchilla's 0.34 (arXiv 2203.15556) and beyond.
_SIZE_EXPONENTS = (0.05, 0.1, 0.2, 0.35, 0.6)


def by_parameters(rows: Sequence[LawRow]) -> tuple[float, ...]:
    """Rank by number of weights, the baseline to beat: more weights, lower loss."""
    return tuple(-row.features.parameters for row in rows)


def by_attention_parameters(rows: Sequence[LawRow]) -> tuple[float, ...]:
    """Rank by weights in attention, which grow with depth: more weights, lower loss."""
    return tuple(-row.features.attention_parameters for row in rows)


def by_size_law(rows: Sequence[LawRow]) -> tuple[float, ...]:
    """Predict each row's loss without it by a law over the number of weights alone, L0 + c N^-gamma.

    Left out, a model takes its own loss from what is said of its size, which turns the order of models of one
    size against itself: among those its tau is below that of counting parameters, of which it is a function.
    """
    logs = np.log([row.features.parameters for row in rows])
    losses = np.array([row.loss for row in rows])
    spread = max(float(losses.std()), LEAST_SPREAD * float(losses.mean()))
    forms = [
        RegressionSpec(
            columns=np.stack([np.ones(len(rows)), (1 - np.exp(-e * (logs - logs.mean()))) / e], axis=1),
            expected=np.array([losses.mean(), 0.0]),
            deviation=np.array([100 * spread, 100 * spread]),
        )
        for e in _SIZE_EXPONENTS
    ]
    found = fit(forms, losses)
    return tuple(float(value) for value in (found.loo_weight * found.loo_mean).sum(axis=0))


def by_quality_law(rows: Sequence[LawRow], *, prior: Prior | None = None) -> tuple[float, ...]:
    """Predict each row's loss without it by the quality law, starting at `prior` or the published law."""
    return tuple(prediction.value for prediction in fit_law(rows, prior=prior).leave_one_out)
