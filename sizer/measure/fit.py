"""python -m sizer.measure.fit: fits latency's constants to measurements.csv and writes profiles.toml."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from math import exp, log
from pathlib import Path
from statistics import median

from sizer.device import Device, load_devices
from sizer.measure.choice import (
    SIMPLEST,
    Chosen,
    choose_features,
    few_rows_errors,
    fit_group,
    held_out_devices,
    held_out_models,
    held_out_prefill,
    layer_seconds,
    prefill_constants,
    specification,
)
from sizer.measure.regression import (
    MEASUREMENTS,
    Costs,
    Groups,
    Key,
    Row,
    conformal,
    conformal_of_groups,
    decode_rows,
    engine_layer_seconds,
    enough,
    geometric_mean,
    grouped,
    mape,
    prefill_rows,
    read_rows,
)

PROFILES = Path(__file__).parent.parent / "data" / "profiles.toml"

_HEADER = """\
# Written by python -m sizer.measure.fit from data/measurements.csv: change the rows and run it again.
# decode: seconds/token = seconds_fixed + seconds_per_layer x executed layers + (bytes + (float_byte_cost - 1)
# x bytes of 16- and 32-bit weights) / bytes_per_s + kv_element_s x elements of one cached position (an engine
# that walks its whole static cache each step; + float_kv_element_s in models of 16- and 32-bit weights);
# least absolute relative errors. [[model]]: the terms of each engine, the simplest near the best on models
# held out.
# *_factor: low = value / factor, high = value x factor, to hold 80 % of what was held out: profiles with
# enough rows, each row predicted without its device's rows of its model; with few ("few = true"), from one
# model's rows to the others' on devices that have several; [cpu] and [gpu], each device predicted from its
# data sheet, without its rows. Rows of one source hide how set-ups differ: see how many sources a device has.
"""

Value = str | bool | int | float | list[str]
Choice = Mapping[tuple[str, str], Chosen]


def profiles_text(rows: Sequence[Row], devices: Mapping[str, Device]) -> str:
    """The whole of profiles.toml."""
    groups = grouped(decode_rows(rows))
    choice = choose_features(groups)
    parts = [_HEADER]
    parts += [_table(f"[{kind}]", _pooled(rows, groups, devices, kind)) for kind in ("cpu", "gpu")]
    parts += [_table("[start]", _start(rows)), _table("[energy]", _power(rows, devices))]
    for (runtime, kind), chosen in choice.items():
        model: dict[str, Value] = {"runtime": runtime, "kind": kind, "terms": list(chosen.features)}
        parts.append(_table("[[model]]", model | {"layer_of_engine": chosen.shared_layer}))
    layers: dict[tuple[str, str], float] = {}
    for found in groups.values():
        row = found[0]
        layers.setdefault(row.engine, engine_layer_seconds(groups, row.engine))
        layers.setdefault(row.key[1:], layer_seconds(groups, row))
    for (runtime, kind), layer in layers.items():
        parts.append(_table("[[runtime]]", {"name": runtime, "kind": kind, "seconds_per_layer": layer}))
    few = {kind: conformal_of_groups(errors) for kind, errors in few_rows_errors(groups).items()}
    for key in groups:
        parts.append(_table("[[profile]]", _profile(rows, groups, key, choice, few, devices)))
    return "\n".join(parts)


def _pooled(
    rows: Sequence[Row], groups: Groups, devices: Mapping[str, Device], kind: str
) -> dict[str, Value]:
    found = specification(rows, devices, kind)
    decode, prefill = held_out_devices(rows, devices, kind)
    decode_errors = {name: [e for _, e in errors] for name, errors in decode.items()}
    prefill_errors = [[e for _, e in errors] for errors in prefill.values()]
    flat = [e for errors in decode_errors.values() for e in errors]
    layer = [engine_layer_seconds(groups, r[0].engine) for r in groups.values() if r[0].engine[1] == kind]
    return {
        "efficiency": found.efficiency,
        "seconds_per_layer": geometric_mean(layer),
        "decode_factor": conformal_of_groups(decode_errors.values()),
        "decode_median_held_out": _typical(flat),
        "decode_rows": len(flat),
        "decode_devices": len(decode_errors),
        "ops_per_byte": found.ops_per_byte,
        "prefill_factor": conformal_of_groups(prefill_errors),
        "prefill_median_held_out": _typical([e for errors in prefill_errors for e in errors]),
        "prefill_rows": sum(len(errors) for errors in prefill_errors),
    }


def _start(rows: Sequence[Row]) -> dict[str, Value]:
    storage = [r.storage_read_bytes_per_s for r in rows if r.storage_read_bytes_per_s is not None]
    starts = [r for r in rows if r.load_s is not None]
    init = [r.load_s / r.work.step_bytes for r in starts if r.load_s is not None and r.work is not None]
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


def _power(rows: Sequence[Row], devices: Mapping[str, Device]) -> dict[str, Value]:
    errors = []
    for row in rows:
        known = devices.get(row.device)
        watts = known.load_power_watts if known else None
        if watts and row.joules_per_token is not None and row.decode_tokens_per_s is not None:
            errors.append(log(row.joules_per_token * row.decode_tokens_per_s / watts.value))
    per_byte = [
        row.joules_per_token / row.decode_bytes
        for row in rows
        if row.joules_per_token is not None and row.work is not None
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


def _origins(rows: Iterable[Row]) -> int:
    """How many places (repository, page) the rows were read from."""
    return len({tuple(row.source.split()[:2]) for row in rows})


def _profile(
    rows: Sequence[Row],
    groups: Groups,
    key: Key,
    choice: Choice,
    few: Mapping[str, float],
    devices: Mapping[str, Device],
) -> dict[str, Value]:
    group = groups[key]
    engine = group[0].engine
    fitted = enough(group)
    costs = fit_group(groups, key, choice[engine] if fitted else SIMPLEST)
    held_out = held_out_models(groups, key, choice[engine]) if fitted else []
    factor = conformal(held_out) if fitted else few[engine[1]]
    bits = [r.work.bits_per_weight for r in group if r.work is not None]
    known = devices.get(key[0])
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
        **_constants(costs),
        "bits_low": min(bits),
        "bits_high": max(bits),
        "decode_factor": factor,
    }
    if fitted:
        table["decode_median_held_out"] = _typical(held_out)
        table["decode_mape_held_out"] = mape(held_out)
    return table | _prefill(rows, groups, key, choice[engine])


def _constants(costs: Costs) -> dict[str, Value]:
    """Costs of the features as the fields of a profile; only what is not its default."""
    table: dict[str, Value] = {
        "seconds_fixed": costs.get("fixed", 0.0),
        "seconds_per_layer": costs.get("layers", 0.0),
        "bytes_per_s": 1 / costs["bytes"],
    }
    if "float_bytes" in costs:
        table["float_byte_cost"] = 1 + costs["float_bytes"] / costs["bytes"]
    if "kv" in costs:
        table["kv_element_s"] = costs["kv"]
    if "float_kv" in costs:
        table["float_kv_element_s"] = costs["float_kv"]
    return table


def _prefill(rows: Sequence[Row], groups: Groups, key: Key, chosen: Chosen) -> dict[str, Value]:
    own = [r for r in prefill_rows(rows) if r.key == key]
    if not own:
        return {}
    rate, cost = prefill_constants(own)
    table: dict[str, Value] = {"ops_per_s": rate, "float_op_cost": cost, "prefill_rows": len(own)}
    if enough(own):
        errors = [e for e in held_out_prefill(rows, groups, key, chosen) if e is not None]
        table["prefill_factor"] = conformal(errors)
        table["prefill_median_held_out"] = _typical(errors)
    return table


def _table(head: str, values: Mapping[str, Value]) -> str:
    return "\n".join([head, *(f"{key} = {_toml(value)}" for key, value in values.items()), ""])


def _toml(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        # six digits: more than the data say, few enough that every platform prints the same file
        text = f"{value:.6g}"
        return text if any(c in text for c in ".e") else f"{text}.0"
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    assert '"' not in value
    assert "\\" not in value
    return f'"{value}"'


def main(argv: Sequence[str] | None = None) -> int:
    """Writes profiles.toml, or with --check says (exit 1) whether the file on disk differs."""
    parser = argparse.ArgumentParser(prog="python -m sizer.measure.fit", description=__doc__)
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
