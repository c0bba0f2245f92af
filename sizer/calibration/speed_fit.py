"""Fits the constants of one device to timed models: costs per layer, and per byte and operation of each type.

The formulas are those of sizer.devices.speed_model. Relative least squares with costs of at least zero. Each
cost has a weak prior: a type's is the average type's cost, a layer's the runtime's. A mix of two types in one
file, or a single model, so gives sensible costs, and many files override the prior.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from math import inf, log
from statistics import median_high
from typing import NamedTuple

import numpy as np

from sizer.calibration.least_squares import Floats, nonnegative_least_squares
from sizer.calibration.regression import conformal
from sizer.calibration.samples import RANGE_SHAPES, Sample, SpeedFit
from sizer.devices.constants import profiles
from sizer.devices.profile import Profile, kind_of
from sizer.devices.speed_model import decode_seconds, init_seconds
from sizer.errors import MeasurementError
from sizer.prediction import Basis

# Relative noise of a timing, and relative standard deviations of costs around their priors.
_NOISE = 0.03
_TYPE_SPREAD = 0.5
_LAYER_SPREAD = 1.0
_LEAST_SHARE = 0.02
# The average type's cost is the types' prior and their mean: both settle in a few rounds.
_AVERAGINGS = 5
# The fixed cost of a token has prior 0 and this share of the fastest token as standard deviation, of tokens
# of microseconds half of it (llama.cpp: 18 of 90 us on an AMD EPYC); of the smallest model that ExecuTorch is
# measured with it is nearly all.
_FIXED_SHARE = 0.1
_FIXED_SHARE_OF = {"executorch": 1.0}
_SMALL_FIXED_S, _SMALL_FIXED_SHARE = 50e-6, 0.5
# A row or column of a matrix takes time besides its bytes on a CPU: layers of 64 took 21 us, layers of 256
# 70 to 119 us, of 1,024 no more (llama.cpp, two cores of an AMD EPYC). Prior 0 and, for all of a step, this
# share as standard deviation. Without it models left out are 31.7 % off instead of 10.7 %
# (benchmarks/accuracy/calibration.py --timings .../calibration_epyc.json --without-elements).
STEP_ELEMENT_SHARE = {("llama.cpp", "cpu"): 0.1}
# An activation's cost has prior 0 and, for all activations of a prompt, this share as standard deviation.
_ACTIVATION_SHARE = 0.3
# What an operation of attention costs more than one with a weight, as mean and standard deviation in times
# the cheapest operation. Prompts of one length do not tell: those of 4,096 tokens were predicted 13 to 45 %
# too fast from 512, and TinyLlama took 3.5 times more on an ARM CPU (github geerlingguy/ai-benchmarks#51).
_ATTENTION_TIMES, _ATTENTION_SPREAD = 2.0, 3.0


def fit_speed(
    samples: Sequence[Sample], *, runtime: str = "llama.cpp", backend: str = "cpu", doubted: bool = False
) -> SpeedFit:
    """Fit constants, with held-out errors; MeasurementError without a single decode speed.

    Ranges come from the held-out errors; with fewer than three shapes they are those of devices with few
    rows, and where the timings are doubted never narrower than those.
    """
    if not any(s.decode_s is not None for s in samples):
        raise MeasurementError("calibrate: no decode speed among the measurements; accepted: at least one")
    decode_errors: dict[str, float] = {}
    prefill_errors: dict[str, float] = {}
    load_errors: dict[str, float] = {}
    shapes = dict.fromkeys(s.model.shape for s in samples)
    for shape in shapes:
        rest = [s for s in samples if s.model.shape != shape]
        if not any(s.decode_s is not None for s in rest):
            continue
        constants = _constants(rest, runtime, backend)
        known = {name for s in rest for name in s.model.step_bytes}
        for sample in (s for s in samples if s.model.shape == shape and known.issuperset(s.model.step_bytes)):
            model = sample.model
            if sample.decode_s is not None:
                predicted_s = decode_seconds(model.costs, sample.kv_bytes, constants)
                decode_errors[sample.label] = log(predicted_s / sample.decode_s)
            if sample.prefill_s is not None and constants.ops_per_s:
                predicted_s = sample.predicted_prefill_s(constants)
                prefill_errors[sample.label] = log(predicted_s / sample.prefill_s)
            if sample.load_s is not None and (constants.init_s or constants.init_seconds_per_byte):
                load_errors[sample.label] = log(init_seconds(model.file_bytes, constants) / sample.load_s)

    def factor(errors: Mapping[str, float], default: float) -> float:
        if len(shapes) < RANGE_SHAPES or not errors:
            return default
        found = conformal(list(errors.values()))
        return max(found, default) if doubted else found

    constants, few = _constants(samples, runtime, backend), _few_rows_factors(runtime, kind_of(backend))
    return SpeedFit(
        constants=constants._replace(
            decode_factor=factor(decode_errors, few["decode_factor"]),
            prefill_factor=factor(prefill_errors, few["prefill_factor"]) if constants.ops_per_s else 0.0,
            load_factor=factor(load_errors, profiles().start.init_factor)
            if any(s.load_s is not None for s in samples)
            else 0.0,
        ),
        samples=tuple(samples),
        decode_errors=decode_errors,
        prefill_errors=prefill_errors,
    )


def _few_rows_factors(runtime: str, kind: str) -> dict[str, float]:
    """Return the factors of the ranges of devices with few rows under an engine: the middle of its devices.

    The widest of other engines of the kind where it has none, and of other kinds where those have none.
    """
    rows = [tomllib.loads(block) for *_, block in profiles().blocks if "few = true" in block]
    found = {}
    for name in ("decode_factor", "prefill_factor"):
        known = [(row["runtime"], kind_of(row["backend"]), row[name]) for row in rows if row.get(name)]
        own = [value for of, on, value in known if (of, on) == (runtime, kind)]
        others = [value for _, on, value in known if on == kind] or [value for *_, value in known]
        found[name] = median_high(own) if own else max(others)
    return found


def _constants(samples: Sequence[Sample], runtime: str, backend: str) -> Profile:
    """Fit a profile to samples, without ranges."""
    known = profiles()
    pooled = known.cpu if kind_of(backend) == "cpu" else known.gpu
    prior_layer = known.seconds_per_layer.get((runtime, backend), pooled.seconds_per_layer)
    fixed_share = _FIXED_SHARE_OF.get(runtime, _FIXED_SHARE)
    decoded = [(s, s.decode_s) for s in samples if s.decode_s is not None]
    fastest_s = min(t for _, t in decoded)
    element_share = STEP_ELEMENT_SHARE.get((runtime, kind_of(backend)), 0.0)
    least_element_s = min(t / s.model.costs.activation_elements for s, t in decoded)
    byte_s, byte_cost, (fixed_s, layer_s, element_s) = _by_type(
        decoded,
        amounts=lambda s: s.model.step_bytes,
        plain=lambda s: s.kv_bytes,
        others=lambda s: (
            *(1.0, s.model.costs.executed_layers),
            s.model.costs.activation_elements if element_share else 0.0,
        ),
        priors=(
            _Prior(0.0, max(fixed_share * fastest_s, min(_SMALL_FIXED_S, _SMALL_FIXED_SHARE * fastest_s))),
            _Prior(prior_layer, _LAYER_SPREAD * prior_layer),
            _Prior(0.0, (element_share or 1.0) * least_element_s),
        ),
    )
    bits = [s.model.costs.bits_per_weight for s in samples]
    found = Profile(
        runtime=runtime,
        backend=backend,
        basis=Basis.MEASURED,
        seconds_fixed=fixed_s,
        seconds_per_layer=layer_s,
        bytes_per_s=1 / byte_s,
        step_element_s=element_s,
        byte_cost=byte_cost,
        bits_low=min(bits),
        bits_high=max(bits),
        decode_factor=1.0,
    )
    return _with_load(_with_prefill(found, samples), samples)


def _with_prefill(found: Profile, samples: Sequence[Sample]) -> Profile:
    """Return the profile with constants of prefill; as it is where no prompt was timed."""
    # the cost of the layers is known from decoding; the rest of a prompt is operations
    fixed_s, layer_s = found.seconds_fixed, found.seconds_per_layer
    prompts = [
        (
            s,
            max(
                s.prefill_s - s.batches * (fixed_s + layer_s * s.model.costs.executed_layers),
                s.prefill_s / 10,
            ),
        )
        for s in samples
        if s.prefill_s is not None
    ]
    if not prompts:
        return found
    least_op_s = min(t / sum(s.model.prompt_ops(s.prompt_tokens).values()) for s, t in prompts)
    least_s = min(t / (s.prompt_tokens * s.model.costs.activation_elements) for s, t in prompts)
    op_s, op_cost, (activation_element_s, attention_op_s) = _by_type(
        prompts,
        amounts=lambda s: s.model.prompt_ops(s.prompt_tokens, s.earlier_tokens),
        plain=lambda s: 0.0,
        others=lambda s: (s.prompt_tokens * s.model.costs.activation_elements, s.attention_ops),
        priors=(
            _Prior(0.0, _ACTIVATION_SHARE * least_s),
            _Prior(_ATTENTION_TIMES * least_op_s, _ATTENTION_SPREAD * least_op_s),
        ),
    )
    return found._replace(
        ops_per_s=1 / op_s,
        op_cost=op_cost,
        activation_element_s=activation_element_s,
        attention_op_s=attention_op_s,
    )


def _with_load(found: Profile, samples: Sequence[Sample]) -> Profile:
    """Return the profile with constants of loading; as it is where no load was timed."""
    starts = [(s.model.file_bytes, s.load_s) for s in samples if s.load_s is not None]
    if not starts:
        return found
    table = np.array([(1 / t, num_bytes / t) for num_bytes, t in starts])
    init_s, init_byte_s = nonnegative_least_squares(table, np.ones(len(starts))).tolist()
    return found._replace(init_s=init_s, init_seconds_per_byte=init_byte_s)


class _Prior(NamedTuple):
    """Mean and standard deviation of a cost before anything is measured; an infinite one is no prior."""

    mean: float
    sd: float


def _by_type(
    timed: Sequence[tuple[Sample, float]],
    *,
    amounts: Callable[[Sample], Mapping[str, float]],
    plain: Callable[[Sample], float],
    others: Callable[[Sample], Sequence[float]],
    priors: Sequence[_Prior],
) -> tuple[float, tuple[tuple[str, float], ...], list[float]]:
    """Fit the cost of a unit of the average type, each type's relative to it, and those of other columns.

    `plain` counts units of the average type. First one cost for all types, then each type's around it.
    """
    names = list(dict.fromkeys(name for s, _ in timed for name in amounts(s)))
    seconds = np.array([t for _, t in timed])
    typed = np.array([[amounts(s).get(name, 0.0) for name in names] for s, _ in timed])
    average = np.array([plain(s) for s, _ in timed])
    columns = np.array([others(s) for s, _ in timed]) / seconds[:, None]
    totals = average + typed.sum(axis=1)
    one = _with_priors(
        np.column_stack([totals / seconds, columns]), np.ones(len(timed)), [_Prior(0.0, inf), *priors]
    )
    # bytes without any effect: the other columns may take all the time but a tenth
    mean = float(one[0]) or float(np.mean(0.1 * seconds / totals))
    shares = (typed / totals[:, None]).sum(axis=0)
    detailed = np.column_stack([typed / seconds[:, None], columns])
    for _ in range(_AVERAGINGS):
        type_priors = [_Prior(mean, _TYPE_SPREAD * mean)] * len(names)
        found = _with_priors(detailed, 1 - average * mean / seconds, [*type_priors, *priors])
        # a type without any effect would cost nothing, which no device file accepts
        costs = np.maximum(found[: len(names)], _LEAST_SHARE * mean)
        mean = float(shares @ costs / shares.sum())
    relative = tuple(zip(names, (costs / mean).tolist(), strict=True))
    return mean, relative, found[len(names) :].tolist()


def _with_priors(table: Floats, targets: Floats, priors: Sequence[_Prior]) -> Floats:
    """Solve least squares with costs >= 0, one further row of the table for each prior."""
    means, sds = np.array(priors).T
    return nonnegative_least_squares(
        np.vstack([table, np.diag(_NOISE / sds)]), np.concatenate([targets, _NOISE * means / sds])
    )
