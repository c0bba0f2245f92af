"""Regression on measured speeds: rows, relative least squares in closed form, held-out errors."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, exp, log
from pathlib import Path
from statistics import fmean

from sizer.architecture import Architecture
from sizer.device import Device
from sizer.errors import InvalidFile
from sizer.formats.llamacpp import mix
from sizer.latency import Work, work
from sizer.tensors import TensorSpec, tensor_specs
from sizer.workload import Workload

MEASUREMENTS = Path(__file__).parent.parent / "data" / "measurements.csv"

_COVERAGE = 0.9  # what Prediction promises of [low, high]
# Two constants from fewer rows, or from one or two models, would have no held-out error to speak of.
FITTED_ROWS, FITTED_MODELS = 5, 3
_CACHE_BYTES = 2  # F16, every engine's default here
_NORM_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured line: the work of its model and the printed rates (None where not printed)."""

    device: str
    runtime: str
    model: str
    work: Work | None  # None: what was read per token is not known
    kv_bytes: float
    prompt_tokens: int
    decode_tokens_per_s: float | None
    prefill_tokens_per_s: float | None
    joules_per_token: float | None
    load_s: float | None
    storage_read_bytes_per_s: float | None
    source: str

    @property
    def key(self) -> tuple[str, str]:
        """Device and runtime."""
        return self.device, self.runtime

    @property
    def decode_bytes(self) -> float:
        """Bytes read per generated token, weights and KV cache."""
        assert self.work is not None
        return self.work.step_bytes + self.kv_bytes

    @property
    def prefill_ops_per_s(self) -> float:
        """Operations per second the printed prefill rate amounts to."""
        assert self.work is not None
        assert self.prefill_tokens_per_s is not None
        return self.work.prompt_ops(self.prompt_tokens) * self.prefill_tokens_per_s / self.prompt_tokens


def read_rows(path: Path = MEASUREMENTS) -> list[Row]:
    """Rows of the measurements file; lines that start with # are comments."""
    lines = [s for s in path.read_text(encoding="utf-8").splitlines() if not s.startswith("#")]
    rows = []
    for number, cells in enumerate(csv.DictReader(lines), start=1):
        try:
            rows.append(_row(cells))
        except (KeyError, ValueError) as error:
            raise InvalidFile(
                f"{path.name}: measurement {number} ({cells.get('model')}): {error!r}"
            ) from error
    return rows


def _number(text: str) -> float | None:
    return float(text) if text else None


def _row(cells: dict[str, str]) -> Row:
    model_work, kv_bytes = None, 0.0
    if cells["format"] or cells["block_bits"]:
        architecture = Architecture(
            name=cells["model"],
            vocab_size=int(cells["vocab_size"]),
            num_layers=int(cells["num_layers"]),
            hidden_size=int(cells["hidden_size"]),
            intermediate_size=int(cells["intermediate_size"]),
            num_heads=int(cells["num_heads"]),
            num_kv_heads=int(cells["num_kv_heads"]),
            head_dim=int(cells["head_dim"]),
            tie_embeddings=cells["tie_embeddings"] == "1",
        )
        specs = tensor_specs(architecture)
        model_work = work(architecture, _sized(architecture, specs, cells))
        per_position = 2 * architecture.num_layers * architecture.kv_width * _CACHE_BYTES
        kv_bytes = per_position * (_number(cells["depth_tokens"]) or 0)
    return Row(
        device=cells["device"],
        runtime=cells["runtime"],
        model=cells["model"],
        work=model_work,
        kv_bytes=kv_bytes,
        prompt_tokens=int(cells["prompt_tokens"] or Workload().prompt_tokens),
        decode_tokens_per_s=_number(cells["decode_tokens_per_s"]),
        prefill_tokens_per_s=_number(cells["prefill_tokens_per_s"]),
        joules_per_token=_number(cells["joules_per_token"]),
        load_s=float(cells["load_s"]) + float(cells["init_s"]) if cells["load_s"] else None,
        storage_read_bytes_per_s=_number(cells["storage_read_bytes_per_s"]),
        source=cells["source"],
    )


def _sized(
    architecture: Architecture, specs: tuple[TensorSpec, ...], cells: dict[str, str]
) -> list[tuple[TensorSpec, float]]:
    if cells["format"]:
        return [(t.spec, t.num_bytes) for t in mix(cells["format"]).assign(architecture, specs)]
    block, head = float(cells["block_bits"]), float(cells["head_bits"])
    sized: list[tuple[TensorSpec, float]] = []
    for spec in specs:
        bits = 8 * _NORM_BYTES if len(spec.shape) == 1 else head if spec.layer is None else block
        sized.append((spec, spec.num_elements * bits / 8))
    return sized


Groups = dict[tuple[str, str], list[Row]]


def grouped(rows: Iterable[Row]) -> Groups:
    """Rows by device and runtime, in the file's order."""
    groups: Groups = {}
    for row in rows:
        groups.setdefault(row.key, []).append(row)
    return groups


def decode_rows(rows: Iterable[Row]) -> list[Row]:
    """Rows with a decoding speed and known bytes."""
    return [r for r in rows if r.work is not None and r.decode_tokens_per_s is not None]


def prefill_rows(rows: Iterable[Row]) -> list[Row]:
    """Rows with a prefill speed and known shapes."""
    return [r for r in rows if r.work is not None and r.prefill_tokens_per_s is not None]


def _moments(rows: Sequence[Row]) -> tuple[float, float, float, float, float]:
    """Sums of the relative normal equations: u = layers / seconds, v = bytes / seconds of each row."""
    uu = uv = vv = u1 = v1 = 0.0
    for row in rows:
        assert row.work is not None
        assert row.decode_tokens_per_s is not None
        u = row.work.executed_layers * row.decode_tokens_per_s
        v = row.decode_bytes * row.decode_tokens_per_s
        uu, uv, vv, u1, v1 = uu + u * u, uv + u * v, vv + v * v, u1 + u, v1 + v
    return uu, uv, vv, u1, v1


def bytes_per_s(rows: Sequence[Row], seconds_per_layer: float) -> float:
    """Effective bandwidth with the least squared relative error, given the cost of a layer."""
    _, uv, vv, _, v1 = _moments(rows)
    # the layers may at most take all the time but a tenth of what bytes alone would need
    return vv / max(v1 - seconds_per_layer * uv, v1 / 10)


def shared_layer_seconds(groups: Iterable[Sequence[Row]]) -> float:
    """Seconds per executed layer with the least squared relative error, each group with its own bandwidth."""
    top = bottom = 0.0
    for rows in groups:
        uu, uv, vv, u1, v1 = _moments(rows)
        # the group's bandwidth is eliminated from its normal equations
        top += u1 - uv * v1 / vv
        bottom += uu - uv * uv / vv
    return max(0.0, top / bottom) if bottom > 1e-12 else 0.0


@dataclass(frozen=True, slots=True)
class Decode:
    """Constants of decoding on one device under one runtime."""

    seconds_per_layer: float
    bytes_per_s: float

    def error(self, row: Row) -> float:
        """log(predicted / measured) tokens per second."""
        assert row.work is not None
        assert row.decode_tokens_per_s is not None
        seconds = self.seconds_per_layer * row.work.executed_layers + row.decode_bytes / self.bytes_per_s
        return -log(seconds * row.decode_tokens_per_s)


def runtime_layer_seconds(groups: Groups, runtime: str) -> float:
    """Cost of a layer over a runtime's devices; over all devices where the runtime has too few rows."""
    own = [rows for (_, name), rows in groups.items() if name == runtime and enough(rows)]
    return shared_layer_seconds(own or [rows for rows in groups.values() if enough(rows)])


def enough(rows: Sequence[Row]) -> bool:
    """Whether there are rows and models enough for constants and a range of their own."""
    return len(rows) >= FITTED_ROWS and len({r.model for r in rows}) >= FITTED_MODELS


def fit_decode(groups: Groups, key: tuple[str, str], *, own_layer: bool) -> Decode:
    """Constants for one device and runtime, with the layer cost its own rows say, or its runtime's."""
    own = shared_layer_seconds([groups[key]]) if own_layer else 0.0
    layer = own or runtime_layer_seconds(groups, key[1])
    return Decode(layer, bytes_per_s(groups[key], layer))


def held_out_models(groups: Groups, key: tuple[str, str], *, own_layer: bool) -> list[float]:
    """Errors of each of a device's rows under constants fitted without any of its rows of that model."""
    errors = []
    for row in groups[key]:
        rest = {**groups, key: [r for r in groups[key] if r.model != row.model]}
        errors.append(fit_decode(rest, key, own_layer=own_layer).error(row))
    return errors


def conformal(errors: Sequence[float]) -> float:
    """Factor spanning the ceil((n+1) x 0.9)-th smallest absolute log error; the largest where n < 9."""
    ordered = sorted(abs(e) for e in errors)
    rank = min(ceil((len(ordered) + 1) * _COVERAGE), len(ordered))
    return exp(ordered[rank - 1])


def mape(errors: Iterable[float]) -> float:
    """Mean absolute relative error of speeds from log errors."""
    return fmean(abs(exp(e) - 1) for e in errors)


def geometric_mean(values: Iterable[float]) -> float:
    """exp of the mean log."""
    return exp(fmean(log(v) for v in values))


@dataclass(frozen=True, slots=True)
class Specification:
    """Constants for devices known by their bandwidth only."""

    efficiency: float
    ops_per_byte: float


def _sheet(devices: Mapping[str, Device], name: str) -> float | None:
    known = devices.get(name)
    bandwidth = known.bandwidth_bytes_per_s if known else None
    return bandwidth.value if bandwidth else None


def fit_specification(rows: Sequence[Row], devices: Mapping[str, Device]) -> Specification:
    """Share of its bandwidth a device reaches, and prefill operations per byte it reaches."""
    groups = grouped(decode_rows(rows))
    shares, ratios = [], []
    for key, group in groups.items():
        sheet = _sheet(devices, key[0])
        rate = bytes_per_s(group, runtime_layer_seconds(groups, key[1]))
        prefill = [r.prefill_ops_per_s for r in prefill_rows(rows) if r.key == key]
        if sheet:
            shares.append(rate / sheet)
        if prefill:
            ratios.append(geometric_mean(prefill) / rate)
    return Specification(geometric_mean(shares), geometric_mean(ratios))


def held_out_devices(
    rows: Sequence[Row], devices: Mapping[str, Device]
) -> tuple[dict[str, list[float]], list[float]]:
    """Decode errors by device, and prefill errors: a device predicted from the others' rows and its sheet."""
    decode_errors: dict[str, list[float]] = {}
    prefill_errors: list[float] = []
    for name in dict.fromkeys(r.device for r in decode_rows(rows)):
        sheet = _sheet(devices, name)
        if sheet is None:
            continue
        others = [r for r in rows if r.device != name]
        groups = grouped(decode_rows(others))
        spec = fit_specification(others, devices)
        for row in (r for r in rows if r.device == name and r.work is not None):
            constants = Decode(runtime_layer_seconds(groups, row.runtime), spec.efficiency * sheet)
            if row.decode_tokens_per_s is not None:
                decode_errors.setdefault(name, []).append(constants.error(row))
            if row.prefill_tokens_per_s is not None:
                prefill_errors.append(log(spec.ops_per_byte * constants.bytes_per_s / row.prefill_ops_per_s))
    return decode_errors, prefill_errors
