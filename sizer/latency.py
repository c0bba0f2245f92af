"""Latency: load time, prefill and decode speed of a model on a device, with ranges from held-out errors."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from math import ceil, inf
from pathlib import Path
from typing import Any, NamedTuple

from sizer.architecture import Architecture, SharingStrategy
from sizer.device import Device
from sizer.formats.stored import StoredTensor
from sizer.memory import kv_bytes_per_token, kv_row_bytes
from sizer.prediction import Basis, Prediction
from sizer.profile import Profile
from sizer.tensors import Access, Group, Role, TensorSpec
from sizer.workload import Workload

_PROFILES = Path(__file__).parent / "data" / "profiles.toml"


class Latency(NamedTuple):
    """Predicted speed of one sequence: seconds to load and to the first token, tokens/s of both phases."""

    load_s: Prediction
    prefill_tokens_per_s: Prediction
    time_to_first_token_s: Prediction  # of a loaded model: the time to read the prompt
    decode_tokens_per_s: Prediction


class Work(NamedTuple):
    """What one decoding step reads and what one prompt token computes; depends on the model alone."""

    executed_layers: int
    step_bytes: float  # weights read per step: matrices and vectors, one row of a looked-up embedding
    bits_per_weight: float  # of the weights read
    block_weights: int  # weights one token multiplies with in the executed layers
    head_weights: int  # weights of the output head, which only the prompt's last token meets
    attention_ops_per_position: int  # operations per token for each position it looks back on
    windowed_ops_per_position: int = 0  # of these, in layers that look back on at most `window` positions
    window: int = 0
    unchosen_bytes: float = 0.0  # experts a step leaves out; a prompt's tokens choose all of them in turn
    float_bytes: float = 0.0  # of step_bytes: in matrices of 16- and 32-bit weights
    kv_elements: int = 0  # elements of one cached position, keys and values of all executed layers
    bytes_by_type: tuple[tuple[str, float], ...] = ()  # step_bytes by stored type
    weights_by_type: tuple[tuple[str, int], ...] = ()  # block_weights by stored type
    activation_elements: int = 0  # of the rows that one token sends into and gets out of the blocks' matrices

    @property
    def is_float(self) -> bool:
        """Whether most of the bytes read are 16- and 32-bit weights."""
        return self.float_bytes > self.step_bytes / 2

    def prompt_ops(self, prompt_tokens: int) -> float:
        """Operations (multiplications and additions) to read a prompt of that many tokens."""
        positions = prompt_tokens * (prompt_tokens + 1) / 2
        linear = 2 * (self.block_weights * prompt_tokens + self.head_weights)
        ops = linear + self.attention_ops_per_position * positions
        if prompt_tokens > self.window and self.windowed_ops_per_position:
            seen = _looked_back(prompt_tokens, self.window) + self.window / 2  # each token sees itself, too
            ops -= self.windowed_ops_per_position * (positions - seen)
        return ops


def _looked_back(tokens: float, window: int) -> float:
    """Positions that the first so many tokens look back on, added up, each on at most the window's."""
    inside = min(tokens, window)
    return inside * inside / 2 + (tokens - inside) * window


# Fewer bits than this are quantized weights (8 bits and the scales of the smallest groups come to 9).
_FLOAT_BITS = 15.0


def work(
    architecture: Architecture, sized: Iterable[tuple[TensorSpec, float, str]], windowed_layers: int = 0
) -> Work:
    """Work of a model from its stored tensors, each with its bytes and its type's name.

    Immediate sharing finds a block's weights still in cache; repeat-all and reverse read them again each run.
    Of a layer's experts a step reads, and a token computes, the num_experts_per_tok that are chosen: as for
    one sequence, since how many experts a batch of them shares is not known. `windowed_layers` of the
    executed ones look back on the sliding window alone: what an engine makes of windows differs.
    """
    sharing = architecture.sharing
    rereads = 1 if sharing.strategy is SharingStrategy.IMMEDIATE else sharing.repeat
    unchosen_bytes = float_bytes = 0.0
    head = weights_read = activation_elements = 0
    bytes_by_type: dict[str, float] = {}
    weights_by_type: dict[str, int] = {}
    for spec, num_bytes, type_name in sized:
        elements = spec.num_elements
        is_float = len(spec.shape) > 1 and 8 * num_bytes >= _FLOAT_BITS * elements
        if spec.used_experts is not None:
            unchosen_bytes += rereads * num_bytes * (1 - spec.active_share)
            num_bytes *= spec.active_share
            elements = spec.active_elements
        if spec.layer is not None:
            reads, runs = rereads, sharing.repeat
            if architecture.shared_mlp and spec.role.group is Group.MLP:
                reads = runs = architecture.executed_layers
            read_bytes = reads * num_bytes
            weights_read += reads * elements
            weights_by_type[type_name] = weights_by_type.get(type_name, 0) + runs * elements
            if len(spec.shape) > 1:
                activation_elements += runs * (spec.used_experts or 1) * sum(spec.shape[-2:])
        elif spec.access is Access.LOOKUP:
            read_bytes = num_bytes * spec.row_length / elements
        else:
            read_bytes = num_bytes
            weights_read += elements
            if spec.role is Role.OUTPUT or spec.role is Role.TOKEN_EMBEDDING:
                head += elements
        bytes_by_type[type_name] = bytes_by_type.get(type_name, 0.0) + read_bytes
        if is_float:
            float_bytes += read_bytes
    step_bytes = sum(bytes_by_type.values())
    heads = sum(architecture.layer_num_heads)
    heads = heads or (architecture.executed_layers - len(architecture.conv_layers)) * architecture.num_heads
    return Work(
        executed_layers=architecture.executed_layers,
        step_bytes=step_bytes,
        bits_per_weight=8 * step_bytes / max(weights_read, 1),
        block_weights=sum(weights_by_type.values()),
        head_weights=head,
        attention_ops_per_position=4 * heads * architecture.head_dim,
        windowed_ops_per_position=4 * windowed_layers * architecture.q_width,
        window=architecture.sliding_window or 0,
        unchosen_bytes=unchosen_bytes,
        float_bytes=float_bytes,
        kv_elements=2 * architecture.executed_layers * architecture.kv_width,
        bytes_by_type=tuple(bytes_by_type.items()),
        weights_by_type=tuple(weights_by_type.items()),
        activation_elements=activation_elements,
    )


class Pooled(NamedTuple):
    """Constants over all measured devices of a kind, for a device that has no rows of its own."""

    efficiency: float  # share of a device's bandwidth that decoding reaches
    seconds_per_layer: float
    decode_factor: float
    ops_per_byte: float  # prefill operations per second for each byte per second decoding reaches
    prefill_factor: float


class Start(NamedTuple):
    """Constants of loading a model, over all measured devices."""

    storage_read_bytes_per_s: float
    storage_factor: float
    init_seconds_per_byte: float
    init_factor: float
    init_runtime: str  # the runtime whose initialisation was measured


class Energies(NamedTuple):
    """Constants of energy, over all measured devices."""

    power_factor: float  # how far a device's power differs from its stated one
    high_joules_per_byte: float  # the most a whole machine was measured to take per byte read


class Profiles(NamedTuple):
    """All fitted constants, as written by `python -m sizer.measure.fit`."""

    cpu: Pooled
    gpu: Pooled
    start: Start
    energy: Energies
    seconds_per_layer: Mapping[tuple[str, str], float]  # by runtime and backend or kind
    blocks: tuple[tuple[str, str, str, str], ...]  # device, chip, runtime and the text of each profile


def kind_of(backend: str) -> str:
    """ "cpu" or "gpu": backends of a kind are pooled where a device has no rows."""
    return "cpu" if backend == "cpu" else "gpu"


@cache
def profiles() -> Profiles:
    """The constants on file, read once; a device's own are read when it is asked for."""
    head, *blocks = _PROFILES.read_text(encoding="utf-8").split("[[profile]]\n")
    table = tomllib.loads(head)
    return Profiles(
        cpu=Pooled(**_only(Pooled, table["cpu"])),
        gpu=Pooled(**_only(Pooled, table["gpu"])),
        start=Start(**_only(Start, table["start"])),
        energy=Energies(**_only(Energies, table["energy"])),
        seconds_per_layer={(row["name"], row["kind"]): row["seconds_per_layer"] for row in table["runtime"]},
        blocks=tuple((*re.findall(_LABELS, block), block) for block in blocks),
    )


# the first three keys of each profile: reading all as TOML takes longer than an estimate
_LABELS = r'(?m)^(?:device|soc|runtime) = "(.*)"$'


def _only(kind: type[Pooled] | type[Start] | type[Energies], table: Mapping[str, Any]) -> dict[str, Any]:
    return {name: table[name] for name in kind._fields}


@cache
def _read(block: str) -> Profile:
    table = tomllib.loads(block)
    known = {name: table[name] for name in Profile._fields if name in table}
    return Profile(**known | {"basis": Basis(table["basis"])})


def own_profile(device: Device, runtime: str) -> Profile | None:
    """Constants from rows of this device under this runtime, its backend's first; None without rows."""
    own = [p for p in device.profiles if p.runtime == runtime]
    own = own or [
        _read(b) for name, _, engine, b in profiles().blocks if (name, engine) == (device.name, runtime)
    ]
    return _of_backend(own, device.backend)


def _chip_profile(device: Device, runtime: str) -> Profile | None:
    """Constants from rows of another device with the same chip and backend."""
    if device.soc is None:
        return None
    blocks = [b for _, soc, engine, b in profiles().blocks if (soc, engine) == (device.soc, runtime)]
    same = [p for p in map(_read, blocks) if p.backend == device.backend]
    return same[0] if same else None


def _of_backend(found: Sequence[Profile], backend: str) -> Profile | None:
    matching = [p for p in found if p.backend == backend]
    return next(iter(matching or found), None)


class Speed(NamedTuple):
    """Constants that hold for one device, runtime and format, and how wide their ranges are."""

    constants: Profile
    decode_basis: Basis
    decode_factor: float
    prefill_basis: Basis
    prefill_factor: float


def speed_of(device: Device, runtime: str, bits_per_weight: float) -> Speed | None:
    """Constants of a device, runtime and width of weights; None when neither bandwidth nor rows are known."""
    known = profiles()
    own = own_profile(device, runtime)
    found = own or _chip_profile(device, runtime)
    kind = kind_of(found.backend if found else device.backend)
    pooled = known.cpu if kind == "cpu" else known.gpu
    bandwidth = device.bandwidth_bytes_per_s
    if found is None:
        if bandwidth is None:
            return None
        found = Profile(
            runtime=runtime,
            backend=device.backend,
            basis=Basis.SPECIFICATION,
            seconds_fixed=0.0,
            seconds_per_layer=known.seconds_per_layer.get((runtime, device.backend))
            or known.seconds_per_layer.get((runtime, kind), pooled.seconds_per_layer),
            bytes_per_s=pooled.efficiency * bandwidth.value,
            bits_low=0.0,
            bits_high=inf,
            decode_factor=pooled.decode_factor,
        )
    inside = own is not None and own.bits_range[0] <= bits_per_weight <= own.bits_range[1]
    prefill = own is not None and own.prefill_factor > 0
    return Speed(
        # what decoding reaches tells more about the device's arithmetic than its sheet does
        constants=found
        if found.ops_per_s
        else found._replace(ops_per_s=pooled.ops_per_byte * found.bytes_per_s),
        decode_basis=found.basis if inside else Basis.SPECIFICATION,
        decode_factor=found.decode_factor if inside else max(pooled.decode_factor, found.decode_factor),
        prefill_basis=found.basis if prefill else Basis.SPECIFICATION,
        prefill_factor=found.prefill_factor if prefill else pooled.prefill_factor,
    )


def latency(
    *,
    runtime: str,
    architecture: Architecture,
    stored: Sequence[StoredTensor],
    device: Device,
    workload: Workload,
    file_bytes: int,
    windowed_layers: int = 0,
) -> Latency | None:
    """Predicted speed of a model as a runtime executes it; None when neither bandwidth nor rows are known.

    decode: `decode_seconds` with the KV cache at prompt + half the generated tokens, in `windowed_layers` at
    most the sliding window. prefill: the slower of operations / rate and weights / bandwidth per micro-batch,
    plus the layers. load: file / storage + initialisation. Speeds are per sequence. Ranges: held-out errors
    of the basis (data/profiles.toml).
    """
    sized = ((tensor.spec, tensor.num_bytes, tensor.type.name) for tensor in stored)
    model = work(architecture, sized, windowed_layers)
    speed = speed_of(device, runtime, model.bits_per_weight)
    if speed is None:
        return None
    kv_bytes = kv_bytes_read(architecture, workload, windowed_layers)
    decode_s = decode_seconds(model, kv_bytes, speed.constants)
    prefill_s = prefill_seconds(model, workload, speed.constants)
    prefill = _around(workload.prompt_tokens / prefill_s, speed.prefill_factor, speed.prefill_basis)
    return Latency(
        load_s=_load(runtime, device, speed.constants, file_bytes),
        prefill_tokens_per_s=prefill,
        time_to_first_token_s=prefill.inverse(workload.prompt_tokens),
        decode_tokens_per_s=_around(1 / decode_s, speed.decode_factor, speed.decode_basis),
    )


def kv_bytes_read(architecture: Architecture, workload: Workload, windowed_layers: int = 0) -> float:
    """Bytes of the KV cache that a decoding step reads, on average over the generated tokens."""
    a, prompt, generated = architecture, workload.prompt_tokens, workload.generated_tokens
    depth = prompt + generated / 2
    kv_bytes = depth * kv_bytes_per_token(a, workload.cache_type)
    if windowed_layers and a.sliding_window is not None:
        window = a.sliding_window
        seen = (_looked_back(prompt + generated, window) - _looked_back(prompt, window)) / generated
        kv_bytes -= (depth - seen) * windowed_layers * 2 * kv_row_bytes(a, workload.cache_type)
    return workload.batch_size * kv_bytes


def decode_seconds(model: Work, kv_bytes: float, constants: Profile) -> float:
    """Seconds one decoding step takes."""
    c = constants
    cost_bytes = model.step_bytes + (c.float_byte_cost - 1) * model.float_bytes + c.kv_byte_cost * kv_bytes
    if c.byte_cost:
        cost = dict(c.byte_cost)
        cost_bytes += sum((cost.get(name, 1.0) - 1) * num_bytes for name, num_bytes in model.bytes_by_type)
    element_s = c.kv_element_s + (c.float_kv_element_s if model.is_float else 0.0)
    return (
        c.seconds_fixed
        + c.seconds_per_layer * model.executed_layers
        + cost_bytes / c.bytes_per_s
        + element_s * model.kv_elements
    )


def prefill_seconds(model: Work, workload: Workload, constants: Profile) -> float:
    """Seconds to read the prompts of the batch, micro-batch by micro-batch."""
    c, tokens = constants, workload.batch_size * workload.prompt_tokens
    batches = ceil(tokens / workload.ubatch_tokens)
    compute_s = (
        workload.batch_size * model.prompt_ops(workload.prompt_tokens) * op_cost(model, c) / c.ops_per_s
        + tokens * model.activation_elements * c.activation_element_s
    )
    read_s = batches * (model.step_bytes + model.unchosen_bytes) / c.bytes_per_s
    return max(compute_s, read_s) + batches * (c.seconds_fixed + c.seconds_per_layer * model.executed_layers)


def op_cost(model: Work, constants: Profile) -> float:
    """Cost of an operation on this model's weights, against one that costs 1."""
    cost = constants.float_op_cost if model.is_float else 1.0
    if constants.op_cost:
        known = dict(constants.op_cost)
        weights = sum(count for _, count in model.weights_by_type)
        cost *= sum(known.get(name, 1.0) * count for name, count in model.weights_by_type) / max(weights, 1)
    return cost


def _around(value: float, factor: float, basis: Basis) -> Prediction:
    return Prediction(value=value, low=value / factor, high=value * factor, basis=basis)


def _load(runtime: str, device: Device, constants: Profile, file_bytes: int) -> Prediction:
    """Seconds from storage to ready; a start-up not measured for this engine is in the high end only."""
    start = profiles().start
    storage = device.storage_read_bytes_per_s
    read_s = file_bytes / (storage.value if storage else start.storage_read_bytes_per_s)
    if constants.load_factor:
        init_s = constants.init_s + file_bytes * constants.init_seconds_per_byte
        return _around(read_s + init_s, constants.load_factor, constants.basis)
    init_s = file_bytes * start.init_seconds_per_byte
    measured = runtime == start.init_runtime
    return Prediction(
        value=read_s + (init_s if measured else 0),
        low=read_s / start.storage_factor + (init_s / start.init_factor if measured else 0),
        high=read_s * start.storage_factor + init_s * start.init_factor,
        basis=Basis.SPECIFICATION,
    )
