"""Train one proxy for some steps and score it as deployed: validation bits per byte of quantized weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum, unique
from functools import lru_cache

import torch
from torch import Tensor, nn

from search.corpus import VOCAB_SIZE, Corpus
from search.model import Decoder, check_parameters
from search.quantize import check_mix, fake_quantized_state
from search.results import Candidate, ProxyResult, TrialStatus
from search.scaling import initialize, learning_rate_factor
from sizer.architecture import Architecture
from sizer.errors import InvalidArchitecture, InvalidQuantity
from sizer.tensors import tensor_specs

COOLDOWN_SHARE = 0.2  # the last steps, over which the rate falls linearly to zero
REPORT_EVERY = 10  # steps between reads of the loss: reading it waits for the step to end
MAX_RESTARTS = 1  # a diverged run is tried again at half the rate this often

# A run has diverged if its loss (mean since the last report, nats per byte) is this far above the first
# step's or the lowest it had: a collapsed model sits at the entropy of single bytes, below the start.
_MARGIN_OVER_FIRST = 0.5
_MARGIN_OVER_LOWEST = 1.0

_TIMED_STEPS = 8  # of each type, by choose_dtype, which ends sooner once it has taken the limit
_TIMING_LIMIT_S = 1.0

_EVALUATION_BATCH = 16
_BETAS = (0.9, 0.95)


@unique
class Precision(StrEnum):
    """What matrices are multiplied in; AUTO times both on this machine. Weights are float32 in any case."""

    AUTO = "auto"
    BF16 = "bf16"
    FP32 = "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How every proxy of a study is trained; one token is one byte."""

    steps: int
    batch_size: int = 8
    seq_len: int = 128
    learning_rate: float = 1.5e-3  # at the base width; search/scaling.py carries it to other shapes
    warmup_steps: int = 50
    weight_decay: float = 0.1  # of hidden matrices only
    seed: int = 0
    val_chunks: int = 200
    dtype: Precision = Precision.AUTO
    grad_clip: float = 1.0

    def __post_init__(self) -> None:
        least_of = {"steps": 1, "batch_size": 1, "seq_len": 2, "val_chunks": 2, "warmup_steps": 0}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise InvalidQuantity(f"{name} must be at least {least}, got {getattr(self, name)}")
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
    loss: float  # nats per byte, mean since the last report
    tokens_per_s: float  # since the run began


@dataclass(frozen=True, slots=True, kw_only=True)
class DtypeTiming:
    """Seconds of one training step of a small decoder in each type, and the faster type."""

    bf16_step_s: float
    fp32_step_s: float

    @property
    def dtype(self) -> torch.dtype:
        """The type to train in."""
        return torch.bfloat16 if self.bf16_step_s < self.fp32_step_s else torch.float32


@lru_cache(maxsize=1)
def choose_dtype() -> DtypeTiming:
    """Time real training steps of a 4 x 128 decoder in both types; about a second, once per process.

    Processors without bfloat16 products emulate them many times slower, so this cannot be a constant.
    """
    architecture = Architecture(
        vocab_size=VOCAB_SIZE,
        num_layers=4,
        hidden_size=128,
        intermediate_size=352,
        num_heads=4,
        num_kv_heads=4,
        head_dim=32,
    )
    windows = torch.randint(VOCAB_SIZE, (8, 129), generator=torch.Generator().manual_seed(0))
    model = Decoder(architecture)
    initialize(model, architecture, torch.Generator().manual_seed(0))
    optimizer = _optimizer(model, architecture, weight_decay=0.0)
    fastest = {torch.bfloat16: math.inf, torch.float32: math.inf}
    began = time.perf_counter()
    for repeat in range(_TIMED_STEPS):
        # In turn, and the fastest of each: another process that takes the processor for a while hits both.
        for dtype in fastest:
            model.compute_dtype = dtype
            start = time.perf_counter()
            _step(model, optimizer, windows, grad_clip=1.0)
            fastest[dtype] = min(fastest[dtype], time.perf_counter() - start)
        if repeat > 1 and time.perf_counter() - began > _TIMING_LIMIT_S:
            break
    return DtypeTiming(bf16_step_s=fastest[torch.bfloat16], fp32_step_s=fastest[torch.float32])


def train_proxy(
    candidate: Candidate,
    corpus: Corpus,
    config: TrainConfig,
    *,
    on_step: Callable[[StepReport], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> ProxyResult:
    """Train the candidate's decoder from scratch and score it at its llama.cpp mix.

    A run that diverges is started once more at half the rate; `restarts` and `learning_rate` say so. A run
    out of memory, or stopped through `should_stop`, is FAILED with a `reason`. Same seed, machine and number
    of threads: same result. Bad input raises SizerError, a wrong parameter count ParameterMismatch.
    """
    architecture = candidate.architecture
    if architecture.vocab_size < VOCAB_SIZE:
        raise InvalidArchitecture(
            f"vocab_size must be at least {VOCAB_SIZE} for byte-level text, got {architecture.vocab_size}"
        )
    check_mix(architecture, candidate.format)
    chunks = corpus.val_chunks(config.val_chunks, config.seq_len)
    began = time.perf_counter()
    dtype = _dtype(Precision(config.dtype))
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
        dtype="bf16" if dtype is torch.bfloat16 else "fp32",
    )
    for restarts in range(MAX_RESTARTS + 1):
        run = _Run(
            architecture=architecture,
            corpus=corpus,
            config=replace(config, learning_rate=config.learning_rate / 2**restarts),
            dtype=dtype,
            on_step=on_step or (lambda report: None),
            should_stop=should_stop or (lambda: False),
        )
        try:
            result = run.score(candidate.format, chunks, replace(result, restarts=restarts))
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            result = replace(result, status=TrialStatus.FAILED, reason="out of memory")
        if result.status is not TrialStatus.DIVERGED:
            break
    return replace(result, wall_s=time.perf_counter() - began)


def _out_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Whether torch's allocator gave up; on the CPU it raises a plain RuntimeError, told by its text."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "can't allocate memory" in text or "out of memory" in text


def _dtype(precision: Precision) -> torch.dtype:
    if precision is Precision.AUTO:
        return choose_dtype().dtype
    return torch.bfloat16 if precision is Precision.BF16 else torch.float32


@unique
class _Ending(StrEnum):
    DONE = "done"
    STOPPED = "stopped"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One training run at one learning rate."""

    architecture: Architecture
    corpus: Corpus
    config: TrainConfig
    dtype: torch.dtype
    on_step: Callable[[StepReport], None]
    should_stop: Callable[[], bool]

    def score(self, mix_name: str, chunks: Tensor, blank: ProxyResult) -> ProxyResult:
        """Train, then fill in the blank result."""
        config = self.config
        model = Decoder(self.architecture)
        initialize(model, self.architecture, torch.Generator().manual_seed(config.seed))
        began = time.perf_counter()
        ending, steps = self._train(model)
        tokens = steps * config.batch_size * config.seq_len
        result = replace(
            blank,
            steps=steps,
            trained_tokens=tokens,
            tokens_per_s=tokens / (time.perf_counter() - began),
            learning_rate=config.learning_rate,
        )
        if ending is _Ending.STOPPED:
            return replace(result, reason=f"stopped after {steps} of {config.steps} steps")
        if ending is _Ending.DIVERGED:
            return replace(result, status=TrialStatus.DIVERGED, reason=f"diverged at step {steps}")
        full = bits_per_byte(model, chunks)
        model.load_state_dict(fake_quantized_state(model.state_dict(), self.architecture, mix_name))
        quantized = bits_per_byte(model, chunks)
        if not (full.isfinite().all() and quantized.isfinite().all()):
            return replace(result, status=TrialStatus.DIVERGED, reason="validation loss is not finite")
        return replace(
            result,
            status=TrialStatus.COMPLETE,
            val_bits_per_byte=quantized.mean().item(),
            val_bits_per_byte_sd=_standard_error(quantized),
            val_bits_per_byte_full=full.mean().item(),
        )

    def _train(self, model: Decoder) -> tuple[_Ending, int]:
        """Run the steps; how the run ended and after how many."""
        config = self.config
        model.compute_dtype = self.dtype
        optimizer = _optimizer(model, self.architecture, config.weight_decay)
        batches = self.corpus.train_batches(
            torch.Generator().manual_seed(config.seed), config.batch_size, config.seq_len
        )
        watch = _Divergence()
        total, since_report, began = torch.zeros(()), 0, time.perf_counter()
        for step in range(1, config.steps + 1):
            if self.should_stop():
                return _Ending.STOPPED, step - 1
            _set_rate(optimizer, config.learning_rate * schedule(step, config))
            total += _step(model, optimizer, next(batches), config.grad_clip)
            since_report += 1
            if step == 1 or step % REPORT_EVERY == 0 or step == config.steps:
                loss = total.item() / since_report
                rate = step * config.batch_size * config.seq_len / (time.perf_counter() - began)
                self.on_step(StepReport(step=step, steps=config.steps, loss=loss, tokens_per_s=rate))
                if watch.diverged(loss):
                    return _Ending.DIVERGED, step
                total, since_report = torch.zeros(()), 0
        return _Ending.DONE, config.steps


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


def schedule(step: int, config: TrainConfig) -> float:
    """Share of the learning rate used at a step (from 1): linear warm-up, constant, linear cool-down to zero.

    Constant in the middle because rungs compare runs of different lengths (search notes, section 2.6).
    """
    warm = min(1.0, step / config.warmup_steps) if config.warmup_steps else 1.0
    cooldown_steps = max(1.0, COOLDOWN_SHARE * config.steps)
    return min(warm, (config.steps - step + 1) / cooldown_steps)


def _optimizer(model: nn.Module, architecture: Architecture, weight_decay: float) -> torch.optim.AdamW:
    """AdamW with one group per learning rate factor and decay.

    Fused: 3 ms a step for 2.4M weights in 74 tensors, where foreach takes 25 (2 cores).
    """
    parameters = dict(model.named_parameters())
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for spec in tensor_specs(architecture):
        decays = len(spec.shape) > 1 and spec.layer is not None
        key = (learning_rate_factor(spec, architecture), weight_decay if decays else 0.0)
        groups.setdefault(key, []).append(parameters[spec.name])
    return torch.optim.AdamW(
        [
            {"params": members, "weight_decay": decay, "lr": factor, "factor": factor}
            for (factor, decay), members in groups.items()
        ],
        betas=_BETAS,
        eps=1e-10,  # wide and deep models have gradients near the default 1e-8 once they are clipped
        fused=True,
    )


def _set_rate(optimizer: torch.optim.AdamW, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def _step(model: Decoder, optimizer: torch.optim.AdamW, windows: Tensor, grad_clip: float) -> Tensor:
    """One update; the loss as a tensor, not read, so that nothing waits for it."""
    loss = model.loss(windows).mean()
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(model.parameters(), grad_clip, foreach=True)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.detach()


def bits_per_byte(model: Decoder, chunks: Tensor) -> Tensor:
    """Mean cross-entropy of each chunk in bits per byte, float64 `[chunks]`, computed in float32."""
    before, model.compute_dtype = model.compute_dtype, torch.float32
    with torch.no_grad():
        means = [model.loss(part).double().mean(1) for part in torch.split(chunks, _EVALUATION_BATCH)]
    model.compute_dtype = before
    return torch.cat(means) / math.log(2)


def _standard_error(values: Tensor) -> float:
    return (values.std() / math.sqrt(len(values))).item() if len(values) > 1 else 0.0
