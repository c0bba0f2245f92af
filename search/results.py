"""What the search asks, what training said and what is kept; plain data, no torch, no optuna."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique

from sizer.architecture import Architecture
from sizer.prediction import Prediction


@unique
class TrialStatus(StrEnum):
    """How a candidate ended."""

    COMPLETE = "complete"
    DIVERGED = "diverged"  # loss became non-finite or ran away; never teaches the sampler or a law
    INFEASIBLE = "infeasible"  # broke the budget; never trained
    FAILED = "failed"  # stopped by an error from outside (memory, disk)


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
    val_bits_per_byte_full: float | None  # of the weights as trained, before fake-quantization
    num_parameters: int  # sum(p.numel()) of the torch module
    steps: int
    trained_tokens: int
    wall_s: float
    seed: int
    learning_rate: float | None = None  # base rate of the run that counts, halved by each restart
    restarts: int = 0  # diverged runs before this one
    dtype: str | None = None  # what matrices were multiplied in while training: bf16 or fp32
    tokens_per_s: float | None = None  # of the training steps alone
    reason: str | None = None  # why a run that is not complete ended


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

    @property
    def trained(self) -> tuple[TrialRecord, ...]:
        """Trials whose training came to a score, each candidate once."""
        return tuple(r for r in self.records if r.status is TrialStatus.COMPLETE and r.repeats is None)
