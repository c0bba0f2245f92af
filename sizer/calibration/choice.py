"""Choice of each runtime's decoding terms, constants per device, and errors on held-out rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import exp, log
from statistics import median
from typing import NamedTuple

from sizer.calibration.format_costs import taught_without
from sizer.calibration.pools import (
    Devices,
    Pool,
    bandwidth,
    call_seconds,
    drawn_layers,
    drawn_rate,
    own_share,
    prompt_ops_per_s,
    prompt_unit,
    row_family,
)
from sizer.calibration.regression import (
    Groups,
    Key,
    MeasurementRow,
    conformal_of_few,
    decode_rows,
    engine_layer_seconds,
    enough,
    error,
    fit_constants,
    geometric_mean,
    grouped,
    least_layer_seconds,
    prefill_rows,
)
from sizer.calibration.unseen import KNOWN_DEVICES, engine_devices, pool_constants, pool_of, prompt_error
from sizer.devices.profile import Profile, kind_of

# Standard deviation of log operations/s between the devices of a pool.
_BETWEEN_PROMPTS = 0.4
# Devices of a class that it takes for a range of the class alone.
LEAST_OF_CLASS = 3


class SpeedModelTerms(NamedTuple):
    """Terms of a decoding model; `shared_layer`: the cost of a layer is pooled over the runtime's devices."""

    terms: tuple[str, ...]
    shared_layer: bool


# Simplest first: a later one must be better by more than the margin on held-out models.
CANDIDATES = (
    SpeedModelTerms(("bytes",), True),
    SpeedModelTerms(("bytes", "layers"), False),
    SpeedModelTerms(("bytes", "fixed"), False),
    SpeedModelTerms(("bytes", "layers", "float_bytes"), False),
    SpeedModelTerms(("bytes", "layers", "float_bytes", "kv"), False),
    SpeedModelTerms(("bytes", "layers", "float_bytes", "kv", "float_kv"), False),
)
_MARGIN = 0.9
SIMPLEST = CANDIDATES[0]


def fit_group(groups: Groups, key: Key, chosen: SpeedModelTerms) -> Profile:
    """Fit the decoding constants of one device under one runtime and backend to its rows.

    A fit without any overhead per step, layer or cache element means that the rows cannot tell it apart from
    bytes, not that layers are free: then the cost of a layer is the runtime's.
    """
    rows = groups[key]
    if not chosen.shared_layer:
        c = fit_constants(rows, chosen.terms)
        if max(c.seconds_per_layer, c.seconds_fixed, c.kv_element_s) > 0:
            return c
    terms = [name for name in chosen.terms if name != "layers"]
    if not chosen.shared_layer and c.float_kv_element_s > 0:
        # what is fitted to 16-bit weights says nothing of a step of other weights
        return fit_constants(rows, terms, least_layer_seconds(groups, rows[0].engine[1]))
    return fit_constants(rows, terms, layer_seconds(groups, rows[0]))


def layer_seconds(groups: Groups, row: MeasurementRow) -> float:
    """Return the published cost of a layer on a row's device, else the cost over its runtime's devices."""
    return row.layer_s or engine_layer_seconds(groups, row.engine)


def held_out_models(groups: Groups, key: Key, chosen: SpeedModelTerms) -> list[float]:
    """Return the error of each of a device's rows under constants fitted without its rows of that model."""
    found: dict[str, Profile] = {}
    for row in groups[key]:
        if row.model not in found:
            rest = {**groups, key: [r for r in groups[key] if r.model != row.model]}
            found[row.model] = fit_group(rest, key, chosen)
    return [error(found[row.model], row) for row in groups[key]]


def choose_terms(groups: Groups) -> dict[tuple[str, str], SpeedModelTerms]:
    """Choose each runtime's decoding terms: the simplest near the best on held-out models of its devices."""
    choice: dict[tuple[str, str], SpeedModelTerms] = {}
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
    """Return the mean over devices of the median absolute relative error."""
    return sum(median(abs(exp(e) - 1) for e in found) for found in errors) / len(errors)


def fit_few(rows: Sequence[MeasurementRow], pool: Pool, devices: Devices) -> Profile:
    """Fit the decoding constants of a device with few rows: its bytes/s, drawn to its pool's."""
    row = rows[0]
    known = bandwidth(devices, row.device, rows)
    if row.layer_s:  # published for this device, or for the engine's others
        pool = pool._replace(seconds_per_layer=row.layer_s)
        rate = drawn_rate(rows, pool, known)
    else:
        rate, layer_s = drawn_layers(rows, pool, known)
        pool = pool._replace(seconds_per_layer=layer_s)
    return pool_constants(pool, row, devices, rate)


class EngineClass(NamedTuple):
    """Devices whose ranges are learned together: their kind of backend, and whether the engine is known."""

    kind: str
    known: bool  # rows of enough devices of the family under the engine


def engine_class(rows: Sequence[MeasurementRow], devices: Devices, row: MeasurementRow) -> EngineClass:
    """Return the class of a row's device and engine among all rows."""
    count = engine_devices(rows, devices, row_family(row, devices), row.runtime)
    return EngineClass(kind_of(row.backend), count >= KNOWN_DEVICES)


def few_rows_errors(
    groups: Groups, rows: Sequence[MeasurementRow], devices: Devices
) -> dict[EngineClass, list[list[float]]]:
    """Return, by class, the errors of a device's rows under constants from its rows of one other model."""
    found: dict[EngineClass, list[list[float]]] = {}
    for own in groups.values():
        models = dict.fromkeys(r.model for r in own)
        if len(models) < 2:
            continue
        pool = pool_without(rows, devices, own[0])
        errors = []
        for model in models:
            rest = [r for r in own if r.model != model]
            taught = taught_without(own, rows, rest)
            constants = fit_few([r for r in taught if r.model == model], pool, devices)
            errors += [error(constants, r) for r in taught if r.model != model]
        found.setdefault(engine_class(rows, devices, own[0]), []).append(errors)
    return found


def pool_without(rows: Sequence[MeasurementRow], devices: Devices, row: MeasurementRow) -> Pool:
    """Return the pool of a row's device from the rows of the other devices; of all where there are none."""
    family, kind = row_family(row, devices), kind_of(row.backend)
    others = [r for r in rows if r.device != row.device]
    known = others if any(kind_of(r.backend) == kind for r in decode_rows(others)) else rows
    return pool_of(known, devices, family, row.runtime, kind)


def fit_prompts(
    own: Sequence[MeasurementRow], constants: Profile, pool: Pool, devices: Devices
) -> tuple[float, float]:
    """Return operations/s of a device's prompts, drawn to its pool's, and the cost of 16- and 32-bit weights.

    `constants` are of its decoding, with the pool's seconds a call. The cost is the device's where it has
    prompts of both.
    """
    cost = pool.float_op_cost
    of_float = [r.prefill_ops_per_s for r in own if r.costs is not None and r.costs.is_float]
    others = [r.prefill_ops_per_s for r in own if r.costs is not None and not r.costs.is_float]
    if of_float and others and enough(own):
        cost = geometric_mean(others) / geometric_mean(of_float)
    rates = [prompt_ops_per_s(r, constants.seconds_per_layer, constants.prompt_fixed_s, cost) for r in own]
    rate, expected = geometric_mean(rates), 0.0
    if pool.prompt_devices and (unit := prompt_unit(devices, own[0], constants.bytes_per_s)):
        expected = pool.ops_per_unit * (unit if pool.by_cores else constants.bytes_per_s)
    if not expected:
        return rate, cost
    share = own_share(own, _BETWEEN_PROMPTS)
    return exp(share * log(rate) + (1 - share) * log(expected)), cost


def held_out_prompts(
    rows: Sequence[MeasurementRow], groups: Groups, key: Key, chosen: SpeedModelTerms, devices: Devices
) -> list[float | None]:
    """Return the error of each of a device's prompts under constants fitted without its model.

    None where no row is left to fit decoding or prompts to.
    """
    own = [r for r in prefill_rows(rows) if r.key == key]
    if not own:
        return []
    pool, decodes = pool_without(rows, devices, own[0]), groups.get(key, ())
    found: dict[str, list[float | None]] = {}
    unit = left_out_unit(own)
    for left in dict.fromkeys(map(unit, own)):
        prompts, decoded = list(own), list(decodes)
        if not enough(own):
            hidden = [r for r in (*own, *decodes) if unit(r) == left]
            prompts = taught_without(own, rows, hidden)
            decoded = taught_without(decodes, rows, hidden) if decodes else []
        decoded = [r for r in decoded if unit(r) != left]
        rest = [r for r in prompts if unit(r) != left]
        constants = (
            whole_profile(groups, key, decoded, rest, chosen, pool, devices) if decoded and rest else None
        )
        found[left] = [
            prompt_error(r, constants) if constants is not None else None for r in prompts if unit(r) == left
        ]
    return [found[unit(r)].pop(0) for r in own]


def few_prompts_errors(
    rows: Sequence[MeasurementRow],
    groups: Groups,
    choice: Mapping[tuple[str, str], SpeedModelTerms],
    devices: Devices,
) -> dict[Key, tuple[EngineClass, list[float]]]:
    """Return the errors of devices' prompts, from other models to each, with their class.

    Devices with many rows are among them, as few others have prompts of several models. CPUs with one model
    in several formats are left out: kernels and caches of other models are not in them.
    """
    found: dict[Key, tuple[EngineClass, list[float]]] = {}
    for key, own in grouped(prefill_rows(rows)).items():
        one_model = len({r.model for r in own}) < 2
        if one_model and own[0].engine[1] == "cpu":
            continue
        chosen = choice.get(own[0].engine, SIMPLEST)
        errors = [e for e in held_out_prompts(rows, groups, key, chosen, devices) if e is not None]
        if errors:
            found[key] = engine_class(rows, devices, own[0]), errors
    return found


def few_prompts_factor(
    errors: Iterable[tuple[EngineClass, list[float]]], of_class: EngineClass
) -> float | None:
    """Return the factor of a class's range of prompts; of its kind's where the class is small; None: none."""
    of_kind = [(of, found) for of, found in errors if of.kind == of_class.kind]
    alike = [found for of, found in of_kind if of == of_class]
    some = alike if len(alike) >= LEAST_OF_CLASS else [found for _, found in of_kind]
    return conformal_of_few(some) if some else None


def left_out_unit(rows: Sequence[MeasurementRow]) -> Callable[[MeasurementRow], str]:
    """Return what rows are left out by: the model, or the format where all are of one model."""
    if len({r.model for r in rows}) > 1:
        return lambda row: row.model
    return lambda row: row.format


def whole_profile(
    groups: Groups,
    key: Key,
    decoded: Sequence[MeasurementRow],
    prompts: Sequence[MeasurementRow],
    chosen: SpeedModelTerms,
    pool: Pool,
    devices: Devices,
) -> Profile:
    """Return the decoding and prompt constants of one device under an engine from some of its rows."""
    few = fit_few(decoded, pool, devices)
    constants = few
    if enough(decoded):
        constants = fit_group({**groups, key: decoded}, key, chosen)._replace(
            prompt_fixed_s=few.prompt_fixed_s, call_tokens=few.call_tokens
        )
    if not prompts:
        return constants
    if enough(prompts):  # the device's own seconds a call, where its prompts show them
        call_s = call_seconds(prompts, constants.seconds_per_layer, pool.float_op_cost)
        if call_s is not None:
            constants = constants._replace(prompt_fixed_s=call_s)
    rate, cost = fit_prompts(prompts, constants, pool, devices)
    return constants._replace(ops_per_s=rate, float_op_cost=cost)
