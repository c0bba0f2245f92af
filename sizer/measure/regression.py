"""Regression on measured speeds: rows, least absolute relative errors, errors of what was held out."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import ceil, exp, inf, log
from pathlib import Path
from statistics import fmean, median_low

from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.errors import InvalidFile
from sizer.formats.llamacpp import mix
from sizer.latency import Work, kind_of, work
from sizer.tensors import TensorSpec, tensor_specs
from sizer.workload import Workload

MEASUREMENTS = Path(__file__).parent.parent / "data" / "measurements.csv"

COVERAGE = 0.8  # what Prediction promises of [low, high]
# Constants from fewer rows, or from one or two models, would have no held-out error to speak of.
FITTED_ROWS, FITTED_MODELS = 5, 3
_CACHE_BYTES = 2  # F16, every engine's default here
_NORM_BYTES = 4
# Errors below this count alike: most speeds are printed with two or three digits.
_EXACT = 0.03

Key = tuple[str, str, str]  # device, runtime, backend


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured line: the work of its model and the printed rates (None where not printed)."""

    device: str
    runtime: str
    backend: str
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
    layer_s: float = (
        0.0  # cost of a layer from a fit over rows that are not here: of the device, or its engine
    )
    format: str = ""  # as printed, for a reader
    weights: int = 0

    @property
    def key(self) -> Key:
        """Device, runtime and backend."""
        return self.device, self.runtime, self.backend

    @property
    def engine(self) -> tuple[str, str]:
        """Runtime and kind of backend: what shares a decoding model."""
        return self.runtime, kind_of(self.backend)

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
    return _with_layers(rows)


def _with_layers(rows: Sequence[Row]) -> list[Row]:
    """Rows that know the published cost of a layer: their device's own, else the middle of their backend's.

    Of two in the middle the lower, as the devices without one are newer than those with.
    """
    own = {row.key: row.layer_s for row in rows if row.layer_s}
    found = []
    for row in rows:
        peers = [cost for key, cost in own.items() if key[1:] == row.key[1:]]
        found.append(replace(row, layer_s=own.get(row.key) or (median_low(peers) if peers else 0.0)))
    return found


def _number(text: str) -> float | None:
    return float(text) if text else None


def _row(cells: dict[str, str]) -> Row:
    model_work, kv_bytes, weights = None, 0.0, 0
    if cells["format"] or cells["block_bits"]:
        repeat = int(cells["repeat"] or 1)
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
            sharing=LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=repeat)
            if repeat > 1
            else LayerSharing(),
        )
        specs = tensor_specs(architecture)
        model_work = work(architecture, _sized(architecture, specs, cells))
        per_position = 2 * architecture.executed_layers * architecture.kv_width * _CACHE_BYTES
        kv_bytes = per_position * (_number(cells["depth_tokens"]) or 0)
        weights = sum(spec.num_elements for spec in specs)
    return Row(
        device=cells["device"],
        runtime=cells["runtime"],
        backend=cells["backend"] or "cpu",
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
        layer_s=_number(cells["layer_s"]) or 0.0,
        format=cells["format"] or f"{cells['block_bits']} bits",
        weights=weights,
    )


def _sized(
    architecture: Architecture, specs: tuple[TensorSpec, ...], cells: dict[str, str]
) -> list[tuple[TensorSpec, float, str]]:
    if cells["format"]:
        stored = mix(cells["format"]).assign(architecture, specs)
        return [(t.spec, t.num_bytes, t.type.name) for t in stored]
    block, head = float(cells["block_bits"]), float(cells["head_bits"])
    sized: list[tuple[TensorSpec, float, str]] = []
    for spec in specs:
        bits = 8 * _NORM_BYTES if len(spec.shape) == 1 else head if spec.layer is None else block
        sized.append((spec, spec.num_elements * bits / 8, f"{bits:g} bits"))
    return sized


Groups = Mapping[Key, Sequence[Row]]


def grouped(rows: Iterable[Row]) -> dict[Key, list[Row]]:
    """Rows by device, runtime and backend, in the file's order."""
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.key, []).append(row)
    return groups


def decode_rows(rows: Iterable[Row]) -> list[Row]:
    """Rows with a decoding speed and known bytes."""
    return [r for r in rows if r.work is not None and r.decode_tokens_per_s is not None]


def prefill_rows(rows: Iterable[Row]) -> list[Row]:
    """Rows with a prefill speed and known shapes."""
    return [r for r in rows if r.work is not None and r.prefill_tokens_per_s is not None]


def enough(rows: Sequence[Row]) -> bool:
    """Whether there are rows and models enough for constants and a range of their own."""
    return len(rows) >= FITTED_ROWS and len({r.model for r in rows}) >= FITTED_MODELS


def _work(row: Row) -> Work:
    assert row.work is not None
    return row.work


# llama.cpp falls back on these where a row does not divide by 256 (github ggml-org/llama.cpp llama-quant.cpp)
_FALLBACKS: tuple[str, ...] = ("Q4_0", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL")

# What one step may cost: a constant each, seconds per unit.
FEATURES: Mapping[str, Callable[[Row], float]] = {
    "bytes": lambda row: row.decode_bytes,
    "layers": lambda row: _work(row).executed_layers,
    "fixed": lambda _: 1.0,
    "float_bytes": lambda row: _work(row).float_bytes,
    "kv": lambda row: _work(row).kv_elements,
    "float_kv": lambda row: _work(row).kv_elements if _work(row).is_float else 0.0,
    "fallback_bytes": lambda row: sum((b for name, b in _work(row).bytes_by_type if name in _FALLBACKS), 0.0),
}

Costs = Mapping[str, float]  # seconds per unit by feature


def predicted_seconds(costs: Costs, row: Row) -> float:
    """Seconds a step takes."""
    return sum(cost * FEATURES[name](row) for name, cost in costs.items())


def error(costs: Costs, row: Row) -> float:
    """log(predicted / measured) tokens per second."""
    assert row.decode_tokens_per_s is not None
    return -log(predicted_seconds(costs, row) * row.decode_tokens_per_s)


def fit_costs(rows: Sequence[Row], features: Sequence[str], layer_s: float | None = None) -> Costs:
    """Costs of the features, none negative, with the least sum of absolute relative errors.

    `layer_s` is the cost of a layer where it is known from elsewhere; "layers" is then no feature.
    """
    table: list[list[float]] = []
    targets: list[float] = []
    for row in rows:
        assert row.decode_tokens_per_s is not None
        rate = row.decode_tokens_per_s
        table.append([FEATURES[name](row) * rate for name in features])
        # layers may take all the time but a tenth
        targets.append(max(1 - (layer_s or 0.0) * _work(row).executed_layers * rate, 0.1))
    weights = [1.0] * len(rows)
    costs: list[float] = []
    for _ in range(25):  # reweighted least squares come to least absolute errors
        before, costs = costs, _least_squares(table, targets, weights)
        if before and all(abs(new - old) <= 1e-5 * old for new, old in zip(costs, before, strict=True)):
            break
        misses = [
            abs(sum(c * x for c, x in zip(costs, cells, strict=True)) - target)
            for cells, target in zip(table, targets, strict=True)
        ]
        weights = [1 / max(miss, _EXACT) for miss in misses]
    found = dict(zip(features, costs, strict=True))
    return found if layer_s is None else {**found, "layers": layer_s}


def _least_squares(
    table: Sequence[Sequence[float]], targets: Sequence[float], weights: Sequence[float]
) -> list[float]:
    """Weighted least squares with no negative coefficient: the best of all subsets, which are few."""
    count = len(table[0])
    scale = [max(abs(cells[j]) for cells in table) or 1.0 for j in range(count)]
    scaled = [[cells[j] / scale[j] for j in range(count)] for cells in table]
    best, best_error = [0.0] * count, inf
    for size in range(1, count + 1):
        for chosen in combinations(range(count), size):
            solution = _solve(scaled, targets, weights, chosen)
            if solution is None or min(solution) < 0:
                continue
            squares = 0.0
            for cells, target, weight in zip(scaled, targets, weights, strict=True):
                miss = sum(s * cells[j] for s, j in zip(solution, chosen, strict=True)) - target
                squares += weight * miss * miss
            if squares < best_error * (1 - 1e-12):
                best_error = squares
                best = [0.0] * count
                for s, j in zip(solution, chosen, strict=True):
                    best[j] = s / scale[j]
    return best


def _solve(
    table: Sequence[Sequence[float]],
    targets: Sequence[float],
    weights: Sequence[float],
    chosen: Sequence[int],
) -> list[float] | None:
    """Normal equations of some columns by Gaussian elimination; None where they say the same twice."""
    size = len(chosen)
    rows = [
        [sum(w * cells[i] * cells[j] for cells, w in zip(table, weights, strict=True)) for j in chosen]
        + [sum(w * cells[i] * t for cells, t, w in zip(table, targets, weights, strict=True))]
        for i in chosen
    ]
    for step in range(size):
        pivot = max(range(step, size), key=lambda k: abs(rows[k][step]))
        if abs(rows[pivot][step]) < 1e-9 * max(weights):
            return None
        rows[step], rows[pivot] = rows[pivot], rows[step]
        for k in range(step + 1, size):
            factor = rows[k][step] / rows[step][step]
            rows[k] = [a - factor * b for a, b in zip(rows[k], rows[step], strict=True)]
    solution = [0.0] * size
    for step in reversed(range(size)):
        rest = sum(rows[step][k] * solution[k] for k in range(step + 1, size))
        solution[step] = (rows[step][size] - rest) / rows[step][step]
    return solution


def shared_layer_seconds(groups: Iterable[Sequence[Row]]) -> float:
    """Seconds per executed layer with the least squared relative error, each group with its own bandwidth."""
    top = bottom = 0.0
    for rows in groups:
        uu = uv = vv = u1 = v1 = 0.0
        for row in rows:
            assert row.decode_tokens_per_s is not None
            u = _work(row).executed_layers * row.decode_tokens_per_s
            v = row.decode_bytes * row.decode_tokens_per_s
            uu, uv, vv, u1, v1 = uu + u * u, uv + u * v, vv + v * v, u1 + u, v1 + v
        # the group's bandwidth is eliminated from its normal equations
        top += u1 - uv * v1 / vv
        bottom += uu - uv * uv / vv
    return max(0.0, top / bottom) if bottom > 1e-12 else 0.0


def engine_layer_seconds(groups: Groups, engine: tuple[str, str]) -> float:
    """Cost of a layer over a runtime's devices of a kind; over all of that kind where those say nothing."""
    kind = [rows for rows in groups.values() if rows and rows[0].engine[1] == engine[1]]
    own = [rows for rows in kind if rows[0].engine == engine]
    for some in ([r for r in own if enough(r)], own, [r for r in kind if enough(r)], kind):
        if (found := shared_layer_seconds(some)) > 0:
            return found
    return 0.0


def conformal(errors: Sequence[float], coverage: float = COVERAGE) -> float:
    """Factor spanning the ceil((n+1) x coverage)-th smallest absolute log error, at most the largest."""
    ordered = sorted(abs(e) for e in errors)
    rank = min(ceil((len(ordered) + 1) * coverage - 1e-9), len(ordered))
    return exp(ordered[rank - 1])


def conformal_of_groups(errors: Iterable[Sequence[float]], coverage: float = COVERAGE) -> float:
    """The same where errors of a group come together: each group counts as one, however many rows it has."""
    groups = [found for found in errors if found]
    weighted = sorted((abs(e), 1 / len(found)) for found in groups for e in found)
    wanted = min((len(groups) + 1) * coverage, len(groups)) - 1e-9
    reached = 0.0
    for size, weight in weighted:
        reached += weight
        if reached >= wanted:
            return exp(size)
    return exp(weighted[-1][0])


def mape(errors: Iterable[float]) -> float:
    """Mean absolute relative error of speeds from log errors."""
    return fmean(abs(exp(e) - 1) for e in errors)


def geometric_mean(values: Iterable[float]) -> float:
    """exp of the mean log."""
    return exp(fmean(log(v) for v in values))
