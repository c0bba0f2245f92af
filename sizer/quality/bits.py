"""Points of accuracy that few bits a weight cost, rounded after training or trained so.

From Spectra (arXiv 2407.12327, averages of six tasks, 99M to 3.9B weights at 300B tokens): GPTQ at 8 and 6
bits nothing, at 4 bits 0.2 to 2.2 points, more where tokens a weight are many, at 3 bits 2.4 to 5.2 at any
size; trained ternary 0.7 to 4.2, binary 2.4 to 5.7; ParetoQ's trained 2 bits 0.9 to 1.6.
"""

from __future__ import annotations

from math import exp

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
    if bits >= FULL_BITS:
        return 0.0
    if trained if trained is not None else bits < TRAINED_BELOW:
        return min(_MOST_POINTS, _TRAINED * exp(-_TRAINED_DECAY * (bits - TERNARY_BITS)))
    length = min(_MOST_BY_TOKENS, (tokens_per_weight / _USUAL_TOKENS_PER_WEIGHT) ** _TOKENS_EXPONENT)
    by_tokens: float = length ** min(1, max(0, bits - 3))
    return min(_MOST_POINTS, _ROUNDED * exp(-_ROUNDED_DECAY * (bits - 4)) * by_tokens)
