"""Small reproductions and finished runs, made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from search.config.config import Tokenizer
from search.reproductions.reproduction_runs import ReproductionRun
from search.reproductions.reproductions import Arm, Claim, Reproduction
from search.store.results import Candidate, TrialStatus
from tests.search.records import TINY, proxy


def run(label: str, seed: int, chunk_bits: Sequence[float], *, diverged: bool = False) -> ReproductionRun:
    """A finished run whose score is the mean of its chunks."""
    found = proxy(sum(chunk_bits) / len(chunk_bits), steps=1000)
    if diverged:
        found = proxy(status=TrialStatus.DIVERGED, steps=1000)
    found = replace(found, seed=seed, dtype="bf16", val_chunk_bits=() if diverged else tuple(chunk_bits))
    return ReproductionRun(label=label, seed=seed, threads=1, cpu_s=20.5, proxy=found)


def arm(label: str, value: float | None, layers: int = 2) -> Arm:
    """An arm of a tiny model."""
    shape = replace(TINY, name=label, num_layers=layers)
    return Arm(
        label=label,
        published=None,
        published_params_m=None,
        published_value=value,
        candidate=Candidate(architecture=shape, format="F16"),
    )


def small(arms: Sequence[Arm], claims: Sequence[Claim] = (), *, ranked: bool = False) -> Reproduction:
    """A reproduction of those arms, published in points of which more are better."""
    return Reproduction(
        name="small",
        title="Small: deep [against] wide",
        source="a paper, Table 1",
        published="Deep beats wide.",
        metric="points",
        higher_is_better=True,
        matched="nothing",
        limits=("it is small",),
        ranked=ranked,
        tokenizer=Tokenizer.BYTE,
        vocab_size=256,
        steps=1000,
        seeds=2,
        batch_size=4,
        seq_len=128,
        val_chunks=2,
        fused=None,
        published_tokens=None,
        core_minutes=3,
        arms=tuple(arms),
        claims=tuple(claims),
    )
