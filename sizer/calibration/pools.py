"""Pools: speed constants of a family of devices under an engine, and how far a device's rows move them.

Every pool has few constants. Decoding: the share of a device's bandwidth that is reached, and seconds a
layer. Prompts: operations per second for each GPU core (Metal) or each byte a second reached, seconds a call,
and the cost of 16- and 32-bit weights. An engine with rows of few devices borrows from its family, a device
with few rows from its pool: estimates are drawn to the pool's by the variances below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import exp, log, log1p, sqrt
from statistics import fmean, median
from typing import NamedTuple

import numpy as np

from sizer.calibration.least_squares import least_absolute
from sizer.calibration.regression import (
    MeasurementRow,
    decode_rows,
    enough,
    geometric_mean,
    grouped,
    least_layer_seconds,
    prefill_rows,
    shared_layer_seconds,
)
from sizer.devices.device import Device
from sizer.devices.family import family_of, is_small
from sizer.devices.latency import bandwidth_on
from sizer.devices.profile import kind_of

# Standard deviations of log speeds: between devices of a pool where too few show it, between models on one
# device, and between sources (their set-ups) of one device. The last two are typical of the rows on file.
_BETWEEN_DEVICES = 0.35
_WITHIN, _BETWEEN_SOURCES = 0.15, 0.1
_TYPICAL_DEVICES = 4  # that many devices, as far apart as is typical, are added to those of a pool
# Devices of an engine that a family weighs as much as.
_FAMILY_DEVICES = 1.0
# 16- and 32-bit weights on CPUs run other kernels: 4 times slower on prompts (LiteRT on a Galaxy S24 Ultra)
_DEFAULT_SHARE = 0.4
# rows of an engine that show the cost of a layer
_LAYER_ROWS = 3

Devices = Mapping[str, Device]


class Pool(NamedTuple):
    """Constants of a family of devices under one engine."""

    family: str
    runtime: str  # "" for all engines of the family
    efficiency: float  # bytes/s that decoding reaches for each byte/s of bandwidth
    small_bytes_per_s: float  # of a phone or board without a known bandwidth: the geometric mean
    large_bytes_per_s: float  # the same of laptops and desktops
    seconds_per_layer: float
    ops_per_unit: float  # operations/s of a prompt for each GPU core (Metal) or each byte/s reached
    prompt_fixed_s: float  # seconds of a prompt's micro-batch besides operations and layers
    float_op_cost: float
    by_cores: bool  # ops_per_unit is for each GPU core
    between: float  # standard deviation of log efficiencies between its devices
    devices: int
    rows: int
    prompt_devices: int


def of_family(rows: Iterable[MeasurementRow], devices: Devices, family: str) -> list[MeasurementRow]:
    """Return the rows of devices of a family."""
    return [r for r in rows if row_family(r, devices) == family]


def row_family(row: MeasurementRow, devices: Devices) -> str:
    """Return the family of the device and backend of a row; the backend for an unknown device."""
    known = devices.get(row.device)
    return row.backend if known is None else family_of(known, row.backend)


def fit_pool(rows: Sequence[MeasurementRow], devices: Devices, family: str, runtime: str) -> Pool | None:
    """Fit a pool to the rows of a family; None without a decoding row of it.

    `rows` may be of any family. `runtime` "" pools all engines.
    """
    members = of_family(rows, devices, family)
    if not decode_rows(members):
        return None
    kind = kind_of(decode_rows(members)[0].backend)
    least_s = least_layer_seconds(grouped(decode_rows(rows)), kind)
    whole = _fit(members, devices, family, "")
    if whole.seconds_per_layer < least_s:
        whole = _fit(members, devices, family, "", layer_s=least_s)
    if not runtime:
        return whole
    own = [r for r in members if r.runtime == runtime]
    if not decode_rows(own):
        return None
    found = _fit(own, devices, family, runtime, whole.seconds_per_layer)
    shown = found.seconds_per_layer and len(decode_rows(own)) >= _LAYER_ROWS
    if found.seconds_per_layer < least_s and not shown:
        found = _fit(own, devices, family, runtime, layer_s=least_s)
    n, m = found.devices, found.prompt_devices
    return found._replace(
        efficiency=_drawn(found.efficiency, whole.efficiency, n) if n else whole.efficiency,
        small_bytes_per_s=found.small_bytes_per_s or whole.small_bytes_per_s,
        large_bytes_per_s=found.large_bytes_per_s or whole.large_bytes_per_s,
        ops_per_unit=_drawn(found.ops_per_unit, whole.ops_per_unit, m) if m else whole.ops_per_unit,
        prompt_fixed_s=found.prompt_fixed_s,
        float_op_cost=whole.float_op_cost,
        between=max(found.between, whole.between) if n < 3 else found.between,
    )


def fit_kind(rows: Sequence[MeasurementRow], devices: Devices, kind: str) -> Pool:
    """Fit one pool to all rows of a kind of backend: the last resort of a family without rows."""
    return _fit([r for r in rows if kind_of(r.backend) == kind], devices, kind, "")


def _drawn(own: float, family: float, devices: int) -> float:
    """Return an engine's constant, drawn to its family's by the number of its devices."""
    share = devices / (devices + _FAMILY_DEVICES)
    return exp(share * log(own) + (1 - share) * log(family))


def _fit(
    rows: Sequence[MeasurementRow],
    devices: Devices,
    family: str,
    runtime: str,
    family_layer_s: float | None = None,
    layer_s: float | None = None,
) -> Pool:
    """Fit a pool; seconds a layer are `layer_s` where given, else of the rows or the family's."""
    decoded = decode_rows(rows)
    if layer_s is None:
        layer_s = _layer_seconds(decoded, devices, family_layer_s)
    names = list(dict.fromkeys(r.device for r in decoded))
    rates = {name: device_rate([r for r in decoded if r.device == name], layer_s) for name in names}
    shares = [rate / bw for name, rate in rates.items() if (bw := bandwidth(devices, name, decoded))]
    spread = [log(s) for s in (shares if len(shares) > 2 else rates.values())]
    between = _between(spread)
    ops, fixed_s, cost, prompted = _prompts(rows, devices, rates, layer_s, by_cores=family == "metal")
    return Pool(
        family=family,
        runtime=runtime,
        efficiency=min(exp(_middle([log(s) for s in shares])), 1.0) if shares else _DEFAULT_SHARE,
        small_bytes_per_s=_mean_rate(rates, devices, small=True),
        large_bytes_per_s=_mean_rate(rates, devices, small=False),
        seconds_per_layer=layer_s,
        ops_per_unit=ops,
        prompt_fixed_s=fixed_s,
        float_op_cost=cost,
        by_cores=family == "metal",
        between=between,
        devices=len(shares),
        rows=len(decoded),
        prompt_devices=prompted,
    )


def _between(logs: Sequence[float]) -> float:
    """Return the standard deviation between a pool's devices, drawn to the typical one where they are few."""
    squares = len(logs) * float(np.var(logs)) if len(logs) > 1 else 0.0
    return sqrt((squares + _TYPICAL_DEVICES * _BETWEEN_DEVICES**2) / (len(logs) + _TYPICAL_DEVICES))


def _mean_rate(rates: Mapping[str, float], devices: Devices, *, small: bool) -> float:
    """Return the geometric mean of the rates of small or of large devices; 0 without any."""
    some = [r for name, r in rates.items() if (d := devices.get(name)) is not None and is_small(d) == small]
    return geometric_mean(some) if some else 0.0


def _middle(values: Sequence[float]) -> float:
    """Return the median of many, the mean of few."""
    return median(values) if len(values) >= 5 else fmean(values)


def bandwidth(devices: Devices, name: str, rows: Iterable[MeasurementRow]) -> float | None:
    """Return the bandwidth of a device's memory as its rows' backend reads it; None where not known."""
    known = devices.get(name)
    backend = next(r.backend for r in rows if r.device == name)
    return None if known is None else bandwidth_on(known, backend)


def _layer_seconds(rows: Sequence[MeasurementRow], devices: Devices, family_s: float | None) -> float:
    """Fit seconds a layer with one efficiency for all devices; the family's where the rows do not show it."""
    sheet = [(r, bw) for r in rows if (bw := bandwidth(devices, r.device, rows))]
    if enough([r for r, _ in sheet]):
        # nothing reads faster than its memory: what is fitted is the time above that
        table = [[r.decode_bytes / bw, float(_layers(r))] for r, bw in sheet]
        counts = {r.device: sum(o.device == r.device for o, _ in sheet) for r, _ in sheet}
        weights = [1 / counts[r.device] for r, _ in sheet]
        above = [max(1 / _speed(r) - r.decode_bytes / bw, 0.1 / _speed(r)) for r, bw in sheet]
        shares = [a * _speed(r) for a, (r, _) in zip(above, sheet, strict=True)]
        weights = [w * s for w, s in zip(weights, shares, strict=True)]
        _, layer_s = least_absolute(table, above, weights)
        return float(layer_s)
    groups: dict[str, list[MeasurementRow]] = {}
    for row in rows:
        groups.setdefault(row.device, []).append(row)
    # models of nearly one size do not show what a layer costs besides its bytes
    own_s = shared_layer_seconds(own for own in groups.values() if _apart(own))
    return own_s if family_s is None or (own_s and len(rows) >= _LAYER_ROWS) else family_s


def _apart(rows: Sequence[MeasurementRow]) -> bool:
    """Return whether one row reads enough more bytes than another to tell bytes from layers."""
    read = [r.decode_bytes for r in rows]
    return max(read) >= _BYTES_APART * min(read)


def _layers(row: MeasurementRow) -> int:
    assert row.costs is not None
    return row.costs.executed_layers


def _speed(row: MeasurementRow) -> float:
    assert row.decode_tokens_per_s is not None
    return row.decode_tokens_per_s


def device_rate(rows: Sequence[MeasurementRow], layer_s: float) -> float:
    """Return the median bytes/s of a device's rows once the layers' time is taken off."""
    # layers may take all the time but a tenth
    times = [max(1 / _speed(r) - layer_s * _layers(r), 0.1 / _speed(r)) for r in rows]
    return median(r.decode_bytes / t for r, t in zip(rows, times, strict=True))


def drawn_rate(rows: Sequence[MeasurementRow], pool: Pool, bandwidth_bytes_per_s: float | None) -> float:
    """Return a device's bytes/s from its rows, drawn to the pool's as far as they are few or disagree."""
    own = device_rate(rows, pool.seconds_per_layer)
    if bandwidth_bytes_per_s is None:
        return own
    share = own_share(rows, pool.between)
    expected = pool.efficiency * bandwidth_bytes_per_s
    found = exp(share * log(own) + (1 - share) * log(expected))
    # of CPUs, the bandwidth may be one of copies, which reading exceeds
    return found if kind_of(rows[0].backend) == "cpu" else min(found, bandwidth_bytes_per_s)


# Standard deviation of log seconds a layer between devices of a pool, and the steps that are tried.
_BETWEEN_LAYERS, _LAYER_STEPS = 2.0, tuple(0.25 * i for i in range(-12, 13))
# Rows of one model in several formats tell layers from bytes where one reads that many times the bytes of
# another; not on a CPU, where a byte of a narrow format takes longer than one of a wide format.
_BYTES_APART = 1.5


def drawn_layers(
    rows: Sequence[MeasurementRow], pool: Pool, bandwidth_bytes_per_s: float | None
) -> tuple[float, float]:
    """Return a device's bytes/s and seconds a layer from rows of several models, both drawn to the pool's.

    The seconds a layer are those under which the rows agree best, at the cost of being far from the pool's.
    """
    errors = {(r.model, r.format) for r in rows}
    best: tuple[float, float, float] | None = None
    formats_tell = kind_of(rows[0].backend) != "cpu" and _apart(rows)
    apart = formats_tell or len({r.model for r in rows}) > 1
    for step in _LAYER_STEPS if apart else (0.0,):
        tried = pool._replace(seconds_per_layer=pool.seconds_per_layer * exp(step))
        rate = drawn_rate(rows, tried, bandwidth_bytes_per_s)
        miss = (step / _BETWEEN_LAYERS) ** 2
        for unit in errors:
            own = [r for r in rows if (r.model, r.format) == unit]
            times = [tried.seconds_per_layer * _layers(r) + r.decode_bytes / rate for r in own]
            misses = [log(t * _speed(r)) for t, r in zip(times, own, strict=True)]
            # one far row counts little: it may be another set-up
            miss += fmean(log1p((m / _WITHIN) ** 2) for m in misses)
        if best is None or miss < best[0]:
            best = miss, rate, tried.seconds_per_layer
    assert best is not None
    return best[1], best[2]


def own_share(rows: Sequence[MeasurementRow], between: float) -> float:
    """Return the weight of a device's own rows against its pool: near 1 with many models and sources."""
    models = len({(r.model, r.format) for r in rows})
    sources = len({tuple(r.source.split()[:2]) for r in rows})
    own = _WITHIN**2 / models + _BETWEEN_SOURCES**2 / sources
    return between**2 / (between**2 + own)


def _prompts(
    rows: Sequence[MeasurementRow],
    devices: Devices,
    rates: Mapping[str, float],
    layer_s: float,
    *,
    by_cores: bool,
) -> tuple[float, float, float, int]:
    """Fit operations/s a unit, seconds a call and the cost of floats; and count the devices with prompts."""
    timed = [r for r in prefill_rows(rows) if r.device in rates]
    if not timed:
        return 0.0, 0.0, 4.0 if kind_of(rows[0].backend) == "cpu" else 1.0, 0
    cost = _float_cost(timed)
    fixed_s = _call_seconds(timed, layer_s, cost)
    prompted = [r for r in timed if not (by_cores and prompt_unit(devices, r, 1.0) is None)]
    if not prompted:
        return 0.0, fixed_s, cost, 0
    by_device: dict[str, list[float]] = {}
    for row in prompted:
        unit = prompt_unit(devices, row, rates[row.device]) if by_cores else rates[row.device]
        assert unit is not None
        by_device.setdefault(row.device, []).append(log(prompt_ops_per_s(row, layer_s, fixed_s, cost) / unit))
    return exp(fmean(median(found) for found in by_device.values())), fixed_s, cost, len(by_device)


def prompt_unit(devices: Devices, row: MeasurementRow, rate: float) -> float | None:
    """Return what a prompt's speed grows with: GPU cores on Metal (None: unknown), else bytes/s reached."""
    if row.backend != "metal":
        return rate
    known = devices.get(row.device)
    cores = known.gpu_cores.value if known is not None and known.gpu_cores is not None else None
    return row.gpu_cores or cores


def prompt_ops_per_s(row: MeasurementRow, layer_s: float, fixed_s: float, float_cost: float) -> float:
    """Return operations/s, as of quantized weights, of a prompt once calls and layers are taken off."""
    assert row.costs is not None
    assert row.prefill_tokens_per_s is not None
    seconds = row.prompt_tokens / row.prefill_tokens_per_s
    calls = -(-row.prompt_tokens // row.ubatch_tokens)
    left = max(seconds - calls * (fixed_s + layer_s * _layers(row)), 0.2 * seconds)
    cost = (float_cost if row.costs.is_float else 1.0) * row.costs.format_op_cost
    return row.costs.prompt_ops(row.prompt_tokens) * cost / left


def _float_cost(rows: Sequence[MeasurementRow]) -> float:
    """Return how much more an operation on 16- or 32-bit weights costs, on devices that have both."""
    ratios = []
    for key in dict.fromkeys(r.key for r in rows):
        own = [r for r in rows if r.key == key and r.costs is not None]
        floats = [r.prefill_ops_per_s for r in own if r.costs and r.costs.is_float]
        others = [r.prefill_ops_per_s for r in own if r.costs and not r.costs.is_float]
        if floats and others:
            ratios.append(geometric_mean(others) / geometric_mean(floats))
    if ratios:
        return geometric_mean(ratios)
    return 4.0 if kind_of(rows[0].backend) == "cpu" else 1.0


def _call_seconds(rows: Sequence[MeasurementRow], layer_s: float, cost: float) -> float:
    """Return the middle of the seconds of a call on devices whose prompts show them."""
    keys = dict.fromkeys(r.key for r in rows)
    found = [call_seconds([r for r in rows if r.key == key], layer_s, cost) for key in keys]
    shown = [call_s for call_s in found if call_s is not None]
    return median(shown) if shown else 0.0


def call_seconds(own: Sequence[MeasurementRow], layer_s: float, cost: float) -> float | None:
    """Fit a device's seconds of a call besides layers to prompts of several sizes (a factor of two apart).

    None for CPUs, and where the sizes are too near each other.
    """
    sizes = [r.costs.prompt_ops(r.prompt_tokens) for r in own if r.costs is not None]
    if max(sizes) < 2 * min(sizes) or kind_of(own[0].backend) == "cpu":
        return None
    table, times = [], []
    for r in own:
        assert r.costs is not None
        assert r.prefill_tokens_per_s is not None
        calls = -(-r.prompt_tokens // r.ubatch_tokens)
        ops = r.costs.prompt_ops(r.prompt_tokens) * (cost if r.costs.is_float else 1.0)
        table.append([ops, float(calls)])
        times.append(r.prompt_tokens / r.prefill_tokens_per_s)
    _, call_s = least_absolute(table, times, [1.0] * len(times))
    return max(0.0, float(call_s) - layer_s * _layers(own[0]))
