"""Energy: joules per generated token, from a device's power and speed, or from operations and bytes."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.architecture import Architecture
from sizer.devices.constants import profiles
from sizer.devices.device import Device, PowerScope
from sizer.devices.latency import Latency
from sizer.devices.speed_model import ModelCosts, stored_costs
from sizer.formats.stored import StoredTensor
from sizer.prediction import Basis, Prediction

# picojoules of one addition and one multiplication by number type and node
# (BitNet, arXiv 2310.11453, table 2, after Horowitz 2014 and Zhang 2022)
ARITHMETIC_PJ = {
    ("FP32", 45): (0.9, 3.7),
    ("FP32", 7): (0.38, 1.31),
    ("FP16", 45): (0.4, 1.1),
    ("FP16", 7): (0.16, 0.34),
    ("INT8", 45): (0.03, 0.2),
    ("INT8", 7): (0.007, 0.07),
}
_NODE_NM = 7
# Ternary weights only add: the activation or its negative, as 8-bit integers.
_TERNARY = ("TQ1_0", "TQ2_0", "I2_S", "TL1", "TL2")
_NUMBER_TYPE = {"F32": "FP32", "F16": "FP16", "BF16": "FP16"}  # anything else: 8-bit integers

# Reading a byte of weights: 0.1 J per token and 1e9 parameters of 8 bits (MobileLLM, arXiv 2402.14905, 1)
_READ_PJ_PER_BYTE = 100.0
# the least published for the memory alone (github docxology/ant_stack, attributed to Micron 2023)
_LEAST_PJ_PER_BYTE = 20.0
BATTERY_TOKENS = 1000


def energy(
    *,
    device: Device,
    latency: Latency | None,
    architecture: Architecture,
    stored: Sequence[StoredTensor],
) -> Prediction:
    """Predict joules per generated token: watts under load / tokens per second, or operations and bytes.

    `device.load_power_scope` states where the power was measured: into the board (idle share included), or at
    the wall (supply losses too). The range is the speed's range times the largest measured deviation from a
    stated power between models and runtimes (data/profiles.toml, power_factor). Without a known power:
    arithmetic at 7 nm and the weights read; the high end is the most that whole machines took per byte.
    """
    known = profiles().energy
    if device.load_power_watts is None or latency is None:
        model = stored_costs(architecture, stored)
        arithmetic = arithmetic_joules(model)
        value = arithmetic + model.step_bytes * _READ_PJ_PER_BYTE * 1e-12
        return Prediction(
            value=value,
            low=arithmetic + model.step_bytes * _LEAST_PJ_PER_BYTE * 1e-12,
            high=max(value, model.step_bytes * known.high_joules_per_byte),
            basis=Basis.SPECIFICATION,
        )
    joules = latency.decode_at_start_tokens_per_s.inverse(device.load_power_watts.value)
    factor = known.power_factor
    return Prediction(
        value=joules.value, low=joules.low / factor, high=joules.high * factor, basis=joules.basis
    )


def arithmetic_joules(model: ModelCosts, node_nm: int = _NODE_NM) -> float:
    """Return the joules of one token's products and sums with the weights, without attention and norms.

    The head is counted in the type of the most bytes outside the blocks, as it is stored with the embedding.
    """
    joules = 0.0
    for name, weights in model.weights_by_type:
        joules += weights * weight_pj(name, node_nm) * 1e-12
    block = dict(model.weights_by_type)
    outside = {name: size for name, size in model.bytes_by_type if name not in block}
    names = outside or dict(model.bytes_by_type)
    head = max(names, key=lambda name: names[name])
    return joules + model.head_weights * weight_pj(head, node_nm) * 1e-12


def weight_pj(type_name: str, node_nm: int = _NODE_NM) -> float:
    """Return the picojoules of one use of a weight: an addition and, unless ternary, a multiplication."""
    add, multiply = ARITHMETIC_PJ[_NUMBER_TYPE.get(type_name, "INT8"), node_nm]
    return add if type_name in _TERNARY else add + multiply


def battery_share(device: Device, joules: Prediction) -> Prediction | None:
    """Return the share of a full battery that 1000 tokens take; None without a known battery."""
    if device.battery_joules is None:
        return None
    scale = BATTERY_TOKENS / device.battery_joules.value
    return Prediction(
        value=joules.value * scale, low=joules.low * scale, high=joules.high * scale, basis=joules.basis
    )


CHAT_SECONDS = 600


def chat(device: Device, latency: Latency, joules: Prediction) -> tuple[Prediction, Prediction | None]:
    """Return the tokens of ten minutes of generating, when hot where heat is known, and their battery share.

    The share is None without a known battery.
    """
    speed = latency.sustained_tokens_per_s or latency.decode_at_start_tokens_per_s
    tokens = Prediction(
        value=CHAT_SECONDS * speed.value,
        low=CHAT_SECONDS * speed.low,
        high=CHAT_SECONDS * speed.high,
        basis=speed.basis,
    )
    per_1000 = battery_share(device, joules)
    if per_1000 is None:
        return tokens, None
    # a faster machine takes fewer joules a token: the energy of ten minutes is as sure as the joules are
    scale = tokens.value / BATTERY_TOKENS
    share = Prediction(
        value=per_1000.value * scale,
        low=per_1000.low * scale,
        high=per_1000.high * scale,
        basis=per_1000.basis,
    )
    return tokens, share


def assumptions(device: Device) -> tuple[str, ...]:
    """Return what the energy counts and leaves out, in words."""
    if device.load_power_watts is None:
        return (
            f"energy: arithmetic at {_NODE_NM} nm (BitNet table 2) and {_READ_PJ_PER_BYTE:.0f} pJ a byte of "
            "weights read (MobileLLM); leaves out the idle power, screen, cache reads, attention and "
            "conversion losses; the high end is what whole machines were measured to take",
        )
    scope = (
        "at the wall" if device.load_power_scope is PowerScope.WALL else "into the board, idle share included"
    )
    return (
        f"energy: {device.load_power_watts.value:g} W {scope} / tokens per second; one power for all models",
    )
