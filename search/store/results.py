"""What the search asks, what training said and what is kept; plain data, no torch, no optuna."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from math import sqrt
from typing import TYPE_CHECKING

from search.config.objectives import Objective
from sizer.architecture import Architecture
from sizer.devices.catalogue import device as device_by_name
from sizer.model_estimate import Estimate, estimate
from sizer.prediction import Prediction
from sizer.runtimes import runtime as runtime_by_name
from sizer.workload import Workload

if TYPE_CHECKING:
    from search.config.config import SearchConfig


@unique
class TrialStatus(StrEnum):
    """How a candidate ended."""

    COMPLETE = "complete"
    DIVERGED = "diverged"  # loss became non-finite or ran away; never teaches the sampler or a law
    INFEASIBLE = "infeasible"  # broke the budget; never trained
    FAILED = "failed"  # ended by an error from outside (memory, disk)
    STOPPED = "stopped"  # asked to stop before its end; resumed later, and never stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model to build: its shape, the format it is deployed in and the type of its KV cache."""

    architecture: Architecture
    format: str
    cache_type: str | None = None  # None: the runtime's usual one

    def describe(self) -> str:
        """Return the shape's name and the format, such as "6x192 6/2h ff512, Q4_0"."""
        cache = "" if self.cache_type is None else f", {self.cache_type} cache"
        return f"{self.architecture.name}, {self.format}{cache}"

    def deployment(
        self,
        *,
        runtime: str,
        device: str | None,
        context_tokens: int,
        tokenizer_bytes: int | None = None,
        assumptions: tuple[str, ...] = (),
    ) -> Estimate:
        """Estimate file size, memory and speed on a runtime and device, for one user's prompt and answer.

        `tokenizer_bytes` are those of a GGUF file's metadata and tokenizer, where they are known.
        """
        return estimate(
            architecture=self.architecture,
            format=self.format,
            runtime=runtime,
            workload=Workload.within(
                context_tokens, self.cache_type or runtime_by_name(runtime).cache_types[0]
            ),
            device=device_by_name(device) if device else None,
            metadata_bytes=tokenizer_bytes,
            assumptions=assumptions,
        )


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
    machine: str | None = None  # host and processor that trained it last; None in studies before it was kept
    micro_batch: int | None = None  # windows of a backward pass, where memory did not suffice for a batch's


def combined(results: Sequence[ProxyResult]) -> ProxyResult:
    """Combine several runs of one candidate: the longest with a score, mean over its seeds.

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
    # a resumed run counts the steps before its checkpoint; each seed is a separate run
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
class DeviceFigures:
    """What a model takes on one of several devices, and which of the budget's limits it breaks there."""

    device: str
    memory_bytes: int
    decode_tokens_per_s: Prediction | None
    time_to_first_token_s: Prediction | None
    joules_per_token: Prediction | None
    violations: tuple[str, ...] = ()

    def cost(self, objective: Objective) -> float | None:
        """Return memory, speed or energy on this device; None where it is not known."""
        found = getattr(self, objective.key, None)
        return found.value if isinstance(found, Prediction) else found


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One finished trial: the candidate, its deployed size, memory and speed, and its training."""

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
    separate_tokenizer_bytes: int = 0  # of a tokenizer that is deployed as a separate file
    download_bytes: int | None = None  # first visit to a page, or an app with its model
    time_to_first_token_s: Prediction | None = None
    joules_per_token: Prediction | None = None
    # Of several devices, each by itself; the record's own figures are then the worst of them.
    devices: tuple[DeviceFigures, ...] = ()

    def cost(self, objective: Objective) -> float | None:
        """Return what the model costs where it is deployed, at worst of several devices; None if unknown."""
        if objective is Objective.BYTES:
            return float(self.file_bytes + self.separate_tokenizer_bytes)
        found = getattr(self, objective.key)
        return found.value if isinstance(found, Prediction) else found

    def costs(self, objectives: Sequence[Objective]) -> tuple[float, ...]:
        """Return positive figures of which less is better; all of the objectives must be known."""
        found = []
        for objective in objectives:
            value = self.cost(objective)
            assert value is not None, (self.number, objective)
            found.append(objective.minimised(value))
        return tuple(found)

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


def bits_per_byte(record: TrialRecord) -> float:
    """Return the score of what a trial trained."""
    assert record.proxy is not None, record.number
    assert record.proxy.val_bits_per_byte is not None, record.number
    return record.proxy.val_bits_per_byte


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
    versions: Mapping[str, str] = field(default_factory=dict)  # of what the study was started with

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices on which the study's limits hold."""
        known = (self.device,) if self.config is None else self.config.budget.devices
        return tuple(device for device in known if device is not None)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What the study weighs against the loss."""
        return (Objective.BYTES,) if self.config is None else self.config.objectives

    def deployment(self, record: TrialRecord) -> Estimate:
        """Estimate one trial's model as deployed on the study's runtime and device.

        Assumptions name the figures that differ from those the trial recorded, with another version of the
        calculator.
        """
        sized = record.candidate.deployment(
            runtime=self.runtime,
            device=self.device,
            context_tokens=int(self.settings["context_tokens"]),
            tokenizer_bytes=self.config.budget.tokenizer_bytes if self.config is not None else None,
            assumptions=(f"trial {record.number} of study {self.study}",),
        )
        changes = tuple(
            f"the study recorded {recorded:,} {name}, this version of the calculator gives {now:,}"
            for name, recorded, now in (
                ("file bytes", record.file_bytes, sized.file.total),
                ("memory bytes", record.memory_bytes, sized.memory.total_bytes),
            )
            if recorded != now
        )
        return replace(sized, assumptions=(*changes, *sized.assumptions))

    @property
    def trained(self) -> tuple[TrialRecord, ...]:
        """Trials whose training came to a score, each candidate once."""
        return tuple(r for r in self.records if r.status is TrialStatus.COMPLETE and r.repeats is None)

    @property
    def finalists(self) -> tuple[TrialRecord, ...]:
        """Trained trials that came as far as any: only scores of runs as long can be compared."""
        longest = max((r.proxy.rung for r in self.trained if r.proxy), default=0)
        return tuple(r for r in self.trained if r.proxy and r.proxy.rung == longest)
