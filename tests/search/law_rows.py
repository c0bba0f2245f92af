"""Rows of the quality law built by hand or drawn from a law that is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from search.quality.features import LawRow, ShapeFeatures, law_columns
from sizer.quality.constants import published_law
from sizer.quality.law import PARAMETERS, loss

UNIT = 0.35
_MOVED = {"few_tokens": -20.0, "weights_exponent": 0.08, "tokens_exponent": -0.3, "aspect_curvature": 0.4}
TRUE_CONSTANTS = published_law().mean + np.array([_MOVED.get(name, 0.0) for name in PARAMETERS])


def features(depth: float = 6, width: float = 128, **others: Any) -> ShapeFeatures:
    """A shape of that depth and width, plain in all else."""
    plain: dict[str, Any] = {
        "head_dim": 32,
        "kv_ratio": 1.0,
        "ffn_ratio": 2.5,
        "sharing": 1.0,
        "embedding_ratio": 1.0,
        "bits_per_weight": 4.5,
        "parameters": 12 * depth * width**2 + 256 * width,
        "attention_parameters": 4 * depth * width**2,
        "tokens": 1e9,
    }
    return ShapeFeatures(depth=depth, width=width, **(plain | others))


def row(loss: float, shape: ShapeFeatures | None = None, *, size: float | None = None) -> LawRow:
    """A trained model of that loss."""
    shape = shape or features()
    return LawRow(
        name=f"{shape.depth}x{shape.width}",
        features=shape,
        size_bytes=size or shape.parameters * shape.bits_per_weight / 8,
        loss=loss,
    )


def true_loss(shape: ShapeFeatures) -> float:
    """The law in bits per byte, its constants as far from the published ones as tables' are."""
    return float(UNIT * loss(TRUE_CONSTANTS, law_columns([shape]))[0])


def drawn(count: int, *, noise: float, seed: int, largest_width: int = 512) -> list[LawRow]:
    """Rows of the true law at random shapes, with Gaussian noise."""
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        shape = features(
            depth=int(generator.integers(2, 33)),
            width=int(generator.integers(2, largest_width // 32 + 1)) * 32,
            head_dim=int(generator.choice([16, 32, 64])),
        )
        rows.append(row(true_loss(shape) + noise * float(generator.standard_normal()), shape))
    return rows


def losses(rows: Sequence[LawRow]) -> list[float]:
    """Their losses."""
    return [r.loss for r in rows]
