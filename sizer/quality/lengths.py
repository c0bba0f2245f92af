"""Training lengths that models are compared at, and which of several models is best after them."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.errors import InvalidArchitecture
from sizer.model_estimate import Estimate
from sizer.quality.prediction import Quality, estimated_quality
from sizer.units import parse_count

# Tokens for each stored weight where none are stated (Chinchilla, arXiv 2203.15556).
USUAL_TOKENS_PER_WEIGHT = 20.0
# What deployed models of this size are trained for.
DEPLOYED_TOKENS = 1e12


def qualities(
    sized: Estimate, tokens: str | None, *, corpus: str | None = None, anchor: str | None = None
) -> tuple[Quality, ...]:
    """Return what a model would reach: after the tokens asked for, else after 20 a weight and after 1T."""
    usual = int(USUAL_TOKENS_PER_WEIGHT * sized.parameters.total), int(DEPLOYED_TOKENS)
    lengths = usual if tokens is None else (parse_count(tokens, "tokens"),)
    return tuple(estimated_quality(sized, length, corpus=corpus, anchor=anchor) for length in lengths)


def compared_qualities(
    models: Sequence[Estimate], tokens: str | None, *, corpus: str | None = None
) -> list[tuple[Quality, ...] | None]:
    """Return the qualities of each model; None for one that does not predict the next token."""
    found: list[tuple[Quality, ...] | None] = []
    for sized in models:
        try:
            found.append(qualities(sized, tokens, corpus=corpus))
        except InvalidArchitecture:
            found.append(None)
    return found


def best_first(found: Sequence[tuple[Quality, ...] | None]) -> list[int]:
    """Return places by the accuracy after the longest training, the best first; without one last."""
    accuracies = [row[-1].accuracy if row else -1.0 for row in found]
    return sorted(range(len(found)), key=lambda place: -accuracies[place])
