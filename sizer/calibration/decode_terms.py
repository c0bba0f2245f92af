"""The terms of a decoding step's seconds that a fit finds, and the profile that they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf

from sizer.devices.profile import Profile
from sizer.devices.speed_model import ModelCosts
from sizer.prediction import Basis

# llama.cpp falls back on these where a row does not divide by 256 (github ggml-org/llama.cpp llama-quant.cpp)
_FALLBACK_TYPES = ("Q4_0", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL")

# decode_seconds is linear in these terms: units of each by model and KV-cache bytes. A fit finds seconds per
# unit, which `decode_constants` turns into a profile.
DECODE_TERMS: Mapping[str, Callable[[ModelCosts, float], float]] = {
    "bytes": lambda model, kv_bytes: model.format_byte_cost * model.step_bytes + kv_bytes,
    "layers": lambda model, _: model.executed_layers,
    "fixed": lambda model, _: 1.0,
    "float_bytes": lambda model, _: model.float_bytes,
    "kv": lambda model, _: model.kv_elements,
    "float_kv": lambda model, _: model.kv_elements if model.is_float else 0.0,
    "fallback_bytes": lambda model, _: sum(
        num_bytes for name, num_bytes in model.bytes_by_type if name in _FALLBACK_TYPES
    ),
}
# A fit to few rows may leave no cost to bytes; a profile divides by it.
_LEAST_BYTE_S = 1e-20


def decode_constants(seconds: Mapping[str, float], *, runtime: str, backend: str) -> Profile:
    """Return a profile from seconds per unit of DECODE_TERMS; without prefill and without ranges."""
    byte_s = max(seconds["bytes"], _LEAST_BYTE_S)
    fallback = seconds.get("fallback_bytes", 0.0)
    return Profile(
        runtime=runtime,
        backend=backend,
        basis=Basis.FITTED,
        seconds_fixed=seconds.get("fixed", 0.0),
        seconds_per_layer=seconds.get("layers", 0.0),
        bytes_per_s=1 / byte_s,
        bits_low=0.0,
        bits_high=inf,
        decode_factor=1.0,
        float_byte_cost=1 + seconds.get("float_bytes", 0.0) / byte_s,
        byte_cost=tuple((name, 1 + fallback / byte_s) for name in _FALLBACK_TYPES) if fallback else (),
        kv_element_s=seconds.get("kv", 0.0),
        float_kv_element_s=seconds.get("float_kv", 0.0),
    )
