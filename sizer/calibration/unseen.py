"""Devices and engines left out whole: how far the pools of the others miss them, and the ranges of that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import log
from typing import NamedTuple

from sizer.calibration.decode_terms import decode_constants
from sizer.calibration.pools import (
    Devices,
    Pool,
    bandwidth,
    fit_kind,
    fit_pool,
    prompt_unit,
    row_family,
)
from sizer.calibration.regression import (
    COVERAGE,
    FEW_COVERAGE,
    FEW_GROUPS,
    MeasurementRow,
    conformal_of_groups,
    decode_rows,
    error,
    prefill_rows,
)
from sizer.devices.family import is_small
from sizer.devices.profile import Profile, kind_of
from sizer.devices.speed_model import prefill_seconds
from sizer.workload import Workload

# Groups that it takes for a range of a family alone, and of a kind of backend with or without bandwidths.
_LEAST_GROUPS, _LEAST_OF_KIND = 4, 5
# An engine with fewer devices in a family is known less well than the family.
KNOWN_DEVICES = 3
Errors = list[tuple[MeasurementRow, float]]


class Unseen(NamedTuple):
    """A device under one engine and family of backends, predicted without any of the device's rows.

    Errors are log(predicted / measured).
    """

    device: str
    family: str
    kind: str
    sheet: bool  # its bandwidth is known
    peers: int  # other devices of the family with rows of the engine
    decode: Errors
    prefill: Errors


def pool_of(rows: Sequence[MeasurementRow], devices: Devices, family: str, runtime: str, kind: str) -> Pool:
    """Return the nearest pool that has rows: the engine's of the family, the family's, the kind's."""
    whole = fit_pool(rows, devices, family, "")
    found = fit_pool(rows, devices, family, runtime) or whole or fit_kind(rows, devices, kind)
    if found.ops_per_unit:
        return found
    # no prompt of the family: operations for each byte of the kind
    return found._replace(ops_per_unit=fit_kind(rows, devices, kind).ops_per_unit)


def pool_constants(pool: Pool, row: MeasurementRow, devices: Devices, rate: float | None = None) -> Profile:
    """Return the constants of a row's device in a pool; `rate` in bytes/s where its rows show one."""
    sheet = bandwidth(devices, row.device, [row])
    rate = rate or (pool.efficiency * sheet if sheet else pool_rate(pool, row, devices))
    seconds = {"bytes": 1 / rate, "layers": pool.seconds_per_layer}
    constants = decode_constants(seconds, runtime=row.runtime, backend=row.backend)
    unit = prompt_unit(devices, row, rate) if pool.by_cores else rate
    return constants._replace(
        ops_per_s=pool.ops_per_unit * (unit or 0.0),
        float_op_cost=pool.float_op_cost,
        prompt_fixed_s=pool.prompt_fixed_s,
        call_tokens=row.call_tokens,
    )


def pool_rate(pool: Pool, row: MeasurementRow, devices: Devices) -> float:
    """Return the bytes/s of a device without a known bandwidth: those of devices of its size."""
    known = devices.get(row.device)
    small, large = pool.small_bytes_per_s, pool.large_bytes_per_s
    return (small or large) if known is None or is_small(known) else (large or small)


def prompt_error(row: MeasurementRow, constants: Profile) -> float:
    """Return log(predicted / measured) prefill tokens per second: operations, calls, layers, weights read."""
    assert row.costs is not None
    assert row.prefill_tokens_per_s is not None
    tokens = row.prompt_tokens
    prompt = Workload(prompt_tokens=tokens, generated_tokens=1, context_tokens=tokens + 1)
    return log(tokens / prefill_seconds(row.costs, prompt, constants) / row.prefill_tokens_per_s)


def unseen_devices(rows: Sequence[MeasurementRow], devices: Devices) -> list[Unseen]:
    """Predict every device, under each family of backends, from the rows of the other devices."""
    found: list[Unseen] = []
    for name, family in dict.fromkeys((r.device, row_family(r, devices)) for r in decode_rows(rows)):
        others = [r for r in rows if r.device != name]
        own = [r for r in rows if r.device == name and row_family(r, devices) == family]
        kind = kind_of(own[0].backend)
        if not any(kind_of(r.backend) == kind for r in decode_rows(others)):
            continue
        sheet = bandwidth(devices, name, own) is not None
        for runtime in dict.fromkeys(r.runtime for r in decode_rows(own)):
            pool = pool_of(others, devices, family, runtime, kind)
            decode: Errors = []
            prefill: Errors = []
            for row in (r for r in own if r.runtime == runtime):
                constants = pool_constants(pool, row, devices)
                if decode_rows([row]):
                    decode.append((row, error(constants, row)))
                if prefill_rows([row]) and constants.ops_per_s:
                    prefill.append((row, prompt_error(row, constants)))
            peers = engine_devices(others, devices, family, runtime)
            found.append(Unseen(name, family, kind, sheet, peers, decode, prefill))
    return found


def engine_devices(rows: Sequence[MeasurementRow], devices: Devices, family: str, runtime: str) -> int:
    """Return the number of devices of a family with decoding rows of an engine."""
    own = (r for r in decode_rows(rows) if r.runtime == runtime)
    return len({r.device for r in own if row_family(r, devices) == family})


def unseen_engines(rows: Sequence[MeasurementRow], devices: Devices, kind: str) -> list[Errors]:
    """Predict the rows of each engine of a kind of backend from the other engines of its family."""
    found = []
    of_kind = [r for r in decode_rows(rows) if kind_of(r.backend) == kind]
    for family, runtime in dict.fromkeys((row_family(r, devices), r.runtime) for r in of_kind):
        others = [r for r in rows if r.runtime != runtime]
        if fit_pool(others, devices, family, "") is None:
            continue
        pool = pool_of(others, devices, family, runtime, kind)
        own = [r for r in of_kind if r.runtime == runtime and row_family(r, devices) == family]
        found.append([(r, error(pool_constants(pool, r, devices), r)) for r in own])
    return found


def engine_factor(engines: Sequence[Errors], without: str = "") -> float:
    """Return the factor of a range for an engine without rows in a family, from engines left out whole.

    They are few and far apart: it is to hold more than usual. `without` a device, its rows tell nothing.
    """
    left = [[e for row, e in errors if row.device != without] for errors in engines]
    return conformal_of_groups(left, FEW_COVERAGE) if any(left) else 1.0


def unseen_factor(
    unseen: Sequence[Unseen], engines: Mapping[str, Sequence[Errors]], one: Unseen, *, prompts: bool = False
) -> float:
    """Return the factor of a device's range that the other devices and engines show.

    `engines` are the errors of engines left out, by kind of backend.
    """
    others = [o for o in unseen if o.device != one.device]
    factor = spread(others, one.family, one.kind, peers=one.peers, sheet=one.sheet, prompts=prompts)
    if prompts or one.peers:
        return factor
    return max(factor, engine_factor(engines[one.kind], one.device))


def spread(
    unseen: Iterable[Unseen], family: str, kind: str, *, peers: int, sheet: bool = True, prompts: bool = False
) -> float:
    """Return the factor of an 80 % range for an unseen device of a family under an engine with `peers` there.

    It is of the family's devices that are known as well, else of such devices of the kind, else of the kind.
    Where the family's own devices are too few, others show little of the far ones: it is to hold more.
    """
    known = [(u, errors) for u in unseen if (errors := u.prefill if prompts else u.decode)]
    alike = [(u, e) for u, e in known if u.kind == kind and _is_known(u.peers) == _is_known(peers)]
    same_sheet = [(u, e) for u, e in alike if prompts or u.sheet == sheet]
    own = [e for u, e in same_sheet if u.family == family]
    if len(own) >= _LEAST_GROUPS:
        some = own
    elif len(same_sheet) >= _LEAST_OF_KIND:
        some = [e for _, e in same_sheet]
    else:
        of_kind = [e for u, e in known if u.kind == kind]
        some = [e for _, e in alike] if len(alike) >= _LEAST_OF_KIND else of_kind
    groups = [[e for _, e in errors] for errors in some or [e for _, e in known]]
    borrowed = some is not own or len(groups) < FEW_GROUPS
    return conformal_of_groups(groups, FEW_COVERAGE if borrowed else COVERAGE)


def _is_known(peers: int) -> bool:
    return peers >= KNOWN_DEVICES
