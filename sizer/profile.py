"""Profile: constants fitted to measured speeds of one device under one runtime."""

from __future__ import annotations

from typing import Any, NamedTuple

from sizer.errors import InvalidFile
from sizer.prediction import Basis

# Where a model's arithmetic runs; a device has one unless a profile names another.
BACKENDS = ("cpu", "metal", "cuda", "rocm", "vulkan", "opencl", "webgpu")

# A format this far outside the measured ones (in bits per weight) runs other kernels: the wider range holds.
_BITS_MARGIN = 1.25


class Profile(NamedTuple):
    """Constants of one device under one runtime; factors span 80 % of held-out rows around a prediction.

    decode, seconds/token = seconds_fixed + seconds_per_layer x executed layers + bytes x cost / bytes_per_s
    + kv_element_s x elements of one cached position (an engine that walks its whole static cache each step).
    """

    runtime: str
    backend: str
    basis: Basis
    seconds_fixed: float
    seconds_per_layer: float
    bytes_per_s: float
    bits_low: float
    bits_high: float
    decode_factor: float
    float_byte_cost: float = 1.0  # a byte of 16- and 32-bit weights, against one of the others
    byte_cost: tuple[tuple[str, float], ...] = ()  # a byte of a stored type; one that is not named costs 1
    kv_byte_cost: float = 1.0
    kv_element_s: float = 0.0
    float_kv_element_s: float = 0.0  # on top, in models of 16- and 32-bit weights
    ops_per_s: float = 0.0  # 0: no prefill was measured
    float_op_cost: float = 1.0
    op_cost: tuple[tuple[str, float], ...] = ()  # the same for an operation on weights of a type
    activation_element_s: float = 0.0  # per token of a prompt: norms, rotations, products between matrices
    prefill_factor: float = 0.0
    init_s: float = 0.0
    init_seconds_per_byte: float = 0.0
    load_factor: float = 0.0  # 0: no start-up was measured

    @property
    def bits_range(self) -> tuple[float, float]:
        """Bits per weight for which the decode range is taken to hold: the measured ones and a margin."""
        return self.bits_low / _BITS_MARGIN, self.bits_high * _BITS_MARGIN


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
    "kv_element_s": (0.0, 1.0),
    "float_kv_element_s": (0.0, 1.0),
    "ops_per_s": (1.0, 1e19),
    "float_op_cost": (0.01, 100.0),
    "activation_element_s": (0.0, 1.0),
    "prefill_factor": (1.0, 1e3),
    "init_s": (0.0, 1e4),
    "init_seconds_per_byte": (0.0, 1.0),
    "load_factor": (1.0, 1e3),
}
_COSTS = ("byte_cost", "op_cost")
_TEXTS = ("runtime", "source", "date")


def measured_profile(table: Any, backend: str, where: str) -> Profile:
    """A [[profile]] of a device file; InvalidFile names the key, the value and what is accepted."""
    if not isinstance(table, dict):
        raise InvalidFile(f"{where}: expected a table, got {table!r}")
    known = (*_TEXTS, "backend", *_REQUIRED, *_OPTIONAL, *_COSTS)
    for key in table:
        if key not in known:
            raise InvalidFile(f"{where}: unknown key {key!r}; accepted: {', '.join(known)}")
    for key in _TEXTS:
        if not isinstance(table.get(key), str) or not table[key].strip():
            raise InvalidFile(f"{where}: {key} must be text, got {table.get(key)!r}")
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
        **numbers,
    )


def backend_name(text: object, where: str) -> str:
    """The backend of that name; InvalidFile otherwise."""
    if isinstance(text, str) and text in BACKENDS:
        return text
    raise InvalidFile(f"{where}: unknown value {text!r}; accepted: {', '.join(BACKENDS)}")


def _number(value: object, low: float, high: float, where: str) -> float:
    # infinities and NaN are outside every range
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InvalidFile(f"{where} must be a number from {low:g} to {high:g}, got {value!r}")
    return float(value)


def _costs(table: object, where: str) -> tuple[tuple[str, float], ...]:
    if not isinstance(table, dict):
        raise InvalidFile(f"{where}: expected a table of types, got {table!r}")
    return tuple((name, _number(value, 0.01, 100.0, f"{where}.{name}")) for name, value in table.items())
