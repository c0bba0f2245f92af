"""A training run of one model: schedule, steps, checkpoints and resuming."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum, unique
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from search.text.corpus import Corpus
from search.training.accelerator import PROCESSOR, multiplies_bfloat16, training_device
from search.training.checkpoint import load_checkpoint, save_checkpoint
from search.training.cooldown import cooldown_steps
from search.training.decoder import Decoder
from search.training.learning_rates import initialize
from search.training.low_bit import LowBit
from search.training.memory import moved
from search.training.teacher import Teacher, load_teacher
from search.training.train_step import (
    EAGER,
    FUSED,
    ProductPrecision,
    StepBackend,
    TrainStep,
    choose_engine,
    make_train_step,
    step_backend,
    update_rule,
)
from sizer.architecture import Architecture
from sizer.errors import InvalidFile, InvalidQuantity
from sizer.families.hf_config import config_from_architecture
from sizer.runtimes import DEFAULT_RUNTIME

# Raised by whatever changes how a model learns (first weights, rates, schedule, optimizer): runs of two
# revisions are never compared. Other rounding does not raise it: it differs between processors as well. 1 was
# before embedding tables learned at 4 times the rate (docs/learning_rates.md).
TRAINER_REVISION = 2

COOLDOWN_SHARE = 0.2  # the last steps of a run that ends, over which the rate falls linearly to zero
COMPILE_FROM_STEPS = 5000  # of a run on CUDA; shorter ones end before it has paid
REPORT_EVERY = 10  # steps between reads of the loss: reading it waits for the step to end
SAVE_EVERY_S = 30.0  # seconds between checkpoints of a run that has a place to keep them
SAVING_SHARE = 0.05  # of its time that a run spends on checkpoints, at most: large ones are rarer
_DISK_BYTES_PER_S = 1e8  # at which a run's first checkpoint is expected to be written

# A run has diverged if its loss (mean since the last report, nats per token) is this far above the first
# step's or the lowest it had: a collapsed model sits at the entropy of single tokens, below the start.
_MARGIN_OVER_FIRST = 0.5
_MARGIN_OVER_LOWEST = 1.0

_log = logging.getLogger("sizer")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How a proxy is trained up to a step."""

    steps: int
    batch_size: int = 8
    seq_len: int = 128  # tokens of a training window; bytes of a validation chunk in any vocabulary
    learning_rate: float = 1.5e-3  # at the base width; learning_rates.py has the factors of other shapes
    warmup_steps: int = 50
    cooldown_steps: int | None = None  # last steps of falling rate; None: COOLDOWN_SHARE of all, 0 in rungs
    weight_decay: float = 0.1  # of hidden matrices only
    seed: int = 0
    val_chunks: int = 200
    dtype: ProductPrecision = ProductPrecision.AUTO
    fused: bool | None = None  # whether to use the fused step; None: where it is faster
    train_on: str = PROCESSOR
    grad_clip: float = 1.0
    runtime: str = DEFAULT_RUNTIME  # whose formats models are scored in
    # Whether a run without a cool-down is scored after one on a copy. Low-bit models always are; in a study
    # with any of them all must be: 3 x 256 after 600 steps scores 2.23 in 16 bits, 2.08 cooled, ternary 2.18.
    score_on_copy: bool = False
    teacher: Path | None = None  # checkpoint of a trained proxy whose predictions are learned as well

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
        if self.dtype not in tuple(ProductPrecision):
            raise InvalidQuantity(f"dtype must be one of {', '.join(ProductPrecision)}, got {self.dtype!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """Progress of a run; sent every REPORT_EVERY steps and after the last."""

    step: int
    steps: int
    loss: float  # nats per token, mean since the last report
    tokens_per_s: float  # since training started or was resumed
    copy_steps: int = 0  # cool-down steps on a copy after these, to score the run


def schedule(step: int, config: TrainConfig) -> float:
    """Return the share of the learning rate at a step (from 1): warm-up, constant, linear cool-down to zero.

    Constant in the middle because rungs compare runs of different lengths (search notes, section 2.6).
    """
    warm = min(1.0, step / config.warmup_steps) if config.warmup_steps else 1.0
    if config.cooldown_steps == 0:
        return warm
    return min(warm, (config.steps - step + 1) / max(1.0, _cooldown_steps(config)))


def _cooldown_steps(config: TrainConfig) -> float:
    return COOLDOWN_SHARE * config.steps if config.cooldown_steps is None else config.cooldown_steps


@unique
class RunEnding(StrEnum):
    """How a stretch of training ended."""

    DONE = "done"
    STOPPED = "stopped"
    DIVERGED = "diverged"


@dataclass(slots=True)
class _Divergence:
    """First and lowest of the losses reported so far, nats per token."""

    first: float = math.inf
    lowest: float = math.inf

    def diverged(self, loss: float) -> bool:
        if self.first == math.inf:
            self.first = loss
        self.lowest = min(self.lowest, loss)
        return not loss <= min(self.first + _MARGIN_OVER_FIRST, self.lowest + _MARGIN_OVER_LOWEST)


class TrainingRun:
    """One model in training at one learning rate; can be saved and resumed.

    Low-bit matrices (low_bit.py) are rounded while the rate falls, and only then.
    """

    def __init__(
        self,
        architecture: Architecture,
        corpus: Corpus,
        config: TrainConfig,
        low_bit: LowBit | None = None,
    ) -> None:
        self.config = config
        self.step = 0
        self.trained_s = 0.0  # of the steps of this process
        self.restarts = 0  # earlier runs that diverged
        self.device = training_device(config.train_on)
        self.model = Decoder(architecture)
        # drawn on the CPU, so that a seed gives the same weights on every device
        initialize(self.model, architecture, torch.Generator().manual_seed(config.seed))
        self.model.to(self.device)
        self._on_card = self.device.type == "cuda"
        if self._on_card:
            self.model.bound_memory()
        # that the last checkpoint took, or the first will: float32 weights with two moments
        self._saving_s = 12 * sum(p.numel() for p in self.model.parameters()) / _DISK_BYTES_PER_S
        self._batches = corpus.train_batches(config.seed, config.batch_size, config.seq_len)
        self._watch = _Divergence()
        self.dtype = precision_of(config).dtype
        self._teacher: Teacher | None = None
        if config.teacher is not None:
            vocab_size = architecture.vocab_size
            self._teacher = load_teacher(
                config.teacher, vocab_size=vocab_size, dtype=self.dtype, device=self.device
            )
        self._low_bit, self._rounding = low_bit, False
        self._train_step = self._make_train_step()
        self._train_step.sync_weights()

    def _make_train_step(self) -> TrainStep:
        config = self.config
        return make_train_step(
            self.model,
            batch=config.batch_size,
            seq=config.seq_len,
            dtype=self.dtype,
            rule=update_rule(
                self.model.architecture, weight_decay=config.weight_decay, clip=config.grad_clip
            ),
            fused=backend_of(config).name == FUSED,
            # compiling takes about as long as thousands of steps of a small model
            compiled=self._on_card and config.steps - self.step >= COMPILE_FROM_STEPS,
            low_bit=self._low_bit if self._rounding else None,
            teacher=self._teacher,
        )

    def _round_from_now_on(self) -> None:
        """Continue with steps that round, with the same moments."""
        self._rounding = True
        before, self._train_step = self._train_step, self._make_train_step()
        self._train_step.micro_batch = before.micro_batch
        for name, moments in self._train_step.moments.items():
            for mine, theirs in zip(moments, before.moments[name], strict=True):
                mine.copy_(theirs)
        self._train_step.sync_weights()

    def _is_time_to_round(self) -> bool:
        """Return True if the next step is the first that rounds."""
        left = self.config.steps - self.step
        return self._low_bit is not None and not self._rounding and left <= _cooldown_steps(self.config)

    def cool_down_copy(
        self, on_step: Callable[[StepReport], None], should_stop: Callable[[], bool]
    ) -> RunEnding:
        """Train further with a falling rate, only to score the run: its checkpoint is not touched."""
        end, extra = self.step, cooldown_steps(self.step)
        self.config = replace(self.config, steps=end + extra, cooldown_steps=extra)

        def report_copy(report: StepReport) -> None:
            on_step(replace(report, step=end, steps=end, copy_steps=report.step - end))

        return self.advance(report_copy, should_stop)

    @property
    def micro_batch(self) -> int | None:
        """Return the windows of a backward pass, where memory did not suffice for a whole batch's."""
        least = self._train_step.micro_batch
        return least if least < self.config.batch_size else None

    @property
    def is_scored_on_copy(self) -> bool:
        """Return True if the run is scored after a cool-down on a copy, from which it does not continue."""
        return self.config.cooldown_steps == 0 and (self.config.score_on_copy or self._low_bit is not None)

    def apply_quantization(self) -> None:
        """Replace low-bit weights by their quantized values and switch on activation rounding."""
        if self._low_bit is not None:
            self._low_bit.apply_quantization(self.model)

    def advance(
        self,
        on_step: Callable[[StepReport], None],
        should_stop: Callable[[], bool],
        checkpoint: Path | None = None,
    ) -> RunEnding:
        """Train up to config.steps; save a checkpoint at the end, when stopped and every SAVE_EVERY_S."""
        config, began, saved = self.config, time.perf_counter(), time.perf_counter()
        first, since_report, loss_before_rounding = self.step, 0, 0.0
        ending = RunEnding.DONE
        while self.step < config.steps:
            if should_stop():
                ending = RunEnding.STOPPED
                break
            if self._is_time_to_round():
                if since_report:
                    loss_before_rounding = self._train_step.pop_loss()
                self._round_from_now_on()
                self._watch = _Divergence()
            self.step += 1
            rate = config.learning_rate * schedule(self.step, config)
            windows = moved(self._batches.at(self.step), self.device, pinned=self._on_card)
            self._train_step.step(windows, rate, self.step)
            since_report += 1
            if self.step == 1 or self.step % REPORT_EVERY == 0 or self.step == config.steps:
                loss = (loss_before_rounding + self._train_step.pop_loss()) / since_report
                since_report, loss_before_rounding = 0, 0.0
                now = time.perf_counter()
                done = (self.step - first) * config.batch_size * config.seq_len
                speed = done / (now - began)
                on_step(StepReport(step=self.step, steps=config.steps, loss=loss, tokens_per_s=speed))
                if self._watch.diverged(loss):
                    ending = RunEnding.DIVERGED
                    break
                if checkpoint is not None and now - saved > save_interval_s(self._saving_s):
                    self._keep(checkpoint)
                    saved = time.perf_counter()
        self.trained_s += time.perf_counter() - began
        if checkpoint is not None and ending is not RunEnding.DIVERGED:
            self._keep(checkpoint)
        return ending

    def _keep(self, path: Path) -> None:
        """Save if possible: with a full disk the next rung starts from scratch, but this run is not lost."""
        began = time.perf_counter()
        try:
            self.save(path)
        except OSError as error:
            _notice_not_kept(str(path.parent), error.strerror or str(error))
        self._saving_s = time.perf_counter() - began

    def save(self, path: Path) -> None:
        """Write weights, moments and the number of steps."""
        tensors: dict[str, Tensor] = {f"weight.{n}": p for n, p in self.model.named_parameters()}
        for name, (mean, square) in self._train_step.moments.items():
            tensors |= {f"mean.{name}": mean, f"square.{name}": square}
        if self._low_bit is not None:
            tensors |= {f"grid.{name}": grid for name, grid in self._low_bit.grids.items()}
        meta = {
            "config": config_from_architecture(self.model.architecture),
            "rounding": self._rounding,
            "step": self.step,
            "learning_rate": self.config.learning_rate,
            "restarts": self.restarts,
            "seed": self.config.seed,
            "first_loss": self._watch.first,
            "lowest_loss": self._watch.lowest,
        }
        save_checkpoint(path, tensors, meta)

    def load(self, path: Path) -> None:
        """Resume from what `save` wrote for the same model and seed; InvalidFile if it is of another run."""
        tensors, meta = load_checkpoint(path)
        try:
            if meta["seed"] != self.config.seed or not 0 < meta["step"] <= self.config.steps:
                raise InvalidFile(f"checkpoint: {str(path)!r} is of another run")
            if meta.get("rounding"):
                self._resume_rounding(tensors)
            with torch.no_grad():
                for name, parameter in self.model.named_parameters():
                    parameter.copy_(tensors[f"weight.{name}"])
                for name, (mean, square) in self._train_step.moments.items():
                    mean.copy_(tensors[f"mean.{name}"])
                    square.copy_(tensors[f"square.{name}"])
            step, restarts, rate = meta["step"], meta["restarts"], meta["learning_rate"]
            watch = _Divergence(float(meta["first_loss"]), float(meta["lowest_loss"]))
            if type(step) is not int or type(restarts) is not int or not isinstance(rate, float):
                raise InvalidFile(f"checkpoint: {str(path)!r} has no step, restarts or learning rate")
            self.config = replace(self.config, learning_rate=rate)
        except InvalidFile:
            raise
        except (ArithmeticError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InvalidFile(f"checkpoint: {str(path)!r} is of another model: {reason}") from None
        self.step, self.restarts, self._watch = step, restarts, watch
        self._train_step.sync_weights()

    def _resume_rounding(self, tensors: dict[str, Tensor]) -> None:
        if self._low_bit is None:
            raise KeyError("a low-bit format")
        grids = {
            n.removeprefix("grid."): t.to(self.device) for n, t in tensors.items() if n.startswith("grid.")
        }
        self._low_bit.grids.update(grids)
        self._round_from_now_on()


def save_interval_s(saving_s: float) -> float:
    """Return the seconds between two checkpoints, where the last took `saving_s` to save."""
    return max(SAVE_EVERY_S, saving_s / SAVING_SHARE)


@lru_cache(maxsize=16)  # once per process and reason, however many models it trains
def _notice_not_kept(folder: str, reason: str) -> None:
    _log.warning(
        "notice: checkpoints cannot be kept in %s: %s; models that are stopped begin again", folder, reason
    )


def precision_of(config: TrainConfig) -> ProductPrecision:
    """Return the type of a run's products: as asked, or the faster one."""
    if config.dtype is not ProductPrecision.AUTO:
        return ProductPrecision(config.dtype)
    if config.train_on == PROCESSOR:
        return choose_engine().precision
    fast = multiplies_bfloat16(training_device(config.train_on))
    return ProductPrecision.BF16 if fast else ProductPrecision.FP32


def backend_of(config: TrainConfig, architecture: Architecture | None = None) -> StepBackend:
    """Return the kind of step of a run: as asked, or the faster one, and why it is not the fastest kind."""
    if config.train_on != PROCESSOR or config.fused is False:
        return StepBackend(EAGER, None)
    available = step_backend(precision_of(config).dtype, architecture, has_teacher=config.teacher is not None)
    if available.name == FUSED and config.fused is None and not choose_engine().fused:
        times = ", ".join(
            f"{name} {1e3 * seconds:.1f} ms" for name, seconds in choose_engine().step_s.items()
        )
        return StepBackend(EAGER, f"autograd's steps are faster here: {times}")
    return available
