"""Speed of every row of a grid on one device: the formulas of sizer.latency, on columns."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import numpy as np

from sizer.device import Device
from sizer.errors import InvalidFile
from sizer.grid.columns import Floats, Ints
from sizer.latency import Speed, own_profile, speed_of
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


def latency(
    runtime: str, device: Device, workload: Workload, work: GridWork, kv_bytes_per_token: Ints
) -> dict[str, Floats]:
    """Columns of GridLatency; none when neither bandwidth nor rows are known of the device.

    The formulas are those of sizer.latency.latency; only the width of the decode range depends on the row.
    """
    inside, outside = _speeds(runtime, device)
    if inside is None or outside is None:
        return {}
    own = own_profile(device, runtime)
    low, high = own.bits_range if own is not None else (0.0, np.inf)
    measured = (low <= work.bits_per_weight) & (work.bits_per_weight <= high)
    decode_factor = np.where(measured, inside.decode_factor, outside.decode_factor)
    depth = workload.prompt_tokens + workload.generated_tokens / 2
    kv_bytes = workload.batch_size * depth * kv_bytes_per_token
    c = inside.constants
    if c.byte_cost or c.op_cost or (c.float_byte_cost, c.float_op_cost) != (1, 1) or _walks_cache(c):
        raise InvalidFile(
            f"{device.name}: its {runtime} profile prices types of weights or cached elements, "
            "which a grid does not; leave the device out, or size one shape at a time"
        )
    layers_s = c.seconds_fixed + c.seconds_per_layer * work.executed_layers
    decode = 1 / (layers_s + (work.step_bytes + c.kv_byte_cost * kv_bytes) / c.bytes_per_s)
    prompt = workload.prompt_tokens
    batches = ceil(workload.batch_size * prompt / workload.ubatch_tokens)
    linear = 2.0 * (work.block_weights * float(prompt) + work.head_weights)
    ops = linear + work.attention_ops_per_position * (prompt * (prompt + 1) / 2)
    compute_s = workload.batch_size * ops / c.ops_per_s
    read_s = batches * work.step_bytes / c.bytes_per_s
    prefill = prompt / (np.maximum(compute_s, read_s) + batches * layers_s)
    return {
        "prefill_tokens_per_s": prefill,
        "prefill_low_tokens_per_s": prefill / inside.prefill_factor,
        "prefill_high_tokens_per_s": prefill * inside.prefill_factor,
        "decode_tokens_per_s": decode,
        "decode_low_tokens_per_s": decode / decode_factor,
        "decode_high_tokens_per_s": decode * decode_factor,
    }


def _walks_cache(constants: Profile) -> bool:
    return constants.kv_element_s > 0 or constants.float_kv_element_s > 0


def _speeds(runtime: str, device: Device) -> tuple[Speed | None, Speed | None]:
    """Constants for widths of weights within the measured ones, and for widths beyond."""
    own = own_profile(device, runtime)
    inside = own.bits_range[0] if own is not None else 0.0
    return speed_of(device, runtime, inside), speed_of(device, runtime, float("inf"))
