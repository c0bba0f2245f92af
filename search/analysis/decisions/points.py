"""A model as decisions see it: its shape's features, format, sharing and vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search.config.axes import sharing_label
from search.quality.features import ShapeFeatures, features_of, stored_bits_per_weight
from search.store.results import Candidate
from sizer.architecture import Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPoint:
    """One model to train or trained; `shape` is the same for all formats of one architecture."""

    shape: Architecture
    features: ShapeFeatures
    format: str
    size_bytes: float

    @property
    def sharing(self) -> str:
        """Return the way of sharing as one word."""
        return sharing_label(self.shape.sharing)

    @property
    def vocab_size(self) -> int:
        """Return the number of rows of the embedding table."""
        return self.shape.vocab_size


def model_point(candidate: Candidate, *, size_bytes: float, runtime: str) -> ModelPoint:
    """Return a candidate as a point."""
    bits = stored_bits_per_weight(candidate.architecture, format=candidate.format, runtime=runtime)
    return ModelPoint(
        shape=candidate.architecture,
        features=features_of(candidate.architecture, bits_per_weight=bits),
        format=candidate.format,
        size_bytes=size_bytes,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A score of one run of a model."""

    point: int  # place among the points
    seed: int
    tokens: float  # of its training
    bits_per_byte: float
    scoring_sd: float  # paired error of the score, bits per byte


def distinct(points: Sequence[ModelPoint]) -> tuple[str, ...]:
    """Return the formats of points, each once, in order of appearance."""
    return tuple(dict.fromkeys(point.format for point in points))
