"""Regression on measured speeds: rows, least absolute relative errors, ranges from held-out errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, exp, log
from statistics import fmean

import numpy as np

from sizer.calibration.decode_terms import DECODE_TERMS, decode_constants
from sizer.calibration.least_squares import EXACT, REWEIGHTINGS, nonnegative_least_squares
from sizer.devices.profile import Profile, kind_of
from sizer.devices.speed_model import (
    ModelCosts,
    decode_seconds,
)

# Prompt tokens an engine reads at once; llama.cpp's 512 for those not named.
_CALL_TOKENS = {"mlx": 2048, "core-ai": 2048, "litert-lm": 2048, "rkllm": 2048, "genie": 128}

COVERAGE = 0.8  # what Prediction promises of [low, high]
# Constants from fewer rows, or from one or two models, have no meaningful held-out error.
FITTED_ROWS, FITTED_MODELS = 5, 3

Key = tuple[str, str, str]  # device, runtime, backend


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementRow:
    """A published measurement: the costs of its model and the printed rates (None where not printed)."""

    device: str
    runtime: str
    backend: str
    model: str
    costs: ModelCosts | None  # None: the bytes read per token are not known
    kv_bytes: float
    prompt_tokens: int
    decode_tokens_per_s: float | None
    prefill_tokens_per_s: float | None
    joules_per_token: float | None
    load_s: float | None
    storage_read_bytes_per_s: float | None
    source: str
    layer_s: float = 0.0  # published cost of a layer on this device or runtime, from a fit to other rows
    format: str = ""  # as printed, for a reader
    weights: int = 0
    hot: bool = False  # after minutes of decoding: for sustained speeds only
    gpu_cores: float | None = None  # of a chip's smaller or larger bin, where the row states it
    instructions: str = ""  # of a CPU: "arm" or "x86"; else the backend

    @property
    def ubatch_tokens(self) -> int:
        """Return the prompt tokens that the engine reads at once: Genie's graphs 128, llama.cpp 512."""
        return self.call_tokens or 512

    @property
    def call_tokens(self) -> int:
        """Return the same of an engine that always reads as many; 0 where the user sets it (llama.cpp)."""
        return _CALL_TOKENS.get(self.runtime, 0)

    @property
    def key(self) -> Key:
        """Return device, runtime and backend."""
        return self.device, self.runtime, self.backend

    @property
    def engine(self) -> tuple[str, str]:
        """Return runtime and kind of backend, which share the terms of a decoding model."""
        return self.runtime, kind_of(self.backend)

    @property
    def decode_bytes(self) -> float:
        """Return the bytes read per generated token, weights and KV cache."""
        assert self.costs is not None
        return self.costs.format_byte_cost * self.costs.step_bytes + self.kv_bytes

    @property
    def prefill_ops_per_s(self) -> float:
        """Return the operations per second at the printed prefill rate."""
        assert self.costs is not None
        assert self.prefill_tokens_per_s is not None
        ops = self.costs.prompt_ops(self.prompt_tokens) * self.costs.format_op_cost
        return ops * self.prefill_tokens_per_s / self.prompt_tokens


Groups = Mapping[Key, Sequence[MeasurementRow]]


def grouped(rows: Iterable[MeasurementRow]) -> dict[Key, list[MeasurementRow]]:
    """Return the rows by device, runtime and backend, in the file's order."""
    groups: dict[Key, list[MeasurementRow]] = {}
    for row in rows:
        groups.setdefault(row.key, []).append(row)
    return groups


def decode_rows(rows: Iterable[MeasurementRow]) -> list[MeasurementRow]:
    """Return the rows with a decoding speed and known bytes."""
    return [r for r in rows if r.costs is not None and r.decode_tokens_per_s is not None and not r.hot]


def prefill_rows(rows: Iterable[MeasurementRow]) -> list[MeasurementRow]:
    """Return the rows with a prefill speed and known shapes."""
    return [r for r in rows if r.costs is not None and r.prefill_tokens_per_s is not None and not r.hot]


def enough(rows: Sequence[MeasurementRow]) -> bool:
    """True if there are enough rows and models to fit constants and a range to."""
    return len(rows) >= FITTED_ROWS and len({r.model for r in rows}) >= FITTED_MODELS


def _costs(row: MeasurementRow) -> ModelCosts:
    assert row.costs is not None
    return row.costs


def error(constants: Profile, row: MeasurementRow) -> float:
    """Return log(predicted / measured) decode tokens per second."""
    assert row.decode_tokens_per_s is not None
    return -log(decode_seconds(_costs(row), row.kv_bytes, constants) * row.decode_tokens_per_s)


def fit_constants(
    rows: Sequence[MeasurementRow], terms: Sequence[str], layer_s: float | None = None
) -> Profile:
    """Fit the decode terms' costs, none negative, with the least sum of absolute relative errors.

    `layer_s` is the cost of a layer where it is known from other rows; "layers" is then no term.
    """
    rates = np.array([row.decode_tokens_per_s for row in rows])
    units = [[DECODE_TERMS[name](_costs(row), row.kv_bytes) for name in terms] for row in rows]
    table = np.array(units) * rates[:, None]
    # layers may take all the time but a tenth
    layers = np.array([_costs(row).executed_layers for row in rows])
    targets = np.maximum(1 - (layer_s or 0.0) * layers * rates, 0.1)
    costs = nonnegative_least_squares(table, targets)
    for _ in range(REWEIGHTINGS):  # reweighted least squares converge to least absolute errors
        misses = np.abs(table @ costs - targets)
        weights = 1 / np.sqrt(np.maximum(misses, EXACT))
        before, costs = costs, nonnegative_least_squares(table * weights[:, None], targets * weights)
        if np.all(np.abs(costs - before) <= 1e-5 * before):
            break
    seconds = dict(zip(terms, costs.tolist(), strict=True))
    if layer_s is not None:
        seconds["layers"] = layer_s
    return decode_constants(seconds, runtime=rows[0].runtime, backend=rows[0].backend)


# Models of one shape cannot separate layers from bytes: what is left of their layers is rounding.
_RANK = 1e-9


def shared_layer_seconds(groups: Iterable[Sequence[MeasurementRow]]) -> float:
    """Fit seconds per executed layer by relative least squares, each group with its own bandwidth."""
    top = bottom = total = 0.0
    for rows in groups:
        rates = np.array([row.decode_tokens_per_s for row in rows])
        layers = np.array([_costs(row).executed_layers for row in rows]) * rates
        read = np.array([row.decode_bytes for row in rows]) * rates
        # the group's bandwidth is eliminated from its normal equations
        share = float(layers @ read / (read @ read))
        top += float(layers.sum()) - share * float(read.sum())
        bottom += float(layers @ layers) - share * float(layers @ read)
        total += float(layers @ layers)
    return max(0.0, top / bottom) if bottom > _RANK * total else 0.0


def engine_layer_seconds(groups: Groups, engine: tuple[str, str]) -> float:
    """Fit the cost of a layer to a runtime's devices of a kind; to all of that kind if those give none."""
    kind = [rows for rows in groups.values() if rows and rows[0].engine[1] == engine[1]]
    own = [rows for rows in kind if rows[0].engine == engine]
    for some in ([r for r in own if enough(r)], own, [r for r in kind if enough(r)], kind):
        if (found := shared_layer_seconds(some)) > 0:
            return found
    return 0.0


def least_layer_seconds(groups: Groups, kind: str) -> float:
    """Return the least cost of a layer that an engine with enough rows shows on a kind of backend.

    No layer is free: where a device's or a family's rows do not show what it costs, it costs that.
    """
    engines = dict.fromkeys(own[0].engine for own in groups.values() if own and enough(own))
    found = [engine_layer_seconds(groups, engine) for engine in engines if engine[1] == kind]
    return min((s for s in found if s > 0), default=0.0)


def conformal(errors: Sequence[float], coverage: float = COVERAGE) -> float:
    """Return the factor of the ceil((n+1) x coverage)-th smallest absolute log error, at most the largest."""
    ordered = sorted(abs(e) for e in errors)
    rank = min(ceil((len(ordered) + 1) * coverage - 1e-9), len(ordered))
    return exp(ordered[rank - 1])


def conformal_of_groups(errors: Iterable[Sequence[float]], coverage: float = COVERAGE) -> float:
    """Return the conformal factor with equal weight for each group, however many rows it has."""
    groups = [found for found in errors if found]
    weighted = sorted((abs(e), 1 / len(found)) for found in groups for e in found)
    wanted = min((len(groups) + 1) * coverage, len(groups)) - 1e-9
    reached = 0.0
    for size, weight in weighted:
        reached += weight
        if reached >= wanted:
            return exp(size)
    return exp(weighted[-1][0])


# Few groups show little of the far ones: their range is to hold more.
FEW_GROUPS, FEW_COVERAGE = 8, 0.9


def conformal_of_few(errors: Iterable[Sequence[float]]) -> float:
    """Return the conformal factor of groups, to hold more where the groups are few."""
    groups = [found for found in errors if found]
    return conformal_of_groups(groups, FEW_COVERAGE if len(groups) < FEW_GROUPS else COVERAGE)


def mape(errors: Iterable[float]) -> float:
    """Return the mean absolute relative error of speeds from log errors."""
    return fmean(abs(exp(e) - 1) for e in errors)


def geometric_mean(values: Iterable[float]) -> float:
    """Return the exponential of the mean logarithm."""
    return exp(fmean(log(v) for v in values))
