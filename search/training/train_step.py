"""A training step: the fused step where its kernels can be compiled, torch's autograd elsewhere.

Both update the module's own float32 weights in place with the same AdamW, so a run saved by one can be
resumed by the other.
"""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from functools import lru_cache
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from search.training.decoder import Decoder
from search.training.experts import BALANCE_WEIGHT, recorded_routing
from search.training.fused.kernels import NoKernels, kernels, missing_speed
from search.training.fused.step import FusedStep, UpdateRule, unsupported_fields
from search.training.learning_rates import initialize, learning_rate_factor
from search.training.linear import Linear
from search.training.low_bit import LowBit
from search.training.memory import is_out_of_memory
from search.training.teacher import Teacher
from sizer.architecture import Architecture
from sizer.tensors import tensor_specs

_BETA1, _BETA2 = 0.9, 0.95
_EPSILON = 1e-10  # wide and deep models have gradients near the default 1e-8 once they are clipped

_TIMED_STEPS = 8  # of each kind of step, by choose_engine, which stops earlier once it reaches the limit
_TIMING_LIMIT_S = 1.5


@unique
class ProductPrecision(StrEnum):
    """Type in which matrices are multiplied; AUTO times both on this machine. Weights are always float32."""

    AUTO = "auto"
    BF16 = "bf16"
    FP32 = "fp32"

    @property
    def dtype(self) -> torch.dtype:
        """Return the torch type; AUTO has none before it is resolved."""
        assert self is not ProductPrecision.AUTO
        return torch.bfloat16 if self is ProductPrecision.BF16 else torch.float32


class TrainStep(Protocol):
    """Training steps of one module."""

    micro_batch: int  # windows of one backward pass; gradients of a batch's passes are added

    @property
    def moments(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Return AdamW's running mean and square of each tensor's gradient, by name; updated in place."""
        ...

    def step(self, windows: Tensor, rate: float, number: int) -> None:
        """Update the weights on windows `[batch, seq + 1]` at a base learning rate; `number` is from 1."""
        ...

    def pop_loss(self) -> float:
        """Return the sum of the mean losses of the steps since the last call, in nats per token."""
        ...

    def sync_weights(self) -> None:
        """Use weights that were drawn or loaded since the last step."""
        ...


def update_rule(architecture: Architecture, *, weight_decay: float, clip: float) -> UpdateRule:
    """Return AdamW as every proxy is trained: rates of `learning_rates`, decay of hidden matrices only."""
    specs = tensor_specs(architecture)
    return UpdateRule(
        beta1=_BETA1,
        beta2=_BETA2,
        epsilon=_EPSILON,
        clip=clip,
        rate_of={s.name: learning_rate_factor(s, architecture) for s in specs},
        decay_of={s.name: weight_decay if len(s.shape) > 1 and s.layer is not None else 0.0 for s in specs},
    )


class AutogradStep:
    """Training steps by torch's autograd and its fused AdamW, for every architecture of the Decoder."""

    def __init__(
        self,
        model: Decoder,
        *,
        dtype: torch.dtype,
        rule: UpdateRule,
        low_bit: LowBit | None = None,
        teacher: Teacher | None = None,
        compiled: bool = False,
        micro_batch: int = sys.maxsize,
    ) -> None:
        self.micro_batch = micro_batch
        self._model, self._clip, self._dtype = model, rule.clip, dtype
        self._low_bit, self._teacher = low_bit, teacher
        if compiled:
            # it traces into the cached masks and angles, which are the same every time
            warnings.filterwarnings("ignore", message="Dynamo detected a call to a `functools.lru_cache`")
        self._cross_entropy = torch.compile(model.loss) if compiled else model.loss
        self._device = next(model.parameters()).device
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            groups.setdefault((rule.rate_of[name], rule.decay_of[name]), []).append(parameter)
        # fused: 3 ms a step for 2.4M weights in 74 tensors, where foreach takes 25 (2 cores)
        self._optimizer = torch.optim.AdamW(
            [
                {"params": members, "weight_decay": decay, "lr": factor, "factor": factor}
                for (factor, decay), members in groups.items()
            ],
            betas=(rule.beta1, rule.beta2),
            eps=rule.epsilon,
            fused=True,
        )
        self._moments: dict[str, tuple[Tensor, Tensor]] = {}
        for name, parameter in model.named_parameters():
            mean, square = torch.zeros_like(parameter), torch.zeros_like(parameter)
            self._moments[name] = (mean.view(-1), square.view(-1))
            self._optimizer.state[parameter] = {
                "step": torch.zeros((), device=self._device),
                "exp_avg": mean,
                "exp_avg_sq": square,
            }
        self._loss = torch.zeros((), device=self._device)
        self._counted = 0  # steps that the optimizer has counted

    @property
    def moments(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Return AdamW's running mean and square of each tensor's gradient, by name; updated in place."""
        return self._moments

    def step(self, windows: Tensor, rate: float, number: int) -> None:
        """Update the weights; the loss is not read, so that nothing waits for it."""
        self._model.compute_dtype = self._dtype
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        if self._counted != number - 1:  # resumed: a launch for each tensor
            for state in self._optimizer.state.values():
                state["step"].fill_(number - 1)
        loss = self._loss_of(windows, number)
        # all tensors in one call, where torch has it
        together = True if self._device.type in ("cpu", "cuda") else None
        nn.utils.clip_grad_norm_(self._model.parameters(), self._clip, foreach=together)
        self._optimizer.step()
        self._counted = number
        self._optimizer.zero_grad(set_to_none=True)
        self._loss += loss.detach()

    def _loss_of(self, windows: Tensor, number: int) -> Tensor:
        """Compute gradients of the objective and return the text's mean cross-entropy."""
        rounded: list[Linear] = []
        if self._low_bit is not None:
            found = self._model.matrices
            for name in self._low_bit.names:
                matrix = found[name]
                rounded.append(matrix)
                matrix.quantized_weight = self._low_bit.rounded(name, matrix.weight, number)
                matrix.int8_input = self._low_bit.int8_input(name)
        loss = self._accumulated(windows)
        for matrix in rounded:
            matrix.quantized_weight, matrix.int8_input = None, False
        return loss

    def _accumulated(self, windows: Tensor) -> Tensor:
        """Add the gradients of a batch's parts; out of memory, again with parts of half the size."""
        while True:
            try:
                losses = [self._backward(p, len(windows)) for p in torch.split(windows, self.micro_batch)]
                return losses[0] if len(losses) == 1 else torch.stack(losses).sum()
            except (MemoryError, RuntimeError) as error:
                held = min(self.micro_batch, len(windows))
                if held == 1 or not is_out_of_memory(error):
                    raise
            self.micro_batch = -(-held // 2)  # when the error no longer holds what it could not add to
            self._optimizer.zero_grad(set_to_none=True)
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    def _backward(self, windows: Tensor, batch: int) -> Tensor:
        """Compute gradients of some windows' share of a batch's objective; return their share of the loss."""
        with recorded_routing(self._model) as routing:
            if self._teacher is None:
                loss = objective = self._cross_entropy(windows).mean()
            else:
                loss, objective = self._teacher.losses(self._model, windows)
        if (balance := routing.balance_loss) is not None:
            objective = objective + BALANCE_WEIGHT * balance
        if len(windows) < batch:
            share = len(windows) / batch
            loss, objective = loss.detach() * share, objective * share
        torch.autograd.backward(objective)
        return loss

    def pop_loss(self) -> float:
        """Return the sum of the mean losses of the steps since the last call, in nats per token."""
        total = self._loss.item()
        self._loss.zero_()
        return total

    def sync_weights(self) -> None:
        """Do nothing: the module's own weights are used."""


FUSED, EAGER = "fused", "eager"  # as studies store them


class StepBackend(NamedTuple):
    """Kind of training step, FUSED or EAGER, and why it is not the fastest kind; None if it is."""

    name: str
    reason: str | None


def step_backend(
    dtype: torch.dtype, architecture: Architecture | None = None, *, has_teacher: bool = False
) -> StepBackend:
    """Return the fastest kind of step for activations of a type, and of an architecture, on this machine."""
    if has_teacher:
        return StepBackend(EAGER, "a teacher's predictions are learned by autograd only")
    if architecture is not None and (fields := unsupported_fields(architecture)):
        return StepBackend(EAGER, f"there are no kernels for {', '.join(fields)}")
    try:
        return StepBackend(FUSED, missing_speed(kernels(dtype), dtype))
    except NoKernels as error:
        return StepBackend(EAGER, f"the kernels cannot be used: {error}")


def make_train_step(
    model: Decoder,
    *,
    batch: int,
    seq: int,
    dtype: torch.dtype,
    rule: UpdateRule,
    fused: bool = True,
    low_bit: LowBit | None = None,
    teacher: Teacher | None = None,
    compiled: bool = False,
) -> TrainStep:
    """Return the fused step where `fused` asks for it and `step_backend` allows it, else autograd's.

    `compiled` compiles autograd's step with torch.compile. With `low_bit` its matrices are rounded in every
    product; with a teacher its predictions are learned as well, by autograd.
    """
    if fused and step_backend(dtype, model.architecture, has_teacher=teacher is not None).name == FUSED:
        return FusedStep(model, batch=batch, seq=seq, dtype=dtype, rule=rule, low_bit=low_bit)
    # these change the module at every step; the rows of each expert are another number at every step
    compiled = compiled and low_bit is None and teacher is None and not model.architecture.num_experts
    return AutogradStep(model, dtype=dtype, rule=rule, low_bit=low_bit, teacher=teacher, compiled=compiled)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTiming:
    """Seconds of a training step of a small decoder by each kind of step that this machine has."""

    step_s: Mapping[str, float]  # "fused bf16", "fused fp32", "eager bf16", "eager fp32"

    @property
    def fastest(self) -> str:
        """Return the kind that took the least time."""
        return min(self.step_s, key=lambda name: self.step_s[name])

    @property
    def fused(self) -> bool:
        """Return True if the fused step is faster than autograd."""
        return self.fastest.startswith(FUSED)

    @property
    def precision(self) -> ProductPrecision:
        """Return the faster type of products."""
        return ProductPrecision(self.fastest.split()[1])


@lru_cache(maxsize=1)
def choose_engine() -> EngineTiming:
    """Time training steps of a 4 x 128 decoder of every kind; about two seconds, once per process.

    Processors without bfloat16 products emulate them many times slower and not every machine has a compiler,
    so this cannot be a constant.
    """
    architecture = Architecture(
        vocab_size=256,
        num_layers=4,
        hidden_size=128,
        intermediate_size=352,
        num_heads=4,
        num_kv_heads=4,
        head_dim=32,
    )
    windows = torch.randint(256, (8, 129), generator=torch.Generator().manual_seed(0))
    rule = update_rule(architecture, weight_decay=0.0, clip=1.0)
    steps_by_name: dict[str, TrainStep] = {}
    for precision in (ProductPrecision.BF16, ProductPrecision.FP32):
        for fused in (True, False):
            model = Decoder(architecture)
            initialize(model, architecture, torch.Generator().manual_seed(0))
            made = make_train_step(model, batch=8, seq=128, dtype=precision.dtype, rule=rule, fused=fused)
            if fused == isinstance(made, FusedStep):
                made.sync_weights()
                steps_by_name[f"{FUSED if fused else EAGER} {precision}"] = made
    fastest = dict.fromkeys(steps_by_name, math.inf)
    began = time.perf_counter()
    for repeat in range(_TIMED_STEPS):
        # Interleaved, and the fastest of each: another process that is busy for a while slows all.
        for name, train_step in steps_by_name.items():
            start = time.perf_counter()
            train_step.step(windows, 1e-3, repeat + 1)
            fastest[name] = min(fastest[name], time.perf_counter() - start)
        if repeat > 1 and time.perf_counter() - began > _TIMING_LIMIT_S:
            break
    return EngineTiming(step_s=fastest)
