"""Speed of every row of a grid on one device: the formulas of sizer.latency, on columns."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import numpy as np

from sizer.device import Device
from sizer.errors import InvalidQuantity
from sizer.grid.columns import Floats, Ints
from sizer.latency import own_profile, speed_of
from sizer.profile import Profile
from sizer.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GridLatency:
    """Predicted tokens per second of one sequence, with the low and high end of each; see Latency."""

    prefill_tokens_per_s: Floats
    prefill_low_tokens_per_s: Floats
    prefill_high_tokens_per_s: Floats
    decode_tokens_per_s: Floats
    decode_low_tokens_per_s: Floats
    decode_high_tokens_per_s: Floats


class GridWork(NamedTuple):
    """sizer.latency.Work, as columns."""

    executed_layers: Ints
    step_bytes: Floats
    bits_per_weight: Floats
    block_weights: Ints
    head_weights: Ints
    attention_ops_per_position: Ints
    kv_elements: Ints


def latency(
    runtime: str, device: Device, workload: Workload, work: GridWork, kv_bytes_per_token: Ints
) -> dict[str, Floats]:
    """Columns of GridLatency; none when neither bandwidth nor rows are known of the device.

    The formulas are those of sizer.latency.latency; only the width of the decode range depends on the row.
    """
    own = own_profile(device, runtime)
    low, high = own.bits_range if own is not None else (0.0, np.inf)
    inside, outside = speed_of(device, runtime, low), speed_of(device, runtime, np.inf)
    if inside is None or outside is None:
        return {}
    c = inside.constants
    _refuse_costs_by_type(device, c)
    measured = (low <= work.bits_per_weight) & (work.bits_per_weight <= high)
    decode_factor = np.where(measured, inside.decode_factor, outside.decode_factor)
    depth = workload.prompt_tokens + workload.generated_tokens / 2
    kv_bytes = workload.batch_size * depth * kv_bytes_per_token
    step_s = c.seconds_fixed + c.seconds_per_layer * work.executed_layers
    read = (work.step_bytes + c.kv_byte_cost * kv_bytes) / c.bytes_per_s
    decode = 1 / (step_s + read + c.kv_element_s * work.kv_elements)
    prompt = workload.prompt_tokens
    batches = ceil(workload.batch_size * prompt / workload.ubatch_tokens)
    linear = 2.0 * (work.block_weights * float(prompt) + work.head_weights)
    ops = linear + work.attention_ops_per_position * (prompt * (prompt + 1) / 2)
    compute_s = workload.batch_size * ops / c.ops_per_s
    read_s = batches * work.step_bytes / c.bytes_per_s
    prefill = prompt / (np.maximum(compute_s, read_s) + batches * step_s)
    return {
        "prefill_tokens_per_s": prefill,
        "prefill_low_tokens_per_s": prefill / inside.prefill_factor,
        "prefill_high_tokens_per_s": prefill * inside.prefill_factor,
        "decode_tokens_per_s": decode,
        "decode_low_tokens_per_s": decode / decode_factor,
        "decode_high_tokens_per_s": decode * decode_factor,
    }


def _refuse_costs_by_type(device: Device, constants: Profile) -> None:
    """A grid knows neither types nor activations: costs that depend on these are refused, not dropped."""
    c = constants
    costs = {
        "byte_cost": bool(c.byte_cost),
        "op_cost": bool(c.op_cost),
        "float_byte_cost": c.float_byte_cost != 1,
        "float_op_cost": c.float_op_cost != 1,
        "float_kv_element_s": c.float_kv_element_s != 0,
        "activation_element_s": c.activation_element_s != 0,
    }
    if known := [name for name, given in costs.items() if given]:
        raise InvalidQuantity(
            f"device: the profile of {device.name!r} has {', '.join(known)}, costs that a grid does "
            "not know; accepted: a device without them, or estimate() for each shape"
        )
