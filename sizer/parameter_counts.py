"""Number of weights of a model by part."""

from __future__ import annotations

from typing import NamedTuple


class ParameterCounts(NamedTuple):
    """Number of weights by part of the model; parts sum to `total`.

    `active` counts tables and head whole, as published counts do.
    """

    embedding: int
    attention: int
    mlp: int
    norm: int
    head: int
    inactive: int = 0  # weights of experts that a token does not use

    @property
    def total(self) -> int:
        """All weights, shared blocks and tied tables once."""
        return self.embedding + self.attention + self.mlp + self.norm + self.head

    @property
    def active(self) -> int:
        """Weights one token uses: all but those of experts that are not chosen for it."""
        return self.total - self.inactive

    @property
    def non_embedding(self) -> int:
        """Weights outside embedding tables and head (Kaplan et al., arXiv 2001.08361, section 2.1)."""
        return self.attention + self.mlp + self.norm

    def to_dict(self) -> dict[str, int]:
        """Return the counts as plain JSON values, with their sums."""
        return {
            "total": self.total,
            "active": self.active,
            "embedding": self.embedding,
            "attention": self.attention,
            "mlp": self.mlp,
            "norm": self.norm,
            "head": self.head,
            "non_embedding": self.non_embedding,
        }
