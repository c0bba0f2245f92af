"""python -m sizer.calibration.fit: fits the speed constants to measurements.csv and writes profiles.toml."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from math import exp, log
from pathlib import Path
from statistics import median
from typing import NamedTuple

from sizer.calibration.choice import (
    SIMPLEST,
    EngineClass,
    SpeedModelTerms,
    choose_terms,
    engine_class,
    few_prompts_errors,
    few_prompts_factor,
    few_rows_errors,
    held_out_models,
    held_out_prompts,
    layer_seconds,
    whole_profile,
)
from sizer.calibration.format_costs import FORMAT_OF_BITS, format_costs, unformatted
from sizer.calibration.measurement_cells import MEASUREMENTS
from sizer.calibration.measurement_file import read_rows
from sizer.calibration.pools import Pool, fit_kind, fit_pool, row_family
from sizer.calibration.regression import (
    Groups,
    Key,
    MeasurementRow,
    conformal,
    conformal_of_few,
    conformal_of_groups,
    decode_rows,
    engine_layer_seconds,
    enough,
    geometric_mean,
    grouped,
    mape,
    prefill_rows,
)
from sizer.calibration.unseen import (
    Unseen,
    engine_devices,
    engine_factor,
    pool_of,
    spread,
    unseen_devices,
    unseen_engines,
)
from sizer.devices.catalogue import load_devices
from sizer.devices.device import Device
from sizer.devices.profile import Profile

PROFILES = Path(__file__).parent.parent / "data" / "profiles.toml"

_HEADER = """\
# Written by python -m sizer.calibration.fit from data/measurements.csv: change the rows and run it again.
# decode: seconds/token = seconds_fixed + seconds_per_layer x executed layers + (bytes + (float_byte_cost - 1)
# x bytes of 16- and 32-bit weights) / bytes_per_s + kv_element_s x elements of one cached position (an engine
# that walks its whole static cache each step; + float_kv_element_s in models of 16- and 32-bit weights);
# least absolute relative errors. [[model]]: the terms of each engine, the simplest near the best on models
# held out.
# *_factor: low = value / factor, high = value x factor, to hold 80 % of what was held out: profiles with
# enough rows, each row predicted without its device's rows of its model; with few ("few = true"), from one
# model's rows to the others' on devices that have several, by kind of backend and by whether the engine has
# rows of enough devices. Rows of one source hide how set-ups differ: see how many sources a device has.
# [[pool]]: a family of devices under an engine ("" for all engines): see sizer/calibration/pools.py. Its
# ranges are of devices left out whole, with and without a known bandwidth ("blind"); engine_factor: of
# engines left out whole. [cpu], [gpu] and [npu]: all families of a kind.
"""

Value = str | bool | int | float | list[str]
Choice = Mapping[tuple[str, str], SpeedModelTerms]


def profiles_text(rows: Sequence[MeasurementRow], devices: Mapping[str, Device]) -> str:
    """Return the whole of profiles.toml."""
    groups = grouped(decode_rows(rows))
    choice = choose_terms(groups)
    unseen = unseen_devices(rows, devices)
    parts = [_HEADER]
    parts += [_table(f"[{kind}]", _of_kind(rows, devices, unseen, kind)) for kind in KINDS]
    parts += [_table("[start]", _start(rows)), _table("[energy]", _power(rows, devices))]
    parts.append(_table("[heat]", _heat(rows)))
    for family, runtime in _pools(rows, devices):
        pool = fit_pool(rows, devices, family, runtime)
        assert pool is not None
        parts.append(_table("[[pool]]", _pool(pool, rows, devices, unseen)))
    for (runtime, kind, name), cost in format_costs([unformatted(r) for r in rows]).items():
        named = FORMAT_OF_BITS.get((runtime, name), name)
        labels: dict[str, Value] = {"runtime": runtime, "kind": kind, "name": named}
        parts.append(_table("[[format]]", labels | cost._asdict()))
    for (runtime, kind), chosen in choice.items():
        model: dict[str, Value] = {"runtime": runtime, "kind": kind, "terms": list(chosen.terms)}
        parts.append(_table("[[model]]", model | {"layer_of_engine": chosen.shared_layer}))
    layers: dict[tuple[str, str], float] = {}
    for found in groups.values():
        row = found[0]
        layers.setdefault(row.engine, engine_layer_seconds(groups, row.engine))
        layers.setdefault(row.key[1:], layer_seconds(groups, row))
    for (runtime, kind), layer in layers.items():
        parts.append(_table("[[runtime]]", {"name": runtime, "kind": kind, "seconds_per_layer": layer}))
    few = Few(
        {of: conformal_of_few(e) for of, e in few_rows_errors(groups, rows, devices).items()},
        list(few_prompts_errors(rows, groups, choice, devices).values()),
    )
    for key in groups:
        parts.append(_table("[[profile]]", _profile(rows, groups, key, choice, few, devices)))
    return "\n".join(parts)


KINDS = ("cpu", "gpu", "npu")


class Few(NamedTuple):
    """Ranges of devices with few rows: factors of decoding by class, errors of prompts with their class."""

    decode: Mapping[EngineClass, float]
    prompts: Sequence[tuple[EngineClass, list[float]]]

    def of_decode(self, engine: EngineClass) -> float:
        """Return the factor of a class; the widest where no device of it has one."""
        return self.decode.get(engine, max(self.decode.values()))

    def of_prompts(self, engine: EngineClass) -> float:
        """Return the factor of a class or its kind; the widest where no device of it has one."""
        found = few_prompts_factor(self.prompts, engine)
        return found or max(exp(abs(e)) for _, errors in self.prompts for e in errors)


def _pools(rows: Sequence[MeasurementRow], devices: Mapping[str, Device]) -> list[tuple[str, str]]:
    """Return the families and engines that have rows; every family with "" for all its engines, too."""
    found = dict.fromkeys((row_family(r, devices), r.runtime) for r in decode_rows(rows))
    return [*found, *dict.fromkeys((family, "") for family, _ in found)]


def _of_kind(
    rows: Sequence[MeasurementRow], devices: Mapping[str, Device], unseen: Sequence[Unseen], kind: str
) -> dict[str, Value]:
    found = fit_kind(rows, devices, kind)
    of_kind = [u for u in unseen if u.kind == kind]
    decode = [[e for _, e in u.decode] for u in of_kind if u.decode and u.sheet]
    blind = [[e for _, e in u.decode] for u in of_kind if u.decode and not u.sheet]
    prefill = [[e for _, e in u.prefill] for u in of_kind if u.prefill]
    return {
        "efficiency": found.efficiency,
        "small_bytes_per_s": found.small_bytes_per_s,
        "large_bytes_per_s": found.large_bytes_per_s,
        "seconds_per_layer": found.seconds_per_layer,
        "decode_factor": conformal_of_groups(decode),
        "blind_factor": conformal_of_groups(blind or decode),
        "engine_factor": engine_factor(unseen_engines(rows, devices, kind)),
        "decode_median_held_out": _typical([e for errors in decode for e in errors]),
        "decode_rows": found.rows,
        "decode_devices": found.devices,
        "ops_per_byte": found.ops_per_unit,
        "prefill_factor": conformal_of_groups(prefill),
        "prefill_median_held_out": _typical([e for errors in prefill for e in errors]),
        "prefill_rows": sum(len(errors) for errors in prefill),
    }


def _pool(
    pool: Pool, rows: Sequence[MeasurementRow], devices: Mapping[str, Device], unseen: Sequence[Unseen]
) -> dict[str, Value]:
    own = [r for r in decode_rows(rows) if row_family(r, devices) == pool.family]
    own = [r for r in own if pool.runtime in ("", r.runtime)]
    kind = own[0].engine[1]
    peers = engine_devices(rows, devices, pool.family, pool.runtime)
    of_family = [row_error for u in unseen if u.family == pool.family for row_error in u.decode]
    left_out = [e for r, e in of_family if pool.runtime in ("", r.runtime)]
    table: dict[str, Value] = {
        "family": pool.family,
        "runtime": pool.runtime,
        "devices": pool.devices,
        "rows": pool.rows,
        "efficiency": pool.efficiency,
        "small_bytes_per_s": pool.small_bytes_per_s,
        "large_bytes_per_s": pool.large_bytes_per_s,
        "seconds_per_layer": pool.seconds_per_layer,
        "ops_per_unit": pool.ops_per_unit,
        "by_cores": pool.by_cores,
        "prompt_fixed_s": pool.prompt_fixed_s,
        "call_tokens": max(r.call_tokens for r in own),
        "float_op_cost": pool.float_op_cost,
        "decode_factor": spread(unseen, pool.family, kind, peers=peers),
        "blind_factor": spread(unseen, pool.family, kind, peers=peers, sheet=False),
        "prefill_factor": spread(unseen, pool.family, kind, peers=peers, prompts=True),
    }
    return table | ({"decode_median_held_out": _typical(left_out)} if left_out else {})


def _heat(rows: Sequence[MeasurementRow]) -> dict[str, Value]:
    """Return the share of the cold decoding speed that is left when hot, over models measured both ways."""
    shares = []
    for hot in (r for r in rows if r.hot and r.decode_tokens_per_s is not None):
        same = [
            r.decode_tokens_per_s
            for r in decode_rows(rows)
            if (r.key, r.model, r.format) == (hot.key, hot.model, hot.format) and r.decode_tokens_per_s
        ]
        if same and hot.decode_tokens_per_s:
            shares.append(min(hot.decode_tokens_per_s / geometric_mean(same), 1.0))
    middle = geometric_mean(shares)
    return {"share": middle, "factor": conformal([log(s / middle) for s in shares]), "rows": len(shares)}


def _start(rows: Sequence[MeasurementRow]) -> dict[str, Value]:
    storage = [r.storage_read_bytes_per_s for r in rows if r.storage_read_bytes_per_s is not None]
    starts = [r for r in rows if r.load_s is not None]
    init = [r.load_s / r.costs.step_bytes for r in starts if r.load_s is not None and r.costs is not None]
    (init_runtime,) = {r.runtime for r in starts}
    return {
        "storage_read_bytes_per_s": geometric_mean(storage),
        "storage_factor": _spread(storage),
        "storage_rows": len(storage),
        "init_seconds_per_byte": geometric_mean(init),
        "init_factor": _spread(init),
        "init_rows": len(init),
        "init_runtime": init_runtime,
    }


def _power(rows: Sequence[MeasurementRow], devices: Mapping[str, Device]) -> dict[str, Value]:
    errors = []
    for row in rows:
        known = devices.get(row.device)
        watts = known.load_power_watts if known else None
        if watts and row.joules_per_token is not None and row.decode_tokens_per_s is not None:
            errors.append(log(row.joules_per_token * row.decode_tokens_per_s / watts.value))
    per_byte = [
        row.joules_per_token / row.decode_bytes
        for row in rows
        if row.joules_per_token is not None and row.costs is not None
    ]
    return {
        "power_factor": _largest(errors),
        "power_rows": len(errors),
        "high_joules_per_byte": max(per_byte),
        "joules_per_byte": geometric_mean(per_byte),
        "per_byte_rows": len(per_byte),
    }


def _largest(errors: Iterable[float]) -> float:
    return exp(max(abs(e) for e in errors))


def _spread(values: Sequence[float]) -> float:
    return _largest(log(v / geometric_mean(values)) for v in values)


def _typical(errors: Sequence[float]) -> float:
    return median(abs(exp(e) - 1) for e in errors)


def _origins(rows: Iterable[MeasurementRow]) -> int:
    """Return the number of sources (repository, page) of the rows."""
    return len({tuple(row.source.split()[:2]) for row in rows})


def _profile(
    rows: Sequence[MeasurementRow],
    groups: Groups,
    key: Key,
    choice: Choice,
    few: Few,
    devices: Mapping[str, Device],
) -> dict[str, Value]:
    group = groups[key]
    engine, family = group[0].engine, row_family(group[0], devices)
    fitted = enough(group)
    terms = choice[engine] if fitted else SIMPLEST
    held_out = held_out_models(groups, key, choice[engine]) if fitted else []
    bits = [r.costs.bits_per_weight for r in group if r.costs is not None]
    known = devices.get(key[0])
    pool = pool_of(rows, devices, family, key[1], engine[1])
    prompts = [r for r in prefill_rows(rows) if r.key == key]
    constants = whole_profile(groups, key, group, prompts, choice[engine], pool, devices)
    table: dict[str, Value] = {
        "device": key[0],
        "soc": (known.soc if known else None) or "",
        "runtime": key[1],
        "backend": key[2],
        "basis": "fitted",
        "few": not fitted,
        "rows": len(group),
        "models": len({r.model for r in group}),
        "sources": _origins(group),
        **_constants(constants, terms),
        "bits_low": min(bits),
        "bits_high": max(bits),
        "decode_factor": conformal(held_out)
        if fitted
        else few.of_decode(engine_class(rows, devices, group[0])),
    }
    if fitted:
        table["decode_median_held_out"] = _typical(held_out)
        table["decode_mape_held_out"] = mape(held_out)
    if not prompts:
        return table
    table |= {"ops_per_s": constants.ops_per_s, "float_op_cost": constants.float_op_cost}
    if constants.prompt_fixed_s:
        table["prompt_fixed_s"] = constants.prompt_fixed_s
    if constants.call_tokens:
        table["call_tokens"] = constants.call_tokens
    table["prefill_rows"] = len(prompts)
    errors = [e for e in held_out_prompts(rows, groups, key, choice[engine], devices) if e is not None]
    if enough(prompts) and errors:
        table["prefill_factor"] = conformal(errors)
        table["prefill_median_held_out"] = _typical(errors)
    else:
        table["prefill_factor"] = few.of_prompts(engine_class(rows, devices, prompts[0]))
    return table


def _constants(constants: Profile, chosen: SpeedModelTerms) -> dict[str, Value]:
    """Return the fields of a profile that the terms of its decoding model set."""
    c = constants
    table: dict[str, Value] = {
        "seconds_fixed": c.seconds_fixed,
        "seconds_per_layer": c.seconds_per_layer,
        "bytes_per_s": c.bytes_per_s,
    }
    if "float_bytes" in chosen.terms:
        table["float_byte_cost"] = c.float_byte_cost
    if "kv" in chosen.terms:
        table["kv_element_s"] = c.kv_element_s
    if "float_kv" in chosen.terms:
        table["float_kv_element_s"] = c.float_kv_element_s
    return table


def _table(head: str, values: Mapping[str, Value]) -> str:
    return "\n".join([head, *(f"{key} = {_toml(value)}" for key, value in values.items()), ""])


def _toml(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        # six digits: more than the data support, few enough that every platform writes the same file
        text = f"{value:.6g}"
        return text if any(c in text for c in ".e") else f"{text}.0"
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    assert '"' not in value
    assert "\\" not in value
    return f'"{value}"'


def main(argv: Sequence[str] | None = None) -> int:
    """Write profiles.toml, or with --check return 1 if the file on disk differs."""
    parser = argparse.ArgumentParser(prog="python -m sizer.calibration.fit", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file differs")
    check: bool = parser.parse_args(argv).check
    text = profiles_text(read_rows(), load_devices())
    if not check:
        PROFILES.write_text(text, encoding="utf-8")
        return 0
    if PROFILES.exists() and PROFILES.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PROFILES.name} differs from what {MEASUREMENTS.name} gives: run {parser.prog}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
