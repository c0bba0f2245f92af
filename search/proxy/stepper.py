"""What makes one training step: written-out calls where they can be compiled, torch's autograd elsewhere.

Both update the module's own float32 weights in place with the same AdamW, so a run can be saved by one and
gone on with by the other.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor, nn

from search.proxy.few_bits import FewBits
from search.proxy.fused.kernels import NoKernels
from search.proxy.fused.step import FusedStep, UpdateRule, can_fuse
from search.proxy.model import Decoder, Matrix
from search.proxy.scaling import initialize, learning_rate_factor
from search.proxy.teacher import Teacher
from sizer.architecture import Architecture
from sizer.tensors import tensor_specs

_BETA1, _BETA2 = 0.9, 0.95
_EPSILON = 1e-10  # wide and deep models have gradients near the default 1e-8 once they are clipped

_TIMED_STEPS = 8  # of each way to train, by choose_engine, which ends sooner once it has taken the limit
_TIMING_LIMIT_S = 1.5


@unique
class Precision(StrEnum):
    """What matrices are multiplied in; AUTO times both on this machine. Weights are float32 in any case."""

    AUTO = "auto"
    BF16 = "bf16"
    FP32 = "fp32"

    @property
    def dtype(self) -> torch.dtype:
        """The torch type; AUTO has none before it is resolved."""
        assert self is not Precision.AUTO
        return torch.bfloat16 if self is Precision.BF16 else torch.float32


class Stepper(Protocol):
    """Training steps of one module."""

    @property
    def moments(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        """AdamW's running mean and square of each tensor's gradient, by name; written in place."""
        ...

    def step(self, windows: Tensor, rate: float, number: int) -> None:
        """One update on windows `[batch, seq + 1]` at a base learning rate; `number` counts from 1."""
        ...

    def take_loss(self) -> float:
        """Sum of the mean losses of the steps since the last call, in nats per token."""
        ...

    def refresh(self) -> None:
        """Take over weights that were drawn or loaded since the last step."""
        ...


def update_rule(architecture: Architecture, *, weight_decay: float, clip: float) -> UpdateRule:
    """AdamW as every proxy is trained: rates by search/proxy/scaling.py, decay of hidden matrices only."""
    specs = tensor_specs(architecture)
    return UpdateRule(
        beta1=_BETA1,
        beta2=_BETA2,
        epsilon=_EPSILON,
        clip=clip,
        rate_of={s.name: learning_rate_factor(s, architecture) for s in specs},
        decay_of={s.name: weight_decay if len(s.shape) > 1 and s.layer is not None else 0.0 for s in specs},
    )


class EagerStep:
    """Steps by torch's autograd and its fused AdamW; any architecture the module can be built for."""

    def __init__(
        self,
        model: Decoder,
        *,
        dtype: torch.dtype,
        rule: UpdateRule,
        few_bits: FewBits | None = None,
        teacher: Teacher | None = None,
        compiled: bool = False,
    ) -> None:
        self._model, self._clip, self._dtype = model, rule.clip, dtype
        self._few_bits, self._teacher = few_bits, teacher
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

    @property
    def moments(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        """AdamW's running mean and square of each tensor's gradient, by name; written in place."""
        return self._moments

    def step(self, windows: Tensor, rate: float, number: int) -> None:
        """One update; the loss is not read, so that nothing waits for it."""
        self._model.compute_dtype = self._dtype
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        for state in self._optimizer.state.values():
            state["step"].fill_(number - 1)
        loss = self._loss_of(windows, number)
        # all tensors in one call, where torch has it
        together = True if self._device.type in ("cpu", "cuda") else None
        nn.utils.clip_grad_norm_(self._model.parameters(), self._clip, foreach=together)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._loss += loss.detach()

    def _loss_of(self, windows: Tensor, number: int) -> Tensor:
        """Cross-entropy, after gradients of what is learned from were taken."""
        rounded: list[Matrix] = []
        if self._few_bits is not None:
            found = self._model.matrices
            for name in self._few_bits.names:
                matrix = found[name]
                rounded.append(matrix)
                matrix.stand_in = self._few_bits.rounded(name, matrix.weight, number)
                matrix.int8_input = self._few_bits.int8_input(name)
        if self._teacher is None:
            loss = self._cross_entropy(windows).mean()
            torch.autograd.backward(loss)
        else:
            loss, distilled = self._teacher.losses(self._model, windows)
            torch.autograd.backward(distilled)
        for matrix in rounded:
            matrix.stand_in, matrix.int8_input = None, False
        return loss

    def take_loss(self) -> float:
        """Sum of the mean losses of the steps since the last call, in nats per token."""
        total = self._loss.item()
        self._loss.zero_()
        return total

    def refresh(self) -> None:
        """Nothing to do: the weights are used where they are."""


def make_stepper(
    model: Decoder,
    *,
    batch: int,
    seq: int,
    dtype: torch.dtype,
    rule: UpdateRule,
    fused: bool = True,
    few_bits: FewBits | None = None,
    teacher: Teacher | None = None,
    compiled: bool = False,
) -> Stepper:
    """Written-out steps where the architecture and the machine allow (and `fused` asks), else autograd.

    `compiled` has torch.compile make autograd's passes. With `few_bits` its matrices are rounded in every
    product; with a teacher its predictions are learned from as well. Written-out steps have no teacher.
    """
    if fused and teacher is None and can_fuse(model.architecture):
        try:
            return FusedStep(model, batch=batch, seq=seq, dtype=dtype, rule=rule, few_bits=few_bits)
        except NoKernels:
            pass
    compiled = compiled and few_bits is None and teacher is None  # these change the module at every step
    return EagerStep(model, dtype=dtype, rule=rule, few_bits=few_bits, teacher=teacher, compiled=compiled)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTiming:
    """Seconds of a training step of a small decoder by each way to train; infinite where there is none."""

    step_s: Mapping[str, float]  # "fused bf16", "fused fp32", "eager bf16", "eager fp32"

    @property
    def fastest(self) -> str:
        """The way that took the least time."""
        return min(self.step_s, key=lambda name: self.step_s[name])

    @property
    def fused(self) -> bool:
        """Whether written-out steps are faster."""
        return self.fastest.startswith("fused")

    @property
    def precision(self) -> Precision:
        """The type to multiply in."""
        return Precision(self.fastest.split()[1])


@lru_cache(maxsize=1)
def choose_engine() -> EngineTiming:
    """Time real training steps of a 4 x 128 decoder in every way; about two seconds, once per process.

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
    steppers: dict[str, Stepper] = {}
    for precision in (Precision.BF16, Precision.FP32):
        for fused in (True, False):
            model = Decoder(architecture)
            initialize(model, architecture, torch.Generator().manual_seed(0))
            made = make_stepper(model, batch=8, seq=128, dtype=precision.dtype, rule=rule, fused=fused)
            if fused == isinstance(made, FusedStep):
                made.refresh()
                steppers[f"{'fused' if fused else 'eager'} {precision}"] = made
    fastest = dict.fromkeys(steppers, math.inf)
    began = time.perf_counter()
    for repeat in range(_TIMED_STEPS):
        # In turn, and the fastest of each: another process that takes the processor for a while hits all.
        for name, stepper in steppers.items():
            start = time.perf_counter()
            stepper.step(windows, 1e-3, repeat + 1)
            fastest[name] = min(fastest[name], time.perf_counter() - start)
        if repeat > 1 and time.perf_counter() - began > _TIMING_LIMIT_S:
            break
    return EngineTiming(step_s=fastest)
