"""Made-up searches whose truth is set: models, and runs with a chosen effect and noise."""

from __future__ import annotations

from math import exp

import numpy as np

from search.analysis.decisions.points import ModelPoint, Observation, model_point
from search.store.results import Candidate
from sizer.architecture import Architecture


def point(layers: int, width: int, format: str = "Q8_0", kv_heads: int | None = None) -> ModelPoint:
    """A byte-level decoder with heads of 32."""
    heads = width // 32
    shape = Architecture(
        vocab_size=256,
        num_layers=layers,
        hidden_size=width,
        intermediate_size=2 * width,
        num_heads=heads,
        num_kv_heads=heads if kv_heads is None else kv_heads,
        head_dim=32,
        tie_embeddings=True,
    )
    return model_point(Candidate(architecture=shape, format=format), size_bytes=1.0, runtime="llama.cpp")


def runs(losses: dict[int, float], seeds: int, *, noise: float, tokens: float = 1e6) -> list[Observation]:
    """Seeds of each point, whose true bits per byte are given by place; `noise` is a share of them."""
    draw = np.random.default_rng(3)
    return [
        Observation(
            point=place,
            seed=seed,
            tokens=tokens,
            bits_per_byte=bits * exp(noise * draw.standard_normal()),
            scoring_sd=1e-3,
        )
        for seed in range(seeds)
        for place, bits in losses.items()
    ]
