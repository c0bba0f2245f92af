"""A decoder of two layers and how tests train it."""

from __future__ import annotations

from dataclasses import replace

from search.store.results import Candidate, ProxyResult
from search.training.train_step import ProductPrecision
from search.training.training_run import TrainConfig
from sizer.architecture import Architecture

TINY = Architecture(
    vocab_size=256,
    num_layers=2,
    hidden_size=64,
    intermediate_size=128,
    num_heads=2,
    num_kv_heads=1,
    head_dim=32,
)
CANDIDATE = Candidate(architecture=TINY, format="Q4_0")
CONFIG = TrainConfig(
    steps=60,
    batch_size=4,
    seq_len=64,
    warmup_steps=5,
    learning_rate=2e-3,
    val_chunks=24,
    dtype=ProductPrecision.FP32,
)


def same(a: ProxyResult, b: ProxyResult) -> bool:
    """Equal but for the clock."""
    return replace(a, wall_s=0, tokens_per_s=0) == replace(b, wall_s=0, tokens_per_s=0)
