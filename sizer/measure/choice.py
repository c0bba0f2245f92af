"""Which decoding model each engine gets, constants per device, and what they miss of rows held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, inf, log
from statistics import median
from typing import NamedTuple

from sizer.device import Device
from sizer.latency import kind_of, prefill_seconds
from sizer.measure.regression import (
    Costs,
    Groups,
    Key,
    Row,
    decode_rows,
    engine_layer_seconds,
    enough,
    error,
    fit_costs,
    geometric_mean,
    grouped,
    prefill_rows,
)
from sizer.prediction import Basis
from sizer.profile import Profile
from sizer.workload import Workload


class Chosen(NamedTuple):
    """Features of a decoding model; `shared_layer`: the cost of a layer is that of the engine's devices."""

    features: tuple[str, ...]
    shared_layer: bool


# From the simplest on: a later one must be better by more than the margin on models it has not seen.
CANDIDATES = (
    Chosen(("bytes",), True),
    Chosen(("bytes", "layers"), False),
    Chosen(("bytes", "fixed"), False),
    Chosen(("bytes", "layers", "fallback_bytes"), False),
    Chosen(("bytes", "layers", "float_bytes"), False),
    Chosen(("bytes", "layers", "float_bytes", "kv"), False),
    Chosen(("bytes", "layers", "float_bytes", "kv", "float_kv"), False),
)
_MARGIN = 0.9
_BY_LAYER = ("layers", "fixed", "kv", "float_kv")  # what a deeper model has more of, bytes aside
SIMPLEST = CANDIDATES[0]


def fit_group(groups: Groups, key: Key, chosen: Chosen) -> Costs:
    """Costs of one device under one runtime and backend from its rows.

    Rows that deny layers any cost, be it of their cache, say that they cannot tell, not that layers are free:
    then it is the engine's.
    """
    rows = groups[key]
    if not chosen.shared_layer:
        costs = fit_costs(rows, chosen.features)
        if any(costs.get(name, 0.0) > 0 for name in _BY_LAYER):
            return costs
    features = [name for name in chosen.features if name != "layers"]
    return fit_costs(rows, features, layer_seconds(groups, rows[0]))


def layer_seconds(groups: Groups, row: Row) -> float:
    """Cost of a layer where a device's rows do not tell it: published, else that of its engine's devices."""
    return row.layer_s or engine_layer_seconds(groups, row.engine)


def held_out_models(groups: Groups, key: Key, chosen: Chosen) -> list[float]:
    """Errors of each of a device's rows under constants fitted without any of its rows of that model."""
    found: dict[str, Costs] = {}
    for row in groups[key]:
        if row.model not in found:
            rest = {**groups, key: [r for r in groups[key] if r.model != row.model]}
            found[row.model] = fit_group(rest, key, chosen)
    return [error(found[row.model], row) for row in groups[key]]


def choose_features(groups: Groups) -> dict[tuple[str, str], Chosen]:
    """The decoding model of each engine: the simplest near the best on models held out, over its devices."""
    choice: dict[tuple[str, str], Chosen] = {}
    for engine in dict.fromkeys(rows[0].engine for rows in groups.values()):
        keys = [key for key, rows in groups.items() if rows[0].engine == engine and enough(rows)]
        best, best_miss = SIMPLEST, None
        for candidate in CANDIDATES if keys else ():
            miss = typical_miss([held_out_models(groups, key, candidate) for key in keys])
            if best_miss is None or miss < _MARGIN * best_miss:
                best, best_miss = candidate, miss
        choice[engine] = best
    return choice


def typical_miss(errors: Sequence[Sequence[float]]) -> float:
    """Mean over devices of the median absolute relative error."""
    return sum(median(abs(exp(e) - 1) for e in found) for found in errors) / len(errors)


def few_rows_errors(groups: Groups) -> dict[str, list[list[float]]]:
    """By kind, errors of a device's rows under constants from its rows of one other model alone."""
    found: dict[str, list[list[float]]] = {}
    for key, rows in groups.items():
        errors = []
        for model in dict.fromkeys(r.model for r in rows):
            costs = fit_group({**groups, key: [r for r in rows if r.model == model]}, key, SIMPLEST)
            errors += [error(costs, r) for r in rows if r.model != model]
        if errors:
            found.setdefault(rows[0].engine[1], []).append(errors)
    return found


def prefill_constants(rows: Sequence[Row]) -> tuple[float, float]:
    """Operations per second, and how many times dearer one is with 16- and 32-bit weights."""
    of_float = [r.prefill_ops_per_s for r in rows if r.work is not None and r.work.is_float]
    others = [r.prefill_ops_per_s for r in rows if r.work is not None and not r.work.is_float]
    if not of_float or not others or not enough(rows):  # few rows: variants of a chip, rather than types
        return geometric_mean(of_float + others), 1.0
    return geometric_mean(others), geometric_mean(others) / geometric_mean(of_float)


def prefill_error(row: Row, costs: Costs, ops_per_s: float, float_op_cost: float = 1.0) -> float:
    """log(predicted / measured) tokens per second of a prompt, layers and reading the weights included."""
    assert row.work is not None
    assert row.prefill_tokens_per_s is not None
    constants = Profile(
        runtime=row.runtime,
        backend=row.backend,
        basis=Basis.FITTED,
        seconds_fixed=costs.get("fixed", 0.0),
        seconds_per_layer=costs.get("layers", 0.0),
        bytes_per_s=1 / costs["bytes"],
        bits_low=0.0,
        bits_high=inf,
        decode_factor=1.0,
        ops_per_s=ops_per_s,
        float_op_cost=float_op_cost,
    )
    seconds = prefill_seconds(row.work, Workload(prompt_tokens=row.prompt_tokens), constants)
    return log(row.prompt_tokens / seconds / row.prefill_tokens_per_s)


def held_out_prefill(rows: Sequence[Row], groups: Groups, key: Key, chosen: Chosen) -> list[float | None]:
    """Errors of each of a device's prefill rows, under constants of decoding and prefill without its model.

    None where nothing is left to know the device's decoding by.
    """
    own = [r for r in prefill_rows(rows) if r.key == key]
    found: dict[str, tuple[Costs, float, float] | None] = {}
    for model in dict.fromkeys(r.model for r in own):
        decoded = [r for r in groups.get(key, ()) if r.model != model]
        rest = [r for r in own if r.model != model]
        if decoded and rest:
            costs = fit_group({**groups, key: decoded}, key, chosen if enough(decoded) else SIMPLEST)
            found[model] = costs, *prefill_constants(rest)
        else:
            found[model] = None
    return [prefill_error(r, *constants) if (constants := found[r.model]) else None for r in own]


class Specification(NamedTuple):
    """Constants for devices of a kind known by their bandwidth only."""

    efficiency: float
    ops_per_byte: float


def _sheet(devices: Mapping[str, Device], name: str) -> float | None:
    known = devices.get(name)
    bandwidth = known.bandwidth_bytes_per_s if known else None
    return bandwidth.value if bandwidth else None


def _on_own_backend(row: Row, devices: Mapping[str, Device], kind: str) -> bool:
    """Whether a row was measured on the backend its device is known by, as a sheet's figure is meant."""
    known = devices.get(row.device)
    return kind_of(row.backend) == kind and (known is None or known.backend == row.backend)


def specification(rows: Sequence[Row], devices: Mapping[str, Device], kind: str) -> Specification:
    """Share of its bandwidth a device of a kind reaches, and prefill operations per byte it reaches."""
    groups = grouped(r for r in decode_rows(rows) if _on_own_backend(r, devices, kind))
    shares, ratios = [], []
    for key in groups:
        sheet = _sheet(devices, key[0])
        rate = 1 / fit_group(groups, key, SIMPLEST)["bytes"]
        prefill = [r.prefill_ops_per_s for r in prefill_rows(rows) if r.key == key]
        if sheet:
            shares.append(rate / sheet)
        if prefill:
            ratios.append(geometric_mean(prefill) / rate)
    return Specification(geometric_mean(shares), geometric_mean(ratios))


def held_out_devices(
    rows: Sequence[Row], devices: Mapping[str, Device], kind: str
) -> tuple[dict[str, list[tuple[Row, float]]], dict[str, list[tuple[Row, float]]]]:
    """Decode rows and prefill rows with their errors, by device: each predicted from the others' rows."""
    decode_errors: dict[str, list[tuple[Row, float]]] = {}
    prefill_errors: dict[str, list[tuple[Row, float]]] = {}
    of_kind = [r for r in rows if _on_own_backend(r, devices, kind)]
    for name in dict.fromkeys(r.device for r in of_kind if r.work is not None):
        sheet = _sheet(devices, name)
        if sheet is None:
            continue
        others = [r for r in of_kind if r.device != name]
        groups = grouped(decode_rows(others))
        spec = specification(others, devices, kind)
        for row in (r for r in of_kind if r.device == name and r.work is not None):
            layer_s = layer_seconds(groups, row)
            costs = {"bytes": 1 / (spec.efficiency * sheet), "layers": layer_s}
            if row.decode_tokens_per_s is not None:
                decode_errors.setdefault(name, []).append((row, error(costs, row)))
            if row.prefill_tokens_per_s is not None:
                rate = spec.ops_per_byte * spec.efficiency * sheet
                prefill_errors.setdefault(name, []).append((row, prefill_error(row, costs, rate)))
    return decode_errors, prefill_errors
