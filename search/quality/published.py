"""The law before any run of a search: losses of shapes after a training of some length, by published tables.

Only differences between shapes are certain: what is uncertain of two shapes alike cancels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, unique

import numpy as np
from numpy.typing import NDArray

from search.quality.features import Shapes, columns_without_bits, feature, law_columns
from search.stats.ridge import Floats
from sizer.quality.bits import points_lost_each
from sizer.quality.constants import fitted_ranges, published_law
from sizer.quality.law import TrainedShapes, loss, slopes
from sizer.quality.lengths import USUAL_TOKENS_PER_WEIGHT

# Points of the mean of eight tasks a nat is worth about 1B weights (data/accuracy.toml).
POINTS_PER_NAT = 30.0
# What bits cost is known to a third of itself (docs/quality.md).
_BITS_SD = 1 / 3
_ROUNDED = 1e-9


@unique
class LawColumn(StrEnum):
    """What the law sees of a shape and published tables vary, named as the column of TrainedShapes."""

    WEIGHTS = "weights"  # outside the embedding
    ASPECT = "aspect"
    HEAD_DIM = "head_dim"
    FFN_RATIO = "ffn_ratio"
    BITS = "bits"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedLaw:
    """The published law after `tokens` of training; without, after 20 tokens for each weight stored."""

    tokens: float | None = None
    counts_bits: bool = True  # of several formats; in one, layers have one number of bits

    def columns(self, shapes: Shapes) -> TrainedShapes:
        """Return shapes and their training as the law's columns; what bits cost is counted apart."""
        if self.tokens is not None:
            return columns_without_bits(shapes, self.tokens)
        return columns_without_bits(shapes, USUAL_TOKENS_PER_WEIGHT * feature(shapes, "parameters"))

    def loss(self, shapes: Shapes) -> Floats:
        """Return the expected loss of each shape in nats a token, what its bits cost included."""
        columns = self.columns(shapes)
        return loss(published_law().mean, columns) + self._bits_nats(shapes, columns)

    def above(self, shapes: Shapes, other: Shapes) -> tuple[Floats, Floats]:
        """Share of the other's loss by which each shape's is above it, and its standard deviation."""
        prior, ours, theirs = published_law(), self.columns(shapes), self.columns(other)
        level = float(self.loss(other)[0])
        apart = slopes(prior.mean, ours) - slopes(prior.mean, theirs)
        variance = np.square(apart * prior.sd).sum(axis=1)
        bits, theirs_bits = self._bits_nats(shapes, ours), self._bits_nats(other, theirs)
        variance += ((bits - theirs_bits) * _BITS_SD) ** 2
        return (self.loss(shapes) - level) / level, np.sqrt(variance) / level

    def _bits_nats(self, shapes: Shapes, columns: TrainedShapes) -> Floats:
        """Return nats that the bits of each shape cost, rounded after training."""
        if not self.counts_bits:
            return np.zeros(len(columns))
        return bits_nats(feature(shapes, "bits_per_weight"), columns.tokens / columns.weights)


def bits_nats(bits: Floats, tokens_per_weight: Floats) -> Floats:
    """Return nats a token that bits cost, rounded after training on a number of tokens for each weight."""
    return points_lost_each(bits, tokens_per_weight) / POINTS_PER_NAT


def ranges() -> Mapping[LawColumn, tuple[float, float]]:
    """Return the least and the most of each column among the published models: outside, nothing is known."""
    return {LawColumn(name): limits for name, limits in fitted_ranges().items()}


def outside(shapes: Shapes) -> dict[LawColumn, NDArray[np.bool_]]:
    """Return by column whether each shape lies outside the range of the published tables."""
    models, found = law_columns(shapes), {}
    for column, (least, most) in ranges().items():
        values = getattr(models, column.value)
        found[column] = (values < least * (1 - _ROUNDED)) | (values > most * (1 + _ROUNDED))
    return found
