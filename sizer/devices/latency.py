"""Latency: load time, prefill and decode speed of a model on a device, with ranges from held-out errors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import inf
from typing import NamedTuple

from sizer.architecture import Architecture
from sizer.devices.constants import PoolConstants, Pooled, family_pool, profiles, read_profile
from sizer.devices.device import Device, DeviceKind
from sizer.devices.family import family_of, instruction_set, is_small
from sizer.devices.profile import Profile, kind_of
from sizer.devices.speed_model import (
    ModelCosts,
    at_full_context,
    cache_read_share,
    decode_seconds,
    init_seconds,
    kv_bytes_read,
    prefill_seconds,
    stored_costs,
)
from sizer.devices.usable_memory import has_card
from sizer.formats.stored import StoredTensor
from sizer.prediction import Basis, Prediction
from sizer.workload import Workload


class Latency(NamedTuple):
    """Predicted speed of one sequence: seconds to load and to the first token, tokens/s of both phases."""

    load_s: Prediction
    prefill_tokens_per_s: Prediction
    time_to_first_token_s: Prediction  # of a loaded model: the time to read the prompt
    decode_tokens_per_s: Prediction  # at the context asked for: of the last token it holds
    decode_at_start_tokens_per_s: Prediction  # on average over the tokens generated after the prompt
    sustained_tokens_per_s: Prediction | None = None  # at start when hot; None where heat is no matter
    notes: tuple[str, ...] = ()  # what was borrowed from where, in words


@lru_cache(maxsize=256)
def own_profile(device: Device, runtime: str, backend: str) -> Profile | None:
    """Return constants fitted to this device, runtime and backend; None without rows."""
    own = [p for p in device.profiles if p.runtime == runtime]
    own = own or [
        read_profile(b)
        for name, _, engine, b in profiles().blocks
        if (name, engine) == (device.rows_name, runtime)
    ]
    return next((p for p in own if p.backend == backend), None)


@lru_cache(maxsize=256)
def _chip_profile(device: Device, runtime: str, backend: str) -> Profile | None:
    """Return constants fitted to another device with the same chip and backend."""
    if device.soc is None:
        return None
    blocks = [b for _, soc, engine, b in profiles().blocks if (soc, engine) == (device.soc, runtime)]
    return next((p for p in map(read_profile, blocks) if p.backend == backend), None)


def bandwidth_on(device: Device, backend: str) -> float | None:
    """Return the bytes/s of the memory a backend reads; None if not known.

    CPUs: measured (by copies) before the data sheet; GPUs: the data sheet first, as copies on the CPU show
    little of them; Apple's NPU has a bandwidth apart. A card's bandwidth is no measure of the machine's RAM.
    """
    if backend == "cpu" and has_card(device):
        return None
    sheet, measured = device.bandwidth_theoretical_bytes_per_s, device.bandwidth_measured_bytes_per_s
    first, second = (measured, sheet) if backend == "cpu" else (sheet, measured)
    found = first or second
    if backend == "ane":
        found = device.npu_bandwidth_bytes_per_s or found
    return None if found is None else found.value


def pool_of(device: Device, runtime: str, backend: str) -> PoolConstants | None:
    """Return the pool of the device's family under the engine, else under all engines; None without rows."""
    return family_pool(family_of(device, backend), runtime)


def with_format(
    model: ModelCosts, runtime: str, device: Device, backend: str, format_name: str
) -> ModelCosts:
    """Return a model's costs with those of its format under a device's instructions; 1 without rows.

    They are 1 on a device whose own profile has the cost of each of the model's types: calibrated ones.
    """
    formats = profiles().formats
    costs = formats.get((runtime, instruction_set(device, backend), format_name))
    if costs is None:
        return model
    byte_cost, op_cost = costs
    own = own_profile(device, runtime, backend)
    if own is not None and _knows(own.byte_cost, model.bytes_by_type):
        byte_cost = 1.0
    if own is not None and _knows(own.op_cost, model.weights_by_type):
        op_cost = 1.0
    return model._replace(format_byte_cost=byte_cost, format_op_cost=op_cost)


def _knows(costs: Sequence[tuple[str, float]], amounts: Sequence[tuple[str, float]]) -> bool:
    """Return whether each type of a model is among those with a cost."""
    return bool(amounts) and {name for name, _ in amounts} <= {name for name, _ in costs}


class SpeedConstants(NamedTuple):
    """Constants that hold for one device, runtime and format, and how wide their ranges are."""

    constants: Profile
    decode_basis: Basis
    decode_factor: float
    prefill_basis: Basis
    prefill_factor: float
    notes: tuple[str, ...] = ()  # what was borrowed from where, in words


def speed_of(device: Device, runtime: str, bits_per_weight: float, backend: str) -> SpeedConstants | None:
    """Return the constants for a device, runtime, backend and bits per weight; None without a ground.

    The device's own rows; else those of its chip; else its family's pool, by its bandwidth or, where that is
    not known, as fast as devices of its size.
    """
    found, share = _speed_of(device, runtime, bits_per_weight, backend), cache_read_share(runtime, backend)
    if found is None or share == 1.0:
        return found
    c = found.constants
    return found._replace(constants=c._replace(kv_byte_cost=share * c.kv_byte_cost))


def _speed_of(device: Device, runtime: str, bits_per_weight: float, backend: str) -> SpeedConstants | None:
    own = own_profile(device, runtime, backend)
    found = own or _chip_profile(device, runtime, backend)
    pooled = _pooled(device, runtime, backend)
    if found is None:
        if pooled is None:
            return None
        return pooled
    inside = own is not None and own.bits_range[0] <= bits_per_weight <= own.bits_range[1]
    prefill = own is not None and own.prefill_factor > 0
    wider = pooled.decode_factor if pooled else profiles().of_kind(kind_of(backend)).decode_factor
    prompts = pooled.prefill_factor if pooled else profiles().of_kind(kind_of(backend)).prefill_factor
    if not found.ops_per_s:
        # measured decoding predicts the device's arithmetic better than its data sheet does
        found = _with_prompts(found, device, runtime)
    return SpeedConstants(
        constants=found,
        decode_basis=found.basis if inside else Basis.SPECIFICATION,
        decode_factor=found.decode_factor if inside else max(wider, found.decode_factor),
        prefill_basis=found.basis if prefill else Basis.SPECIFICATION,
        prefill_factor=found.prefill_factor if prefill else prompts,
    )


def _with_prompts(found: Profile, device: Device, runtime: str) -> Profile:
    """Return constants of decoding with those of prompts, from the family's pool."""
    pool = pool_of(device, runtime, found.backend)
    kind = profiles().of_kind(kind_of(found.backend))
    if pool is None or not pool.ops_per_unit:
        return found._replace(ops_per_s=kind.ops_per_byte * found.bytes_per_s)
    unit = found.bytes_per_s
    if pool.by_cores:
        if device.gpu_cores is None:
            return found._replace(ops_per_s=kind.ops_per_byte * found.bytes_per_s)
        unit = device.gpu_cores.value
    return found._replace(
        ops_per_s=pool.ops_per_unit * unit,
        float_op_cost=pool.float_op_cost,
        prompt_fixed_s=pool.prompt_fixed_s,
        call_tokens=pool.call_tokens,
    )


def _typical(source: PoolConstants | Pooled, device: Device) -> float:
    """Return the bytes/s that devices of this one's size reach; 0 where none was measured."""
    return source.small_bytes_per_s if is_small(device) else source.large_bytes_per_s


@lru_cache(maxsize=256)
def _pooled(device: Device, runtime: str, backend: str) -> SpeedConstants | None:
    """Return the constants of a device without rows; None where none like it was measured."""
    pool, kind = pool_of(device, runtime, backend), profiles().of_kind(kind_of(backend))
    bandwidth = bandwidth_on(device, backend)
    source: PoolConstants | Pooled = pool or kind
    typical = _typical(source, device) or _typical(kind, device)
    if bandwidth is None and (not typical or has_card(device) or pool is None):
        return None
    rate = source.efficiency * bandwidth if bandwidth is not None else typical
    constants = Profile(
        runtime=runtime,
        backend=backend,
        basis=Basis.SPECIFICATION,
        seconds_fixed=0.0,
        seconds_per_layer=source.seconds_per_layer,
        bytes_per_s=rate,
        bits_low=0.0,
        bits_high=inf,
        decode_factor=1.0,
    )
    factor, notes = source.decode_factor, []
    if bandwidth is None:
        factor = max(factor, source.blind_factor)
        notes.append(
            f"{device.name}: no bandwidth known, taken to be as fast as measured devices of its size"
        )
    if pool is None or not pool.runtime:
        factor = max(factor, kind.engine_factor)
        notes.append(
            f"no row of {runtime} on {family_of(device, backend)}: speeds as of other engines there, with a "
            "range of engines left out"
        )
    return SpeedConstants(
        constants=_with_prompts(constants, device, runtime),
        decode_basis=Basis.SPECIFICATION,
        decode_factor=factor,
        prefill_basis=Basis.SPECIFICATION,
        prefill_factor=source.prefill_factor if pool is None or pool.ops_per_unit else kind.prefill_factor,
        notes=tuple(notes),
    )


def latency(
    *,
    runtime: str,
    architecture: Architecture,
    stored: Sequence[StoredTensor],
    device: Device,
    backend: str,
    format_name: str = "",
    workload: Workload,
    file_bytes: int,
    windowed_layers: int = 0,
) -> Latency | None:
    """Predict the speed of a model as a runtime executes it; None when neither bandwidth nor rows are known.

    Seconds are those of `sizer.devices.speed_model`, with a full KV cache, and at the start with one of
    prompt + half the generated tokens; in `windowed_layers` at most the sliding window. load: file / storage
    + initialisation. Speeds are per sequence. Ranges: held-out errors of the basis (data/profiles.toml).
    """
    model = stored_costs(architecture, stored, windowed_layers)
    model = with_format(model, runtime, device, backend, format_name)
    speed = speed_of(device, runtime, model.bits_per_weight, backend)
    if speed is None:
        return None

    def decode(load: Workload) -> Prediction:
        kv_bytes = kv_bytes_read(architecture, load, windowed_layers)
        seconds = decode_seconds(model, kv_bytes, speed.constants)
        return _with_range(1 / seconds, speed.decode_factor, speed.decode_basis)

    at_start = decode(workload)
    prefill_s = prefill_seconds(model, workload, speed.constants)
    prefill = _with_range(workload.prompt_tokens / prefill_s, speed.prefill_factor, speed.prefill_basis)
    return Latency(
        load_s=_load(runtime, device, speed.constants, file_bytes),
        prefill_tokens_per_s=prefill,
        time_to_first_token_s=prefill.inverse(workload.prompt_tokens),
        decode_tokens_per_s=decode(at_full_context(workload)),
        decode_at_start_tokens_per_s=at_start,
        sustained_tokens_per_s=_sustained(device, at_start),
        notes=speed.notes,
    )


def _sustained(device: Device, cold: Prediction) -> Prediction | None:
    """Return the speed of a phone or tablet that is hot: its own share, else that of all measured hot."""
    heat, own = profiles().heat, device.sustained_speed_share
    if own is None and device.kind not in (DeviceKind.PHONE, DeviceKind.TABLET) and not device.fanless:
        return None
    share = own.value if own is not None else heat.share
    value = share * cold.value
    return Prediction(
        value=value,
        low=min(value, share / heat.factor * cold.low),
        high=max(value, min(share * heat.factor, 1.0) * cold.high),
        basis=cold.basis,
    )


def _with_range(value: float, factor: float, basis: Basis) -> Prediction:
    return Prediction(value=value, low=value / factor, high=value * factor, basis=basis)


def _load(runtime: str, device: Device, constants: Profile, file_bytes: int) -> Prediction:
    """Predict the load seconds; initialization not measured for the runtime is in the high end only."""
    start = profiles().start
    storage = device.storage_read_bytes_per_s
    read_s = file_bytes / (storage.value if storage else start.storage_read_bytes_per_s)
    if constants.load_factor:
        return _with_range(
            read_s + init_seconds(file_bytes, constants), constants.load_factor, constants.basis
        )
    init_s = file_bytes * start.init_seconds_per_byte
    measured = runtime == start.init_runtime
    return Prediction(
        value=read_s + (init_s if measured else 0),
        low=read_s / start.storage_factor + (init_s / start.init_factor if measured else 0),
        high=read_s * start.storage_factor + init_s * start.init_factor,
        basis=Basis.SPECIFICATION,
    )
