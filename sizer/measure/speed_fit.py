"""Fits the costs of one device to timed models: per layer, per byte and per operation of each stored type.

decode: seconds a token = fixed + per layer x executed layers + sum over types(bytes x cost of a byte) + KV
cache. prefill: seconds = sum over types(operations x cost of an operation) + tokens x activation elements x
cost of one + fixed + per layer x layers. These are the formulas of sizer.latency. Relative least squares with
costs of at least zero. Each cost is drawn towards a prior, weakly: a type's towards the average type's, a
layer's towards the runtime's; so a mix of two types in one file, or a single model, gives sensible costs, and
many files override the prior.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import fmean, median
from typing import NamedTuple

from sizer.architecture import Architecture
from sizer.errors import MeasurementError
from sizer.formats.stored import StoredTensor
from sizer.latency import Work, kind_of, profiles, work
from sizer.measure.regression import conformal
from sizer.memory import kv_bytes_per_token

# Relative noise of a timing, and how far, relatively, a cost may be from its prior (standard deviations).
_NOISE = 0.03
_TYPE_SPREAD = 0.5
_LAYER_SPREAD = 1.0
_LEAST_SHARE = 0.02
# The average type's cost, which types are drawn to, and what it makes of them settle in a few rounds.
_AVERAGINGS = 5
# A token's fixed cost is near zero, give or take this share of the fastest token seen; the smallest model
# that ExecuTorch is measured with is little else.
_FIXED_SHARE = 0.1
_FIXED_SHARE_OF = {"executorch": 1.0}
# An activation's cost is near zero, too, give or take what makes all of them take this share of a prompt.
_ACTIVATION_SHARE = 0.3
# Held-out errors of fewer shapes than this say too little of shapes in general.
RANGE_SHAPES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWork:
    """What a model asks of a device."""

    name: str
    shape: str  # models of one shape are left out together
    work: Work
    kv_bytes_per_token: int
    file_bytes: int

    @property
    def step_bytes(self) -> Mapping[str, float]:
        """Weight bytes read per decoded token, by stored type."""
        return dict(self.work.bytes_by_type)

    def prompt_ops(self, prompt_tokens: int) -> Mapping[str, float]:
        """Operations to read a prompt by stored type: head and attention in proportion, as predictions do."""
        weights = dict(self.work.weights_by_type)
        share = self.work.prompt_ops(prompt_tokens) / max(sum(weights.values()), 1)
        return {name: share * count for name, count in weights.items()}


def model_work(
    name: str,
    architecture: Architecture,
    stored: Sequence[StoredTensor],
    *,
    file_bytes: int,
    cache_type: str = "F16",
) -> ModelWork:
    """The work of a model as a runtime stores and runs it (every executed layer on its own)."""
    unrolled = architecture.unrolled()
    return ModelWork(
        name=name,
        shape=architecture.name,
        work=work(unrolled, ((t.spec, t.num_bytes, t.type.name) for t in stored)),
        kv_bytes_per_token=kv_bytes_per_token(unrolled, cache_type),
        file_bytes=file_bytes,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Timings of one model: medians, each with what it was taken at; None where not measured."""

    model: ModelWork
    depth_tokens: float = 0.0  # mean context behind a decoded token
    decode_s: float | None = None  # per token
    prompt_tokens: int = 0
    ubatch_tokens: int = 512  # a prompt is read in batches of that many
    prefill_s: float | None = None  # of the whole prompt
    load_s: float | None = None

    @property
    def batches(self) -> int:
        """How often the layers run to read the prompt."""
        return -(-self.prompt_tokens // self.ubatch_tokens)

    @property
    def kv_bytes(self) -> float:
        """KV-cache bytes read per decoded token."""
        return self.depth_tokens * self.model.kv_bytes_per_token


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds that a device takes for each thing, one runtime; a type not measured costs as the average."""

    fixed_s: float
    layer_s: float
    byte_s: float
    type_byte_s: Mapping[str, float]
    op_s: float | None  # None: no prefill was measured
    type_op_s: Mapping[str, float]
    activation_element_s: float = 0.0
    init_s: float | None = None  # None: no start-up was measured
    init_byte_s: float = 0.0

    def decode_s(self, model: ModelWork, kv_bytes: float = 0.0) -> float:
        """Seconds per decoded token."""
        read = sum(n * self.type_byte_s.get(name, self.byte_s) for name, n in model.step_bytes.items())
        return self.fixed_s + self.layer_s * model.work.executed_layers + read + kv_bytes * self.byte_s

    def prefill_s(self, model: ModelWork, prompt_tokens: int, batches: int = 1) -> float:
        """Seconds to read a prompt in that many micro-batches."""
        assert self.op_s is not None
        ops = model.prompt_ops(prompt_tokens)
        computed = sum(n * self.type_op_s.get(name, self.op_s) for name, n in ops.items())
        computed += prompt_tokens * model.work.activation_elements * self.activation_element_s
        layers_s = self.fixed_s + self.layer_s * model.work.executed_layers
        return max(computed, batches * model.work.step_bytes * self.byte_s) + batches * layers_s

    def load_s(self, model: ModelWork) -> float:
        """Seconds to start with the file in the system's cache."""
        assert self.init_s is not None
        return self.init_s + self.init_byte_s * model.file_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedFit:
    """Costs, and errors (log predicted / measured seconds) of every sample with its shape left out."""

    costs: Costs
    samples: tuple[Sample, ...]
    decode_errors: Mapping[str, float]
    prefill_errors: Mapping[str, float]
    load_errors: Mapping[str, float]

    @property
    def shapes(self) -> int:
        """How many different shapes were timed."""
        return len({s.model.shape for s in self.samples})

    @property
    def decode_factor(self) -> float:
        """Factor of the range of decode speeds; the pooled one of all devices where the shapes are few."""
        return self._factor(self.decode_errors, profiles().cpu.decode_factor)

    @property
    def prefill_factor(self) -> float:
        """Factor of the range of prefill speeds."""
        return self._factor(self.prefill_errors, profiles().cpu.prefill_factor)

    @property
    def load_factor(self) -> float:
        """Factor of the range of start-up times."""
        return self._factor(self.load_errors, profiles().start.init_factor)

    def _factor(self, errors: Mapping[str, float], otherwise: float) -> float:
        return conformal(list(errors.values())) if self.shapes >= RANGE_SHAPES and errors else otherwise


def fit_speed(samples: Sequence[Sample], *, runtime: str = "llama.cpp", backend: str = "cpu") -> SpeedFit:
    """Costs from samples, with held-out errors; MeasurementError without a single decode speed."""
    if not any(s.decode_s is not None for s in samples):
        raise MeasurementError("calibrate: no decode speed among the measurements; accepted: at least one")
    held_out: tuple[dict[str, float], ...] = ({}, {}, {})
    for shape in dict.fromkeys(s.model.shape for s in samples):
        rest = [s for s in samples if s.model.shape != shape]
        if not any(s.decode_s is not None for s in rest):
            continue
        costs = _costs(rest, runtime, backend)
        known = {name for s in rest for name in s.model.step_bytes}
        for sample in (s for s in samples if s.model.shape == shape and known.issuperset(s.model.step_bytes)):
            for errors, predicted, measured in zip(
                held_out,
                _predictions(costs, sample),
                (sample.decode_s, sample.prefill_s, sample.load_s),
                strict=True,
            ):
                if predicted is not None and measured is not None:
                    errors[_label(sample)] = log(predicted / measured)
    return SpeedFit(
        costs=_costs(samples, runtime, backend),
        samples=tuple(samples),
        decode_errors=held_out[0],
        prefill_errors=held_out[1],
        load_errors=held_out[2],
    )


def _label(sample: Sample) -> str:
    return f"{sample.model.name} at {sample.prompt_tokens}+{sample.depth_tokens:g}"


def _predictions(costs: Costs, sample: Sample) -> tuple[float | None, ...]:
    model = sample.model
    return (
        costs.decode_s(model, sample.kv_bytes),
        costs.prefill_s(model, sample.prompt_tokens, sample.batches)
        if costs.op_s and sample.prompt_tokens
        else None,
        costs.load_s(model) if costs.init_s is not None else None,
    )


def _costs(samples: Sequence[Sample], runtime: str, backend: str) -> Costs:
    known, kind = profiles(), kind_of(backend)
    pooled = known.cpu if kind == "cpu" else known.gpu
    prior_layer = known.seconds_per_layer.get((runtime, backend), pooled.seconds_per_layer)
    fixed_share = _FIXED_SHARE_OF.get(runtime, _FIXED_SHARE)
    decoded = [(s, s.decode_s) for s in samples if s.decode_s is not None]
    byte_s, type_byte_s, (fixed_s, layer_s) = _by_type(
        decoded,
        amounts=lambda s: s.model.step_bytes,
        plain=lambda s: s.kv_bytes,
        others=lambda s: (1.0, s.model.work.executed_layers),
        priors=(
            _Prior(0.0, fixed_share * min(t for _, t in decoded)),
            _Prior(prior_layer, _LAYER_SPREAD * prior_layer),
        ),
    )
    # what the layers cost is known from decoding; what is left of a prompt is operations
    prompts = [
        (
            s,
            max(
                s.prefill_s - s.batches * (fixed_s + layer_s * s.model.work.executed_layers),
                s.prefill_s / 10,
            ),
        )
        for s in samples
        if s.prefill_s is not None
    ]
    op_s: float | None = None
    type_op_s: dict[str, float] = {}
    activation_element_s = 0.0
    if prompts:
        least_s = min(t / (s.prompt_tokens * s.model.work.activation_elements) for s, t in prompts)
        op_s, type_op_s, (activation_element_s,) = _by_type(
            prompts,
            amounts=lambda s: s.model.prompt_ops(s.prompt_tokens),
            plain=lambda s: 0.0,
            others=lambda s: (s.prompt_tokens * s.model.work.activation_elements,),
            priors=(_Prior(0.0, _ACTIVATION_SHARE * least_s),),
        )
    starts = [(s, s.load_s) for s in samples if s.load_s is not None]
    init = (
        nonnegative_least_squares([(1 / t, s.model.file_bytes / t) for s, t in starts], [1.0] * len(starts))
        if starts
        else None
    )
    return Costs(
        fixed_s=fixed_s,
        layer_s=layer_s,
        byte_s=byte_s,
        type_byte_s=type_byte_s,
        op_s=op_s,
        type_op_s=type_op_s,
        activation_element_s=activation_element_s,
        init_s=init[0] if init else None,
        init_byte_s=init[1] if init else 0.0,
    )


class _Prior(NamedTuple):
    """What a cost is thought to be before anything is measured, and its standard deviation."""

    mean: float
    sd: float

    @property
    def target(self) -> float:
        """Right-hand side of the row that draws a cost to this prior."""
        return _NOISE * self.mean / self.sd

    def row(self, at: int, width: int) -> list[float]:
        """That row of the least squares, for the cost in column `at`."""
        return [_NOISE / self.sd if i == at else 0.0 for i in range(width)]


def _by_type(
    timed: Sequence[tuple[Sample, float]],
    *,
    amounts: Callable[[Sample], Mapping[str, float]],
    plain: Callable[[Sample], float],
    others: Callable[[Sample], Sequence[float]],
    priors: Sequence[_Prior],
) -> tuple[float, dict[str, float], list[float]]:
    """Cost of a unit of the average type, of each type's, and of the other columns.

    `plain` is what costs as the average type. First one cost for all types, then each type's around it.
    """
    names = list(dict.fromkeys(name for s, _ in timed for name in amounts(s)))

    def total(sample: Sample) -> float:
        return plain(sample) + sum(amounts(sample).values())

    rows = [[total(s) / t, *(x / t for x in others(s))] for s, t in timed]
    ones = [1.0] * len(rows)
    pulls = [p.row(at, 1 + len(priors)) for at, p in enumerate(priors, start=1)]
    mean, *_ = nonnegative_least_squares(rows + pulls, ones + [p.target for p in priors])
    # bytes that explain nothing at all: the layers' cost may take all the time but a tenth
    mean = mean or fmean(0.1 * t / total(s) for s, t in timed)
    shares = {n: sum(amounts(s).get(n, 0.0) / total(s) for s, _ in timed) for n in names}
    detailed = [[*(amounts(s).get(n, 0.0) / t for n in names), *(x / t for x in others(s))] for s, t in timed]
    for _ in range(_AVERAGINGS):
        targets = [1.0 - plain(s) * mean / t for s, t in timed]
        every = [*(_Prior(mean, _TYPE_SPREAD * mean) for _ in names), *priors]
        pulls = [p.row(at, len(every)) for at, p in enumerate(every)]
        found = nonnegative_least_squares(detailed + pulls, targets + [p.target for p in every])
        # what explains nothing would else cost nothing, which no device file takes
        costs = {n: max(cost, _LEAST_SHARE * mean) for n, cost in zip(names, found, strict=False)}
        mean = sum(shares[n] * cost for n, cost in costs.items()) / sum(shares.values())
    return mean, costs, found[len(names) :]


def nonnegative_least_squares(rows: Sequence[Sequence[float]], targets: Sequence[float]) -> list[float]:
    """Coefficients of at least zero with the least squared distance of rows x coefficients to targets.

    By coordinate descent on columns of length one, which for so few columns is quick and cannot diverge.
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    lengths = [sum(x * x for x in column) ** 0.5 or 1.0 for column in columns]
    units = [[x / length for x in column] for column, length in zip(columns, lengths, strict=True)]
    gram = [[sum(a * b for a, b in zip(u, v, strict=True)) for v in units] for u in units]
    aims = [sum(a * b for a, b in zip(u, targets, strict=True)) for u in units]
    found = [0.0] * len(units)
    for _ in range(_SWEEPS):
        change = 0.0
        for i, row in enumerate(gram):
            if row[i] == 0.0:
                continue
            pull = aims[i] - sum(g * x for g, x in zip(row, found, strict=True))
            new = max(0.0, found[i] + pull / row[i])
            change = max(change, abs(new - found[i]))
            found[i] = new
        if change < _SETTLED:
            break
    return [x / length for x, length in zip(found, lengths, strict=True)]


_SWEEPS = 20_000
_SETTLED = 1e-10


def median_error(errors: Iterable[float]) -> float | None:
    """Median absolute relative error of speeds from log errors of seconds; None without any."""
    found = [abs(exp(-e) - 1) for e in errors]
    return None if not found else median(found)
