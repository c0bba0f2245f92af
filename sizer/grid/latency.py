"""Speed of every row of a grid on one device: the formulas of sizer.devices.speed_model, on columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sizer.devices.backend import choose_backend
from sizer.devices.device import Device
from sizer.devices.latency import own_profile, speed_of, with_format
from sizer.devices.profile import Profile
from sizer.devices.speed_model import (
    FLOAT_BITS,
    ModelCosts,
    at_full_context,
    decode_seconds,
    prefill_seconds,
)
from sizer.errors import InvalidQuantity
from sizer.grid.columns import Floats, Ints
from sizer.runtimes import runtime as runtime_by_name
from sizer.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GridLatency:
    """Predicted tokens per second of one sequence, with the low and high end of each; see Latency.

    They are those of a model in memory: whether it fits is another column.
    """

    prefill_tokens_per_s: Floats
    prefill_low_tokens_per_s: Floats
    prefill_high_tokens_per_s: Floats
    decode_tokens_per_s: Floats
    decode_low_tokens_per_s: Floats
    decode_high_tokens_per_s: Floats


class GridWork(NamedTuple):
    """Fields of sizer.devices.speed_model.ModelCosts, as columns."""

    executed_layers: Ints
    step_bytes: Floats
    bits_per_weight: Floats
    block_weights: Ints
    head_weights: Ints
    attention_ops_per_position: Ints
    kv_elements: Ints


def latency(
    runtime: str,
    format_name: str,
    device: Device,
    workload: Workload,
    work: GridWork,
    kv_bytes_per_token: Ints,
) -> dict[str, Floats]:
    """Return the columns of GridLatency; none when neither bandwidth nor rows are known of the device.

    Only the width of the decode range depends on a row.
    """
    backend = choose_backend(device, runtime_by_name(runtime))
    if backend is None:
        return {}
    own = own_profile(device, runtime, backend)
    low, high = own.bits_range if own is not None else (0.0, np.inf)
    inside, outside = (speed_of(device, runtime, bits, backend) for bits in (low, np.inf))
    if inside is None or outside is None:
        return {}
    c = inside.constants
    floats: Any = np.where(work.bits_per_weight >= FLOAT_BITS, c.float_op_cost, 1.0)
    c = c._replace(ops_per_s=c.ops_per_s / floats, float_op_cost=1.0)
    _refuse_costs_by_type(device, c)
    measured = (low <= work.bits_per_weight) & (work.bits_per_weight <= high)
    decode_factor = np.where(measured, inside.decode_factor, outside.decode_factor)
    full = at_full_context(workload)
    depth = full.prompt_tokens + full.generated_tokens / 2
    # a weight count times a long prompt is beyond 64-bit integers
    columns: Any = {name: column.astype(np.float64) for name, column in work._asdict().items()}
    model = with_format(ModelCosts(**columns), runtime, device, backend, format_name)
    kv_bytes: Any = workload.batch_size * depth * kv_bytes_per_token
    maximum: Any = np.maximum
    decode: Any = 1 / decode_seconds(model, kv_bytes, c)
    prefill: Any = workload.prompt_tokens / prefill_seconds(model, workload, c, maximum)
    return {
        "prefill_tokens_per_s": prefill,
        "prefill_low_tokens_per_s": prefill / inside.prefill_factor,
        "prefill_high_tokens_per_s": prefill * inside.prefill_factor,
        "decode_tokens_per_s": decode,
        "decode_low_tokens_per_s": decode / decode_factor,
        "decode_high_tokens_per_s": decode * decode_factor,
    }


def _refuse_costs_by_type(device: Device, constants: Profile) -> None:
    """Raise if costs depend on types or activations: a grid knows neither."""
    c = constants
    costs = {
        "byte_cost": bool(c.byte_cost),
        "op_cost": bool(c.op_cost),
        "float_byte_cost": c.float_byte_cost != 1,
        "float_op_cost": c.float_op_cost != 1,
        "float_kv_element_s": c.float_kv_element_s != 0,
        "activation_element_s": c.activation_element_s != 0,
        "step_element_s": c.step_element_s != 0,
    }
    if known := [name for name, given in costs.items() if given]:
        raise InvalidQuantity(
            f"device: the profile of {device.name!r} has {', '.join(known)}, costs that a grid does "
            "not know; accepted: a device without them, or estimate() for each shape"
        )
