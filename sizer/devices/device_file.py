"""Device files: a device with constants measured on it, as `sizer calibrate` writes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sizer.devices.device import HOST, Device
from sizer.devices.device_table import parse_device, toml_tables
from sizer.devices.profile import Profile, backend_name
from sizer.errors import InvalidFile
from sizer.prediction import Basis

_FILE_BYTES = 1_000_000
_FILE_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"

# key: least and largest value accepted
_REQUIRED = {
    "seconds_fixed": (0.0, 1e3),
    "seconds_per_layer": (0.0, 1e3),
    "bytes_per_s": (1.0, 1e16),
    "bits_low": (0.1, 64.0),
    "bits_high": (0.1, 64.0),
    "decode_factor": (1.0, 1e3),
}
_OPTIONAL = {
    "float_byte_cost": (0.01, 100.0),
    "kv_byte_cost": (0.0, 100.0),
    "step_element_s": (0.0, 1.0),
    "kv_element_s": (0.0, 1.0),
    "float_kv_element_s": (0.0, 1.0),
    "ops_per_s": (1.0, 1e19),
    "float_op_cost": (0.01, 100.0),
    "prompt_fixed_s": (0.0, 1e3),
    "activation_element_s": (0.0, 1.0),
    "prefill_factor": (1.0, 1e3),
    "attention_op_s": (0.0, 1.0),
    "init_s": (0.0, 1e4),
    "init_seconds_per_byte": (0.0, 1.0),
    "load_factor": (1.0, 1e3),
}
_COSTS = ("byte_cost", "op_cost")
_TEXTS = ("runtime", "source", "date")
_DOUBT = "doubt"


def measured_profile(table: Any, backend: str, where: str) -> Profile:
    """Parse a [[profile]] of a device file; InvalidFile names the key, the value and what is accepted."""
    if not isinstance(table, dict):
        raise InvalidFile(f"{where}: expected a table, got {table!r}")
    known = (*_TEXTS, "backend", _DOUBT, *_REQUIRED, *_OPTIONAL, *_COSTS)
    for key in table:
        if key not in known:
            raise InvalidFile(f"{where}: unknown key {key!r}; accepted: {', '.join(known)}")
    for key in _TEXTS:
        if not isinstance(table.get(key), str) or not table[key].strip():
            raise InvalidFile(f"{where}: {key} must be text, got {table.get(key)!r}")
    doubt = table.get(_DOUBT, "")
    if not isinstance(doubt, str):
        raise InvalidFile(f"{where}: {_DOUBT} must be text, got {doubt!r}")
    numbers: dict[str, Any] = {}
    for key, (low, high) in (_REQUIRED | _OPTIONAL).items():
        if key in table or key in _REQUIRED:
            numbers[key] = _number(table.get(key), low, high, f"{where}: {key}")
    if numbers["bits_low"] > numbers["bits_high"]:
        raise InvalidFile(
            f"{where}: bits_low {numbers['bits_low']} is above bits_high {numbers['bits_high']}"
        )
    if ("ops_per_s" in numbers) != ("prefill_factor" in numbers):
        raise InvalidFile(f"{where}: ops_per_s and prefill_factor belong together")
    numbers |= {key: _costs(table[key], f"{where}: {key}") for key in _COSTS if key in table}
    return Profile(
        runtime=table["runtime"],
        backend=backend_name(table.get("backend", backend), f"{where}: backend"),
        basis=Basis.MEASURED,
        doubt=" ".join(doubt.split()),
        **numbers,
    )


def read_device_file(path: Path) -> Device:
    """Read a device file, as `sizer calibrate` writes; InvalidFile where it is none."""
    if not path.is_file():
        raise InvalidFile(f"{path.name}: no such device file")
    if path.stat().st_size > _FILE_BYTES:
        raise InvalidFile(f"{path.name}: larger than {_FILE_BYTES} bytes, not a device file")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFile(f"{path.name}: cannot be read: {error}") from None
    return parse_file(text, path.name)


def parse_file(text: str, origin: str) -> Device:
    """Parse a device file: one [device] table and any number of [[profile]] tables.

    [device] has the catalogue's keys and `name`; a profile has the fields of sizer.devices.profile.Profile
    (its basis is always measured), and `source` and `date` of the measurement.
    """
    tables = toml_tables(text, origin)
    for key in tables:
        if key not in ("device", "profile"):
            raise InvalidFile(f"{origin}: unknown table {key!r}; accepted: device, profile")
    table = tables.get("device")
    name = table.get("name") if isinstance(table, dict) else None
    if not isinstance(table, dict) or not isinstance(name, str) or not re.fullmatch(_FILE_NAME, name):
        raise InvalidFile(
            f"{origin}: device: needs a name of letters, digits, '.', '_' and '-', got {name!r}"
        )
    if name.lower() == HOST:
        raise InvalidFile(f"{origin}: device: name {name!r} is reserved")
    found = parse_device(name, {k: v for k, v in table.items() if k != "name"}, f"{origin}: device")
    rows = tables.get("profile", [])
    if not isinstance(rows, list):
        raise InvalidFile(f"{origin}: profile: expected [[profile]] tables, got {rows!r}")
    profiles: dict[tuple[str, str], Profile] = {}
    for number, row in enumerate(rows, start=1):
        profile = measured_profile(row, found.backend, f"{origin}: profile {number}")
        runtime_on = (profile.runtime, profile.backend)
        if profiles.setdefault(runtime_on, profile) is not profile:
            raise InvalidFile(f"{origin}: profile {number}: a second one of {' on '.join(runtime_on)}")
    return found._replace(profiles=tuple(profiles.values()))


def _number(value: object, low: float, high: float, where: str) -> float:
    # infinities and NaN are outside every range
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InvalidFile(f"{where} must be a number from {low:g} to {high:g}, got {value!r}")
    return float(value)


def _costs(table: object, where: str) -> tuple[tuple[str, float], ...]:
    if not isinstance(table, dict):
        raise InvalidFile(f"{where}: expected a table of types, got {table!r}")
    return tuple((name, _number(value, 0.01, 100.0, f"{where}.{name}")) for name, value in table.items())
