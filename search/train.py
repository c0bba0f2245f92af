"""Train one proxy for some steps and score it as deployed: validation bits per byte of quantized weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum, unique
from pathlib import Path

import torch
from torch import Tensor

from search.checkpoint import load_checkpoint, save_checkpoint
from search.corpus import Corpus, ValidationChunks
from search.model import Decoder, check_parameters
from search.quantize import check_mix, fake_quantized_state
from search.results import Candidate, ProxyResult, TrialStatus
from search.scaling import initialize
from search.stepper import Precision, choose_engine, make_stepper, update_rule
from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture, InvalidFile, InvalidQuantity

COOLDOWN_SHARE = 0.2  # the last steps of a run that ends, over which the rate falls linearly to zero
REPORT_EVERY = 10  # steps between reads of the loss: reading it waits for the step to end
MAX_RESTARTS = 1  # a diverged run is tried again at half the rate this often
SAVE_EVERY_S = 30.0  # seconds between checkpoints of a run that has a place to keep them

# A run has diverged if its loss (mean since the last report, nats per token) is this far above the first
# step's or the lowest it had: a collapsed model sits at the entropy of single tokens, below the start.
_MARGIN_OVER_FIRST = 0.5
_MARGIN_OVER_LOWEST = 1.0

_EVALUATION_BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How a proxy is trained up to a step."""

    steps: int
    batch_size: int = 8
    seq_len: int = 128  # tokens of a training window; bytes of a validation chunk in any vocabulary
    learning_rate: float = 1.5e-3  # at the base width; search/scaling.py carries it to other shapes
    warmup_steps: int = 50
    cooldown_steps: int | None = None  # last steps of falling rate; None: COOLDOWN_SHARE of all, 0 in rungs
    weight_decay: float = 0.1  # of hidden matrices only
    seed: int = 0
    val_chunks: int = 200
    dtype: Precision = Precision.AUTO
    fused: bool | None = None  # written-out steps; None: where they are faster
    grad_clip: float = 1.0

    def __post_init__(self) -> None:
        least_of = {"steps": 1, "batch_size": 1, "seq_len": 2, "val_chunks": 2, "warmup_steps": 0}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise InvalidQuantity(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.cooldown_steps is not None and not 0 <= self.cooldown_steps <= self.steps:
            raise InvalidQuantity(
                f"cooldown_steps must be from 0 to steps ({self.steps}), got {self.cooldown_steps}"
            )
        for name in ("learning_rate", "grad_clip"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InvalidQuantity(f"{name} must be a positive number, got {value}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise InvalidQuantity(f"weight_decay must not be negative, got {self.weight_decay}")
        if self.dtype not in tuple(Precision):
            raise InvalidQuantity(f"dtype must be one of {', '.join(Precision)}, got {self.dtype!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """Where a run stands; sent every REPORT_EVERY steps and after the last."""

    step: int
    steps: int
    loss: float  # nats per token, mean since the last report
    tokens_per_s: float  # since training began or was taken up again


def schedule(step: int, config: TrainConfig) -> float:
    """Share of the learning rate used at a step (from 1): linear warm-up, constant, linear cool-down to zero.

    Constant in the middle because rungs compare runs of different lengths (search notes, section 2.6).
    """
    warm = min(1.0, step / config.warmup_steps) if config.warmup_steps else 1.0
    if config.cooldown_steps == 0:
        return warm
    share = COOLDOWN_SHARE * config.steps if config.cooldown_steps is None else config.cooldown_steps
    return min(warm, (config.steps - step + 1) / max(1.0, share))


@unique
class _Ending(StrEnum):
    DONE = "done"
    STOPPED = "stopped"
    DIVERGED = "diverged"


@dataclass(slots=True)
class _Divergence:
    """Remembers the losses reported so far."""

    first: float = math.inf
    lowest: float = math.inf

    def diverged(self, loss: float) -> bool:
        if self.first == math.inf:
            self.first = loss
        self.lowest = min(self.lowest, loss)
        return not loss <= min(self.first + _MARGIN_OVER_FIRST, self.lowest + _MARGIN_OVER_LOWEST)


class Training:
    """One model in training at one learning rate; can be saved, and gone on with from where it was."""

    def __init__(self, architecture: Architecture, corpus: Corpus, config: TrainConfig) -> None:
        self.config = config
        self.step = 0
        self.trained_s = 0.0  # of the steps of this process
        self.restarts = 0  # diverged runs before this one
        self.model = Decoder(architecture)
        initialize(self.model, architecture, torch.Generator().manual_seed(config.seed))
        self._batches = corpus.train_batches(config.seed, config.batch_size, config.seq_len)
        self._watch = _Divergence()
        self.dtype = precision_of(config).dtype
        self._stepper = make_stepper(
            self.model,
            batch=config.batch_size,
            seq=config.seq_len,
            dtype=self.dtype,
            rule=update_rule(architecture, weight_decay=config.weight_decay, clip=config.grad_clip),
            fused=choose_engine().fused if config.fused is None else config.fused,
        )
        self._stepper.refresh()

    def advance(
        self,
        on_step: Callable[[StepReport], None],
        should_stop: Callable[[], bool],
        checkpoint: Path | None = None,
    ) -> _Ending:
        """Train up to config.steps; a checkpoint is kept at the end, when stopped and every SAVE_EVERY_S."""
        config, began, saved = self.config, time.perf_counter(), time.perf_counter()
        first, since_report = self.step, 0
        ending = _Ending.DONE
        while self.step < config.steps:
            if should_stop():
                ending = _Ending.STOPPED
                break
            self.step += 1
            rate = config.learning_rate * schedule(self.step, config)
            self._stepper.step(self._batches.at(self.step), rate, self.step)
            since_report += 1
            if self.step == 1 or self.step % REPORT_EVERY == 0 or self.step == config.steps:
                loss, since_report = self._stepper.take_loss() / since_report, 0
                now = time.perf_counter()
                done = (self.step - first) * config.batch_size * config.seq_len
                speed = done / (now - began)
                on_step(StepReport(step=self.step, steps=config.steps, loss=loss, tokens_per_s=speed))
                if self._watch.diverged(loss):
                    ending = _Ending.DIVERGED
                    break
                if checkpoint is not None and now - saved > SAVE_EVERY_S:
                    self._keep(checkpoint)
                    saved = now
        self.trained_s += time.perf_counter() - began
        if checkpoint is not None and ending is not _Ending.DIVERGED:
            self._keep(checkpoint)
        return ending

    def _keep(self, path: Path) -> None:
        """Save, but where the disk is full rather train the next rung from the start than lose this run."""
        with suppress(OSError):
            self.save(path)

    def save(self, path: Path) -> None:
        """Write weights, moments and the place in the text."""
        tensors: dict[str, Tensor] = {f"weight.{n}": p for n, p in self.model.named_parameters()}
        for name, (mean, square) in self._stepper.moments.items():
            tensors |= {f"mean.{name}": mean, f"square.{name}": square}
        meta = {
            "step": self.step,
            "learning_rate": self.config.learning_rate,
            "restarts": self.restarts,
            "seed": self.config.seed,
            "first_loss": self._watch.first,
            "lowest_loss": self._watch.lowest,
        }
        save_checkpoint(path, tensors, meta)

    def load(self, path: Path) -> None:
        """Take over what `save` wrote for the same model and seed; InvalidFile where it does not fit."""
        tensors, meta = load_checkpoint(path)
        try:
            if meta["seed"] != self.config.seed or not 0 < meta["step"] <= self.config.steps:
                raise InvalidFile(f"checkpoint: {str(path)!r} is of another run")
            with torch.no_grad():
                for name, parameter in self.model.named_parameters():
                    parameter.copy_(tensors[f"weight.{name}"])
                for name, (mean, square) in self._stepper.moments.items():
                    mean.copy_(tensors[f"mean.{name}"])
                    square.copy_(tensors[f"square.{name}"])
        except (KeyError, RuntimeError, TypeError) as error:
            raise InvalidFile(f"checkpoint: {str(path)!r} is of another model: {error}") from None
        self.step, self.restarts = meta["step"], meta["restarts"]
        self.config = replace(self.config, learning_rate=meta["learning_rate"])
        self._watch = _Divergence(meta["first_loss"], meta["lowest_loss"])
        self._stepper.refresh()


def precision_of(config: TrainConfig) -> Precision:
    """The type a run multiplies in: as asked, or the faster one."""
    return choose_engine().precision if config.dtype is Precision.AUTO else Precision(config.dtype)


def train_proxy(
    candidate: Candidate,
    corpus: Corpus,
    config: TrainConfig,
    *,
    on_step: Callable[[StepReport], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    checkpoint: Path | None = None,
) -> ProxyResult:
    """Train the candidate's decoder up to config.steps and score it at its llama.cpp mix.

    With a checkpoint the run goes on from there where the file holds one, and leaves one behind. A run that
    diverges is started once more at half the rate; `restarts` and `learning_rate` say so. A run out of
    memory, or stopped through `should_stop`, is FAILED with a `reason`. Same seed, machine and number of
    threads: same result. Bad input raises SizerError, a wrong parameter count ParameterMismatch.
    """
    architecture = candidate.architecture
    if architecture.vocab_size < corpus.vocab_size:
        raise InvalidArchitecture(
            f"vocab_size must be at least {corpus.vocab_size} for corpus {corpus.name!r} in tokens of "
            f"{corpus.tokenizer!r}, got {architecture.vocab_size}"
        )
    check_mix(architecture, candidate.format)
    chunks = corpus.val_chunks(config.val_chunks, config.seq_len)
    began = time.perf_counter()
    precision, batch_tokens = precision_of(config), config.batch_size * config.seq_len
    with torch.device("meta"):
        num_parameters = check_parameters(Decoder(architecture), architecture)
    result = ProxyResult(
        status=TrialStatus.FAILED,
        val_bits_per_byte=None,
        val_bits_per_byte_sd=None,
        val_bits_per_byte_full=None,
        num_parameters=num_parameters,
        steps=0,
        trained_tokens=0,
        wall_s=0.0,
        seed=config.seed,
        learning_rate=config.learning_rate,
        dtype=precision.value,
    )
    try:
        for restarts in range(MAX_RESTARTS + 1):
            halved = replace(config, learning_rate=config.learning_rate / 2**restarts)
            run = Training(architecture, corpus, halved)
            run.restarts = restarts
            if restarts == 0 and checkpoint is not None and checkpoint.exists():
                run = _taken_up(run, checkpoint, corpus)
            first = run.step
            ending = run.advance(on_step or _ignore, should_stop or _never, checkpoint)
            result = replace(
                result,
                steps=run.step,
                trained_tokens=run.step * batch_tokens,
                tokens_per_s=(run.step - first) * batch_tokens / max(run.trained_s, 1e-9),
                learning_rate=run.config.learning_rate,
                restarts=run.restarts,
            )
            result = _ended(result, run, ending, candidate, chunks)
            if result.status is not TrialStatus.DIVERGED or run.restarts >= MAX_RESTARTS:
                break
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        result = replace(result, status=TrialStatus.FAILED, reason="out of memory")
    return replace(result, wall_s=time.perf_counter() - began)


def _ignore(report: StepReport) -> None:
    pass


def _never() -> bool:
    return False


def _taken_up(run: Training, checkpoint: Path, corpus: Corpus) -> Training:
    """The run as the checkpoint has it; a new one where the file is of no use."""
    try:
        run.load(checkpoint)
    except InvalidFile:
        return Training(run.model.architecture, corpus, run.config)
    return run


def _ended(
    result: ProxyResult, run: Training, ending: _Ending, candidate: Candidate, chunks: ValidationChunks
) -> ProxyResult:
    """The result with how the run ended and, where it came to its end, its scores."""
    if ending is _Ending.STOPPED:
        return replace(result, reason=f"stopped after {run.step} of {run.config.steps} steps")
    if ending is _Ending.DIVERGED:
        return replace(result, status=TrialStatus.DIVERGED, reason=f"diverged at step {run.step}")
    model = run.model
    full = bits_per_byte(model, chunks)
    model.load_state_dict(fake_quantized_state(model.state_dict(), model.architecture, candidate.format))
    quantized = bits_per_byte(model, chunks)
    if not (full.isfinite().all() and quantized.isfinite().all()):
        return replace(result, status=TrialStatus.DIVERGED, reason="validation loss is not finite")
    return replace(
        result,
        status=TrialStatus.COMPLETE,
        val_bits_per_byte=overall(quantized, chunks),
        val_bits_per_byte_sd=standard_error(quantized, chunks),
        val_bits_per_byte_full=overall(full, chunks),
        val_chunk_bits=tuple(quantized.tolist()),
    )


def _out_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Whether torch's allocator gave up; on the CPU it raises a plain RuntimeError, told by its text."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "can't allocate memory" in text or "out of memory" in text


def bits_per_byte(model: Decoder, chunks: ValidationChunks) -> Tensor:
    """Cross-entropy of each chunk's scored text in bits per byte, float64 `[chunks]`, computed in float32."""
    before, model.compute_dtype = model.compute_dtype, torch.float32
    nats = []
    with torch.no_grad():
        for windows, scored in zip(
            torch.split(chunks.windows, _EVALUATION_BATCH),
            torch.split(chunks.scored_bytes, _EVALUATION_BATCH),
            strict=True,
        ):
            losses = model.loss(windows).double()
            nats.append(torch.where(scored > 0, losses, 0.0).sum(1))
    model.compute_dtype = before
    return torch.cat(nats) / math.log(2) / chunks.num_bytes


def overall(bits: Tensor, chunks: ValidationChunks) -> float:
    """Bits per byte of all chunks together: a chunk counts by its bytes."""
    return (bits * _weights(chunks)).mean().item()


def standard_error(bits: Tensor, chunks: ValidationChunks) -> float:
    """Standard error of `overall`, of chunks drawn at random (that of a ratio of means)."""
    if len(bits) < 2:
        return 0.0
    away = (bits - overall(bits, chunks)) * _weights(chunks)
    return (away.square().sum() / (len(bits) - 1) / len(bits)).sqrt().item()


def _weights(chunks: ValidationChunks) -> Tensor:
    sizes = chunks.num_bytes.double()
    return sizes / sizes.mean()
