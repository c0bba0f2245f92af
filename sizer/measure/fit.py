"""python -m sizer.measure.fit: fits latency's constants to measurements.csv and writes profiles.toml."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from math import exp, log
from pathlib import Path

from sizer.device import Device, load_devices
from sizer.measure.regression import (
    MEASUREMENTS,
    Groups,
    Row,
    conformal,
    decode_rows,
    enough,
    fit_decode,
    fit_specification,
    geometric_mean,
    grouped,
    held_out_devices,
    held_out_models,
    mape,
    prefill_rows,
    read_rows,
    runtime_layer_seconds,
    shared_layer_seconds,
)

PROFILES = Path(__file__).parent.parent / "data" / "profiles.toml"

_HEADER = """\
# Written by python -m sizer.measure.fit from data/measurements.csv: change the rows and run it again.
# decode: seconds/token = seconds_per_layer x executed layers + bytes read / bytes_per_s (relative LSQ).
# *_mape: mean absolute relative error of tokens/s. Held out: each row predicted without its device's rows of
# its model (profile), or each device without any of its rows, from its data sheet alone (pooled).
# *_factor: low = value / factor, high = value x factor. Profiles: the ceil((n+1) x 0.9)-th smallest of n
# held-out errors; with fewer than 9 that is the largest, expected to cover n / (n+1) only. A device read from
# one source gets at least the factor over all devices of its runtime: one set-up hides how set-ups differ.
# Pooled: the largest held-out error, as rows of one device err together and the devices are few.
"""

Value = str | bool | int | float | list[str]


def profiles_text(rows: Sequence[Row], devices: Mapping[str, Device]) -> str:
    """The whole of profiles.toml."""
    groups = grouped(decode_rows(rows))
    parts = [_HEADER, _table("[pooled]", _pooled(rows, groups, devices))]
    for runtime in dict.fromkeys(name for _, name in groups):
        layer = runtime_layer_seconds(groups, runtime)
        parts.append(_table("[[runtime]]", {"name": runtime, "seconds_per_layer": layer}))
    floor = _between_sources_factor(groups)
    for key in groups:
        parts.append(_table("[[profile]]", _profile(rows, groups, key, floor, devices)))
    return "\n".join(parts)


def _pooled(rows: Sequence[Row], groups: Groups, devices: Mapping[str, Device]) -> dict[str, Value]:
    specification = fit_specification(rows, devices)
    decode_errors, prefill_errors = held_out_devices(rows, devices)
    all_errors = [e for errors in decode_errors.values() for e in errors]
    storage = [r.storage_read_bytes_per_s for r in rows if r.storage_read_bytes_per_s is not None]
    starts = [r for r in rows if r.load_s is not None]
    init = [r.load_s / r.work.step_bytes for r in starts if r.load_s is not None and r.work is not None]
    (init_runtime,) = {r.runtime for r in starts}
    return {
        "efficiency": specification.efficiency,
        "seconds_per_layer": shared_layer_seconds(g for g in groups.values() if enough(g)),
        "decode_factor": _largest(all_errors),
        "decode_mape_held_out": mape(all_errors),
        "decode_rows": len(all_errors),
        "decode_devices": list(decode_errors),
        "ops_per_byte": specification.ops_per_byte,
        "prefill_factor": _largest(prefill_errors),
        "prefill_mape_held_out": mape(prefill_errors),
        "prefill_rows": len(prefill_errors),
        "storage_read_bytes_per_s": geometric_mean(storage),
        "storage_factor": _spread(storage),
        "storage_rows": len(storage),
        "init_seconds_per_byte": geometric_mean(init),
        "init_factor": _spread(init),
        "init_rows": len(init),
        "init_runtime": init_runtime,
        **_power(rows, devices),
    }


def _power(rows: Sequence[Row], devices: Mapping[str, Device]) -> dict[str, Value]:
    errors = []
    for row in rows:
        known = devices.get(row.device)
        watts = known.load_power_watts if known else None
        if watts and row.joules_per_token is not None and row.decode_tokens_per_s is not None:
            errors.append(log(row.joules_per_token * row.decode_tokens_per_s / watts.value))
    return {"power_factor": _largest(errors), "power_rows": len(errors)}


def _largest(errors: Iterable[float]) -> float:
    return exp(max(abs(e) for e in errors))


def _spread(values: Sequence[float]) -> float:
    return _largest(log(v / geometric_mean(values)) for v in values)


def _origins(rows: Iterable[Row]) -> int:
    """How many places (repository, page) the rows were read from."""
    return len({tuple(row.source.split()[:2]) for row in rows})


def _between_sources_factor(groups: Groups) -> dict[str, float]:
    """By runtime, the factor over all its fitted devices: one source alone hides how setups differ."""
    errors: dict[str, list[float]] = {}
    for key, rows in groups.items():
        if enough(rows):
            errors.setdefault(key[1], []).extend(_best_held_out(groups, key)[1])
    return {runtime: conformal(found) for runtime, found in errors.items()}


def _best_held_out(groups: Groups, key: tuple[str, str]) -> tuple[bool, list[float]]:
    """Whether a device's own layer cost predicts its unseen models better than its runtime's; the errors."""
    own = held_out_models(groups, key, own_layer=True)
    pooled = held_out_models(groups, key, own_layer=False)
    use_own = shared_layer_seconds([groups[key]]) > 0 and mape(own) < mape(pooled)
    return use_own, own if use_own else pooled


def _profile(
    rows: Sequence[Row],
    groups: Groups,
    key: tuple[str, str],
    floor: dict[str, float],
    devices: Mapping[str, Device],
) -> dict[str, Value]:
    group = groups[key]
    fitted = enough(group)
    own_layer, held_out = _best_held_out(groups, key) if fitted else (False, [])
    constants = fit_decode(groups, key, own_layer=own_layer)
    bits = [r.work.bits_per_weight for r in group if r.work is not None]
    factor = conformal(held_out) if fitted else 0.0
    if fitted and _origins(group) == 1:
        factor = max(factor, floor[key[1]])
    known = devices.get(key[0])
    table: dict[str, Value] = {
        "device": key[0],
        "soc": (known.soc if known else None) or "",
        "runtime": key[1],
        "rows": len(group),
        "models": len({r.model for r in group}),
        "sources": _origins(group),
        "fitted": fitted,
        "seconds_per_layer": constants.seconds_per_layer,
        "seconds_per_layer_of": "device" if own_layer else "runtime",
        "bytes_per_s": constants.bytes_per_s,
        "bits_low": min(bits),
        "bits_high": max(bits),
        "decode_mape_in_sample": mape(constants.error(r) for r in group),
        "decode_factor": factor,
    }
    if fitted:
        table["decode_mape_held_out"] = mape(held_out)
    return table | _prefill(prefill_rows(r for r in rows if r.key == key))


def _prefill(rows: Sequence[Row]) -> dict[str, Value]:
    if not rows:
        return {"ops_per_s": 0.0, "prefill_rows": 0, "prefill_fitted": False, "prefill_factor": 0.0}
    table: dict[str, Value] = {
        "ops_per_s": geometric_mean(r.prefill_ops_per_s for r in rows),
        "prefill_rows": len(rows),
        "prefill_fitted": enough(rows),
        "prefill_factor": 0.0,
    }
    if enough(rows):
        errors = []
        for row in rows:
            rest = [r.prefill_ops_per_s for r in rows if r.model != row.model]
            errors.append(log(geometric_mean(rest) / row.prefill_ops_per_s))
        table["prefill_factor"] = conformal(errors)
        table["prefill_mape_held_out"] = mape(errors)
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
