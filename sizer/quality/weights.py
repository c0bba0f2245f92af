"""Weights outside the embedding, where only a total is known."""

from __future__ import annotations

USUAL_VOCABULARY = 32000
# Width over depth of most published decoders, and matrices of width x width in one of their layers.
_ASPECT, _MATRICES = 64, 12


def outside_embedding(total: float, vocab_size: float | None = None) -> float:
    """Return weights outside one embedding table, for a decoder of the usual width for its weights.

    >>> round(outside_embedding(1.31e8, 32000) / 1e6)
    103
    """
    vocab = vocab_size if vocab_size and vocab_size == vocab_size else USUAL_VOCABULARY
    weights = total
    for _ in range(60):
        width = (weights * _ASPECT / _MATRICES) ** (1 / 3)
        weights = 0.5 * (weights + max(0.2 * total, total - vocab * width))
    return weights
