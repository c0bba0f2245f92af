"""What the search asks, what training said and what is kept; plain data, no torch, no optuna."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from math import sqrt
from typing import TYPE_CHECKING

from sizer.architecture import Architecture
from sizer.prediction import Prediction

if TYPE_CHECKING:
    from search.space.config import SearchConfig


@unique
class TrialStatus(StrEnum):
    """How a candidate ended."""

    COMPLETE = "complete"
    DIVERGED = "diverged"  # loss became non-finite or ran away; never teaches the sampler or a law
    INFEASIBLE = "infeasible"  # broke the budget; never trained
    FAILED = "failed"  # ended by an error from outside (memory, disk)
    STOPPED = "stopped"  # asked to stop before its end; goes on later, and is never stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model to build: its shape and the llama.cpp mix it is deployed in."""

    architecture: Architecture
    format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyResult:
    """What a short training run said about one candidate."""

    status: TrialStatus
    val_bits_per_byte: float | None  # of the fake-quantized weights; None unless complete
    val_bits_per_byte_sd: float | None  # standard error over the validation chunks
    # Of the weights before fake-quantization; worse than after it where they were trained rounded.
    val_bits_per_byte_full: float | None
    num_parameters: int  # sum(p.numel()) of the torch module
    steps: int
    trained_tokens: int  # up to the score
    wall_s: float
    seed: int
    learning_rate: float | None = None  # base rate of the run that counts, halved by each restart
    restarts: int = 0  # diverged runs before this one
    dtype: str | None = None  # what matrices were multiplied in while training: bf16 or fp32
    tokens_per_s: float | None = None  # of the training steps alone
    reason: str | None = None  # why a run that is not complete ended
    rung: int = 0  # which of the study's rungs this run came to
    seeds: int = 1  # runs that the figures are means of
    # Tokens of these trained on a copy, to score it as runs end: later rungs go on from before them.
    aside_tokens: int = 0
    val_chunk_bits: tuple[float, ...] = ()  # bits per byte of each validation chunk, the same for every model


def combined(results: Sequence[ProxyResult]) -> ProxyResult:
    """What several runs of one candidate say together: the longest that came to a score, mean over seeds.

    The standard error has both the chunks' and the seeds' part; tokens and seconds are those of all runs.
    """
    complete = [r for r in results if r.status is TrialStatus.COMPLETE]
    if not complete or len(results) == 1:
        return results[-1]
    longest = max(r.rung for r in complete)
    runs = [r for r in complete if r.rung == longest]
    scores = [r.val_bits_per_byte for r in runs if r.val_bits_per_byte is not None]
    full = [r.val_bits_per_byte_full for r in runs if r.val_bits_per_byte_full is not None]
    mean = sum(scores) / len(scores)
    of_chunks = sum(r.val_bits_per_byte_sd or 0.0 for r in runs) / len(runs)
    of_seeds = 0.0
    if len(scores) > 1:
        of_seeds = sum((s - mean) ** 2 for s in scores) / (len(scores) - 1) / len(scores)
    # a run that went on from a checkpoint counts the steps before it; each seed is a run of its own
    kept_of = {r.seed: 0 for r in results}
    for r in results:
        kept_of[r.seed] = max(kept_of[r.seed], r.trained_tokens - r.aside_tokens)
    aside = sum(r.aside_tokens for r in results)
    return replace(
        runs[0],
        val_bits_per_byte=mean,
        val_bits_per_byte_sd=sqrt(of_chunks**2 + of_seeds),
        val_bits_per_byte_full=sum(full) / len(full) if full else None,
        trained_tokens=sum(kept_of.values()) + aside,
        aside_tokens=aside,
        wall_s=sum(r.wall_s for r in results),
        seeds=len(runs),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One finished trial: the candidate, what the calculator says of it deployed, what training said."""

    number: int
    candidate: Candidate
    num_parameters: int
    file_bytes: int
    memory_bytes: int
    decode_tokens_per_s: Prediction | None
    proxy: ProxyResult | None  # None if the candidate was never trained
    violations: tuple[str, ...] = ()  # why an infeasible candidate broke the budget, one text per limit
    repeats: int | None = None  # number of the earlier trial that trained the very same candidate
    runs: tuple[ProxyResult, ...] = ()  # every run of the candidate, by rung and seed; proxy combines them
    scaled: Architecture | None = None  # trained in the candidate's place; None: the candidate as it is

    @property
    def trained_architecture(self) -> Architecture:
        """The shape that the scores are of."""
        return self.candidate.architecture if self.scaled is None else self.scaled

    @property
    def status(self) -> TrialStatus:
        """How the trial ended."""
        if self.violations:
            return TrialStatus.INFEASIBLE
        return self.proxy.status if self.proxy else TrialStatus.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """A study as read back: what was asked, on which text and device, and every finished trial."""

    study: str
    device: str | None
    runtime: str
    budget: dict[str, float | None]  # max_size_bytes, max_memory_bytes, min_decode_tokens_per_s
    corpus: str
    corpus_digest: str
    trials_requested: int
    settings: dict[str, str | int | float]  # steps, batch, sequence length, seed, dtype, machine
    records: tuple[TrialRecord, ...]
    config: SearchConfig | None = None  # all that was asked; None where a result was put together by hand
    versions: Mapping[str, str] = field(default_factory=dict)  # of what the study was begun with

    @property
    def trained(self) -> tuple[TrialRecord, ...]:
        """Trials whose training came to a score, each candidate once."""
        return tuple(r for r in self.records if r.status is TrialStatus.COMPLETE and r.repeats is None)

    def _repr_html_(self) -> str:
        """The table that a notebook shows."""
        from search.store.notebook import frontier_table_html

        return frontier_table_html(self)

    @property
    def finalists(self) -> tuple[TrialRecord, ...]:
        """Trained trials that came as far as any: only scores of runs as long can be compared."""
        longest = max((r.proxy.rung for r in self.trained if r.proxy), default=0)
        return tuple(r for r in self.trained if r.proxy and r.proxy.rung == longest)
