"""Latency: load time, prefill and decode speed of a model on a device, with ranges from held-out errors."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from sizer.architecture import Architecture, SharingStrategy
from sizer.device import Device
from sizer.formats.stored import StoredTensor
from sizer.memory import kv_bytes_per_token
from sizer.prediction import Basis, Prediction
from sizer.tensors import Access, Group, Role, TensorSpec
from sizer.workload import Workload

# A format this far outside the measured ones (in bits per weight) runs other kernels: the wider range holds.
_BITS_MARGIN = 1.25

_PROFILES = Path(__file__).parent / "data" / "profiles.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
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
    unchosen_bytes: float = 0.0  # experts a step leaves out; a prompt's tokens choose all of them in turn

    def prompt_ops(self, prompt_tokens: int) -> float:
        """Operations (multiplications and additions) to read a prompt of that many tokens."""
        positions = prompt_tokens * (prompt_tokens + 1) / 2
        linear = 2 * (self.block_weights * prompt_tokens + self.head_weights)
        return linear + self.attention_ops_per_position * positions


def work(architecture: Architecture, sized: Iterable[tuple[TensorSpec, float]]) -> Work:
    """Work of a model from its stored tensors, each with its bytes.

    Immediate sharing finds a block's weights still in cache; repeat-all and reverse read them again each run.
    Of a layer's experts a step reads, and a token computes, the num_experts_per_tok that are chosen: as for
    one sequence, since how many experts a batch of them shares is not known.
    """
    sharing = architecture.sharing
    rereads = 1 if sharing.strategy is SharingStrategy.IMMEDIATE else sharing.repeat
    step_bytes = unchosen_bytes = 0.0
    block = head = weights_read = 0
    for spec, num_bytes in sized:
        elements = spec.num_elements
        if spec.used_experts is not None:
            unchosen_bytes += rereads * num_bytes * (1 - spec.active_share)
            num_bytes *= spec.active_share
            elements = spec.active_elements
        if spec.layer is not None:
            reads, runs = rereads, sharing.repeat
            if architecture.shared_mlp and spec.role.group is Group.MLP:
                reads = runs = architecture.executed_layers
            step_bytes += reads * num_bytes
            weights_read += reads * elements
            block += runs * elements
        elif spec.access is Access.LOOKUP:
            step_bytes += num_bytes * spec.row_length / elements
        else:
            step_bytes += num_bytes
            weights_read += elements
            if spec.role is Role.OUTPUT or spec.role is Role.TOKEN_EMBEDDING:
                head += elements
    return Work(
        executed_layers=architecture.executed_layers,
        step_bytes=step_bytes,
        bits_per_weight=8 * step_bytes / max(weights_read, 1),
        block_weights=block,
        head_weights=head,
        attention_ops_per_position=4 * architecture.executed_layers * architecture.q_width,
        unchosen_bytes=unchosen_bytes,
    )


class Profile(NamedTuple):
    """Constants fitted to measured rows of one device under one runtime; factors span 90 % of held-out rows.

    `fitted` says there were rows enough for a range of their own; otherwise the pooled factors hold.
    """

    device: str
    soc: str
    runtime: str
    fitted: bool
    seconds_per_layer: float
    bytes_per_s: float
    bits_low: float
    bits_high: float
    decode_factor: float
    ops_per_s: float  # 0: no prefill was measured
    prefill_fitted: bool
    prefill_factor: float

    @property
    def bits_range(self) -> tuple[float, float]:
        """Bits per weight for which the decode range is taken to hold: the measured ones and a margin."""
        return self.bits_low / _BITS_MARGIN, self.bits_high * _BITS_MARGIN


class Pooled(NamedTuple):
    """Constants over all measured devices, for a device that has no rows of its own."""

    efficiency: float  # share of a device's bandwidth that decoding reaches
    seconds_per_layer: float
    decode_factor: float
    ops_per_byte: float  # prefill operations per second for each byte per second of bandwidth
    prefill_factor: float
    storage_read_bytes_per_s: float
    storage_factor: float
    init_seconds_per_byte: float
    init_factor: float
    init_runtime: str  # the runtime whose initialisation was measured
    power_factor: float


class Profiles(NamedTuple):
    """All fitted constants, as written by `python -m sizer.measure.fit`."""

    pooled: Pooled
    seconds_per_layer: Mapping[str, float]  # by runtime
    by_key: Mapping[tuple[str, str], Profile]  # (device name, runtime), and (soc, runtime) where unambiguous


def _only(kind: type[Profile] | type[Pooled], table: Mapping[str, Any]) -> dict[str, Any]:
    return {name: table[name] for name in kind._fields}


@cache
def profiles() -> Profiles:
    """The constants on file, read once."""
    table = tomllib.loads(_PROFILES.read_text(encoding="utf-8"))
    by_key: dict[tuple[str, str], Profile] = {}
    for row in table["profile"]:
        profile = Profile(**_only(Profile, row))
        if profile.soc:
            by_key.setdefault((f"soc {profile.soc}", profile.runtime), profile)
        by_key[profile.device, profile.runtime] = profile
    return Profiles(
        pooled=Pooled(**_only(Pooled, table["pooled"])),
        seconds_per_layer={row["name"]: row["seconds_per_layer"] for row in table["runtime"]},
        by_key=by_key,
    )


class Speed(NamedTuple):
    """Constants that hold for one device, runtime and format, and how wide their ranges are."""

    seconds_per_layer: float
    bytes_per_s: float
    decode_basis: Basis
    decode_factor: float
    ops_per_s: float
    prefill_basis: Basis
    prefill_factor: float


def speed_of(device: Device, runtime: str, bits_per_weight: float) -> Speed | None:
    """Constants of a device, runtime and width of weights; None when neither bandwidth nor rows are known."""
    known = profiles()
    pooled = known.pooled
    own = known.by_key.get((device.name, runtime))
    profile = own or known.by_key.get((f"soc {device.soc}", runtime))
    bandwidth = device.bandwidth_bytes_per_s
    if profile is not None:
        layer, rate = profile.seconds_per_layer, profile.bytes_per_s
    elif bandwidth is not None:
        layer = known.seconds_per_layer.get(runtime, pooled.seconds_per_layer)
        rate = pooled.efficiency * bandwidth.value
    else:
        return None
    fitted = own is not None and own.fitted and own.bits_range[0] <= bits_per_weight <= own.bits_range[1]
    own_ops_per_s = profile.ops_per_s if profile is not None else 0.0
    prefill_fitted = own is not None and own.prefill_fitted
    return Speed(
        seconds_per_layer=layer,
        bytes_per_s=rate,
        decode_basis=Basis.FITTED if fitted else Basis.SPECIFICATION,
        decode_factor=own.decode_factor if own is not None and fitted else pooled.decode_factor,
        # what decoding reaches tells more about the device than its sheet does
        ops_per_s=own_ops_per_s or pooled.ops_per_byte * rate,
        prefill_basis=Basis.FITTED if prefill_fitted else Basis.SPECIFICATION,
        prefill_factor=own.prefill_factor if own is not None and prefill_fitted else pooled.prefill_factor,
    )


def latency(
    *,
    runtime: str,
    architecture: Architecture,
    stored: Sequence[StoredTensor],
    device: Device,
    workload: Workload,
    file_bytes: int,
) -> Latency | None:
    """Predicted speed of a model as a runtime executes it; None when neither bandwidth nor rows are known.

    decode: seconds/token = per_layer x executed layers + (weights + KV cache at prompt + half the generated
    tokens) / effective bandwidth. prefill: the slower of operations / rate and weights / bandwidth per
    micro-batch, plus the layers. load: file / storage + initialisation. Speeds are per sequence.
    Ranges: held-out errors of the basis (data/profiles.toml).
    """
    model = work(architecture, ((tensor.spec, tensor.num_bytes) for tensor in stored))
    speed = speed_of(device, runtime, model.bits_per_weight)
    if speed is None:
        return None
    depth = workload.prompt_tokens + workload.generated_tokens / 2
    kv_bytes = workload.batch_size * depth * kv_bytes_per_token(architecture, workload.cache_type)
    decode_s = decode_seconds(model, kv_bytes, speed.seconds_per_layer, speed.bytes_per_s)
    prefill_s = prefill_seconds(model, workload, speed.seconds_per_layer, speed.bytes_per_s, speed.ops_per_s)
    prefill = _around(workload.prompt_tokens / prefill_s, speed.prefill_factor, speed.prefill_basis)
    return Latency(
        load_s=_load(runtime, device, file_bytes),
        prefill_tokens_per_s=prefill,
        time_to_first_token_s=prefill.inverse(workload.prompt_tokens),
        decode_tokens_per_s=_around(1 / decode_s, speed.decode_factor, speed.decode_basis),
    )


def decode_seconds(model: Work, kv_bytes: float, seconds_per_layer: float, bytes_per_s: float) -> float:
    """Seconds one decoding step takes."""
    return seconds_per_layer * model.executed_layers + (model.step_bytes + kv_bytes) / bytes_per_s


def prefill_seconds(
    model: Work, workload: Workload, seconds_per_layer: float, bytes_per_s: float, ops_per_s: float
) -> float:
    """Seconds to read the prompts of the batch, micro-batch by micro-batch."""
    batches = ceil(workload.batch_size * workload.prompt_tokens / workload.ubatch_tokens)
    compute_s = workload.batch_size * model.prompt_ops(workload.prompt_tokens) / ops_per_s
    read_s = batches * (model.step_bytes + model.unchosen_bytes) / bytes_per_s
    return max(compute_s, read_s) + batches * seconds_per_layer * model.executed_layers


def _around(value: float, factor: float, basis: Basis) -> Prediction:
    return Prediction(value=value, low=value / factor, high=value * factor, basis=basis)


def _load(runtime: str, device: Device, file_bytes: int) -> Prediction:
    """Seconds from storage to ready; a start-up not measured for this engine is in the high end only."""
    pooled = profiles().pooled
    storage = device.storage_read_bytes_per_s
    read_s = file_bytes / (storage.value if storage else pooled.storage_read_bytes_per_s)
    init_s = file_bytes * pooled.init_seconds_per_byte
    measured = runtime == pooled.init_runtime
    return Prediction(
        value=read_s + (init_s if measured else 0),
        low=read_s / pooled.storage_factor + (init_s / pooled.init_factor if measured else 0),
        high=read_s * pooled.storage_factor + init_s * pooled.init_factor,
        basis=Basis.SPECIFICATION,
    )
