"""One model in training: its schedule, its steps, and how it is saved and gone on with."""

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

from search.proxy.accelerator import PROCESSOR, multiplies_bfloat16, training_device
from search.proxy.checkpoint import load_checkpoint, save_checkpoint
from search.proxy.few_bits import FewBits
from search.proxy.model import Decoder
from search.proxy.quantize import LLAMA_CPP
from search.proxy.scaling import initialize
from search.proxy.stepper import Precision, Stepper, choose_engine, make_stepper, update_rule
from search.proxy.teacher import Teacher, load_teacher
from search.run.plan import cooldown_steps
from search.text.corpus import Corpus
from sizer.architecture import Architecture
from sizer.errors import InvalidFile, InvalidQuantity
from sizer.hf_config import config_from_architecture

# Raised by whatever changes how a model learns (first weights, rates, schedule, optimizer): runs of two
# revisions are never compared. Other rounding does not raise it: it differs between processors as well. 1 was
# before embedding tables learned at 4 times the rate (docs/learning_rates.md).
TRAINER_REVISION = 2

COOLDOWN_SHARE = 0.2  # the last steps of a run that ends, over which the rate falls linearly to zero
COMPILE_FROM_STEPS = 5000  # of a run on CUDA; shorter ones end before it has paid
REPORT_EVERY = 10  # steps between reads of the loss: reading it waits for the step to end
SAVE_EVERY_S = 30.0  # seconds between checkpoints of a run that has a place to keep them

# A run has diverged if its loss (mean since the last report, nats per token) is this far above the first
# step's or the lowest it had: a collapsed model sits at the entropy of single tokens, below the start.
_MARGIN_OVER_FIRST = 0.5
_MARGIN_OVER_LOWEST = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How a proxy is trained up to a step."""

    steps: int
    batch_size: int = 8
    seq_len: int = 128  # tokens of a training window; bytes of a validation chunk in any vocabulary
    learning_rate: float = 1.5e-3  # at the base width; search/proxy/scaling.py carries it to other shapes
    warmup_steps: int = 50
    cooldown_steps: int | None = None  # last steps of falling rate; None: COOLDOWN_SHARE of all, 0 in rungs
    weight_decay: float = 0.1  # of hidden matrices only
    seed: int = 0
    val_chunks: int = 200
    dtype: Precision = Precision.AUTO
    fused: bool | None = None  # written-out steps; None: where they are faster
    train_on: str = PROCESSOR
    grad_clip: float = 1.0
    runtime: str = LLAMA_CPP  # whose formats models are scored in
    # Whether a run without a cool-down is scored after one on a copy. A model of few bits always is; where a
    # study has any, all must be: 3 x 256 after 600 steps scores 2.23 in 16 bits, 2.08 cooled, ternary 2.18.
    cool_aside: bool = False
    teacher: Path | None = None  # checkpoint of a trained proxy whose predictions are learned from as well

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
    aside_steps: int = 0  # after these, on a copy, to score the run


def schedule(step: int, config: TrainConfig) -> float:
    """Share of the learning rate used at a step (from 1): linear warm-up, constant, linear cool-down to zero.

    Constant in the middle because rungs compare runs of different lengths (search notes, section 2.6).
    """
    warm = min(1.0, step / config.warmup_steps) if config.warmup_steps else 1.0
    if config.cooldown_steps == 0:
        return warm
    return min(warm, (config.steps - step + 1) / max(1.0, _cooldown_steps(config)))


def _cooldown_steps(config: TrainConfig) -> float:
    return COOLDOWN_SHARE * config.steps if config.cooldown_steps is None else config.cooldown_steps


@unique
class Ending(StrEnum):
    """How a stretch of training ended."""

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
    """One model in training at one learning rate; can be saved, and gone on with from where it was.

    Matrices of few bits (search/proxy/few_bits.py) are rounded while the rate falls, and only then.
    """

    def __init__(
        self,
        architecture: Architecture,
        corpus: Corpus,
        config: TrainConfig,
        few_bits: FewBits | None = None,
    ) -> None:
        self.config = config
        self.step = 0
        self.trained_s = 0.0  # of the steps of this process
        self.restarts = 0  # diverged runs before this one
        self.device = training_device(config.train_on)
        self.model = Decoder(architecture)
        # drawn on the processor, so that a seed means the same weights everywhere
        initialize(self.model, architecture, torch.Generator().manual_seed(config.seed))
        self.model.to(self.device)
        self._batches = corpus.train_batches(config.seed, config.batch_size, config.seq_len)
        self._watch = _Divergence()
        self.dtype = precision_of(config).dtype
        self._teacher: Teacher | None = None
        if config.teacher is not None:
            vocab_size = architecture.vocab_size
            self._teacher = load_teacher(
                config.teacher, vocab_size=vocab_size, dtype=self.dtype, device=self.device
            )
        self._few_bits, self._rounding = few_bits, False
        self._stepper = self._make_stepper()
        self._stepper.refresh()

    def _make_stepper(self) -> Stepper:
        config = self.config
        return make_stepper(
            self.model,
            batch=config.batch_size,
            seq=config.seq_len,
            dtype=self.dtype,
            rule=update_rule(
                self.model.architecture, weight_decay=config.weight_decay, clip=config.grad_clip
            ),
            fused=uses_written_out_steps(config),
            # compiling takes about as long as some thousand steps of a small model
            compiled=self.device.type == "cuda" and config.steps - self.step >= COMPILE_FROM_STEPS,
            few_bits=self._few_bits if self._rounding else None,
            teacher=self._teacher,
        )

    def _round_from_now_on(self) -> None:
        """Go over to steps that round, with the same moments."""
        self._rounding = True
        before, self._stepper = self._stepper, self._make_stepper()
        for name, moments in self._stepper.moments.items():
            for mine, theirs in zip(moments, before.moments[name], strict=True):
                mine.copy_(theirs)
        self._stepper.refresh()

    def _is_time_to_round(self) -> bool:
        """Whether the next step rounds, and the last one did not."""
        left = self.config.steps - self.step
        return self._few_bits is not None and not self._rounding and left <= _cooldown_steps(self.config)

    def end_aside(self, on_step: Callable[[StepReport], None], should_stop: Callable[[], bool]) -> Ending:
        """Train on as runs end, with a falling rate, to be scored: what was saved is not touched."""
        end, extra = self.step, cooldown_steps(self.step)
        self.config = replace(self.config, steps=end + extra, cooldown_steps=extra)

        def told(report: StepReport) -> None:
            on_step(replace(report, step=end, steps=end, aside_steps=report.step - end))

        return self.advance(told, should_stop)

    @property
    def ends_aside(self) -> bool:
        """Whether the run is scored after a cool-down that it does not go on from."""
        return self.config.cooldown_steps == 0 and (self.config.cool_aside or self._few_bits is not None)

    def settle(self) -> None:
        """Make the weights those that are deployed, before the runtime's quantizer."""
        if self._few_bits is not None:
            self._few_bits.settle(self.model)

    def advance(
        self,
        on_step: Callable[[StepReport], None],
        should_stop: Callable[[], bool],
        checkpoint: Path | None = None,
    ) -> Ending:
        """Train up to config.steps; a checkpoint is kept at the end, when stopped and every SAVE_EVERY_S."""
        config, began, saved = self.config, time.perf_counter(), time.perf_counter()
        first, since_report, loss_before_rounding = self.step, 0, 0.0
        ending = Ending.DONE
        while self.step < config.steps:
            if should_stop():
                ending = Ending.STOPPED
                break
            if self._is_time_to_round():
                if since_report:
                    loss_before_rounding = self._stepper.take_loss()
                self._round_from_now_on()
                self._watch = _Divergence()
            self.step += 1
            rate = config.learning_rate * schedule(self.step, config)
            self._stepper.step(self._batches.at(self.step).to(self.device), rate, self.step)
            since_report += 1
            if self.step == 1 or self.step % REPORT_EVERY == 0 or self.step == config.steps:
                loss = (loss_before_rounding + self._stepper.take_loss()) / since_report
                since_report, loss_before_rounding = 0, 0.0
                now = time.perf_counter()
                done = (self.step - first) * config.batch_size * config.seq_len
                speed = done / (now - began)
                on_step(StepReport(step=self.step, steps=config.steps, loss=loss, tokens_per_s=speed))
                if self._watch.diverged(loss):
                    ending = Ending.DIVERGED
                    break
                if checkpoint is not None and now - saved > SAVE_EVERY_S:
                    self._keep(checkpoint)
                    saved = now
        self.trained_s += time.perf_counter() - began
        if checkpoint is not None and ending is not Ending.DIVERGED:
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
        if self._few_bits is not None:
            tensors |= {f"grid.{name}": grid for name, grid in self._few_bits.grids.items()}
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
        """Take over what `save` wrote for the same model and seed; InvalidFile where it does not fit."""
        tensors, meta = load_checkpoint(path)
        try:
            if meta["seed"] != self.config.seed or not 0 < meta["step"] <= self.config.steps:
                raise InvalidFile(f"checkpoint: {str(path)!r} is of another run")
            if meta.get("rounding"):
                self._take_over_rounding(tensors)
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

    def _take_over_rounding(self, tensors: dict[str, Tensor]) -> None:
        if self._few_bits is None:
            raise KeyError("a format of few bits")
        grids = {
            n.removeprefix("grid."): t.to(self.device) for n, t in tensors.items() if n.startswith("grid.")
        }
        self._few_bits.grids.update(grids)
        self._round_from_now_on()


def precision_of(config: TrainConfig) -> Precision:
    """The type a run multiplies in: as asked, or the faster one."""
    if config.dtype is not Precision.AUTO:
        return Precision(config.dtype)
    if config.train_on == PROCESSOR:
        return choose_engine().precision
    fast = multiplies_bfloat16(training_device(config.train_on))
    return Precision.BF16 if fast else Precision.FP32


def uses_written_out_steps(config: TrainConfig) -> bool:
    """Whether search/fused trains a run whose architecture it can: as asked, or where that is faster."""
    if config.train_on != PROCESSOR:
        return False
    return choose_engine().fused if config.fused is None else config.fused
