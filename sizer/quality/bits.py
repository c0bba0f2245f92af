"""Points of accuracy that few bits a weight cost, rounded after training or trained so.

From Spectra (arXiv 2407.12327, averages of six tasks, 99M to 3.9B weights at 300B tokens): GPTQ at 8 and 6
bits nothing, at 4 bits 0.2 to 2.2 points, more where tokens a weight are many, at 3 bits 2.4 to 5.2 at any
size; trained ternary 0.7 to 4.2, binary 2.4 to 5.7; ParetoQ's trained 2 bits 0.9 to 1.6.
"""

from __future__ import annotations

import numpy as np

from sizer.quality.law import Floats

FULL_BITS = 16.0
TERNARY_BITS = 1.58
# Points at 4 bits, and how fast they fall with bits.
_ROUNDED, _ROUNDED_DECAY = 1.0, 1.36
_TRAINED, _TRAINED_DECAY = 2.3, 1.1
# Rounding hurts more the more a weight has learned: exponent of tokens for each weight outside the embedding,
# none at 3 bits and below; at 4 bits never more than 3 bits cost.
_USUAL_TOKENS_PER_WEIGHT, _TOKENS_EXPONENT, _MOST_BY_TOKENS = 500.0, 0.3, 2.3
_MOST_POINTS = 12.0
# Formats below this many bits are for models trained to be stored so.
TRAINED_BELOW = 2.2


def points_lost(bits: float, *, tokens_per_weight: float, trained: bool | None = None) -> float:
    """Return by how many points this many bits a weight lower the mean of eight tasks; 0 at 16.

    >>> [round(points_lost(b, tokens_per_weight=500), 1) for b in (8, 4, 3)]
    [0.0, 1.0, 3.9]
    """
    return float(points_lost_each(np.array(bits), np.array(tokens_per_weight), trained=trained))


def points_lost_each(bits: Floats, tokens_per_weight: Floats, *, trained: bool | None = None) -> Floats:
    """Return the points lost of each of many models, as `points_lost` does of one.

    >>> points_lost_each(np.array([16, 4, 1.58]), np.array([500.0, 500, 500])).round(1)
    array([0. , 1. , 2.3])
    """
    length = np.minimum(_MOST_BY_TOKENS, (tokens_per_weight / _USUAL_TOKENS_PER_WEIGHT) ** _TOKENS_EXPONENT)
    by_tokens = length ** np.clip(bits - 3, 0, 1)
    rounded = _ROUNDED * np.exp(-_ROUNDED_DECAY * (bits - 4)) * by_tokens
    learned = _TRAINED * np.exp(-_TRAINED_DECAY * (bits - TERNARY_BITS))
    lost = np.where(bits < TRAINED_BELOW if trained is None else trained, learned, rounded)
    return np.where(bits >= FULL_BITS, 0.0, np.minimum(_MOST_POINTS, lost))
