"""Read data/measurements.csv: every row with the costs of its model, of its format and of a layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median_low

from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.calibration.format_costs import format_costs, with_format_costs
from sizer.calibration.measurement_cells import (
    MEASUREMENTS,
    backend_cell,
    format_cell,
    measurement_cells,
    number,
)
from sizer.calibration.regression import MeasurementRow
from sizer.devices.catalogue import load_devices
from sizer.devices.family import instruction_set
from sizer.devices.speed_model import cache_read_share, model_costs
from sizer.errors import InvalidFile
from sizer.formats.llamacpp import mix
from sizer.memory import kv_bytes_per_token
from sizer.runtimes import RUNTIME_NAMES, runtime
from sizer.tensors import TensorSpec, tensor_specs
from sizer.workload import Workload

# LiteRT-LM was called that before; engines without a runtime here keep their cache in 16 bits.
_FORMER_NAMES = {"litert": "litert-lm"}
_OTHER_CACHE_TYPE = "F16"
_NORM_BYTES = 4


def read_rows(path: Path = MEASUREMENTS) -> list[MeasurementRow]:
    """Read the rows of the measurements file; lines that start with # are comments."""
    rows = []
    for place, cells in enumerate(measurement_cells(path), start=1):
        try:
            rows.append(_row(cells))
        except (KeyError, ValueError) as error:
            raise InvalidFile(
                f"{path.name}: measurement {place} ({cells.get('model')}): {error!r}"
            ) from error
    rows = _with_layers(rows)
    return with_format_costs(rows, format_costs(rows))


def _with_layers(rows: Sequence[MeasurementRow]) -> list[MeasurementRow]:
    """Return the rows with a published cost of a layer: their device's, else their backend's low median.

    The low median, as devices without a published cost are newer than those with one.
    """
    own = {row.key: row.layer_s for row in rows if row.layer_s}
    found = []
    for row in rows:
        peers = [cost for key, cost in own.items() if key[1:] == row.key[1:]]
        found.append(replace(row, layer_s=own.get(row.key) or (median_low(peers) if peers else 0.0)))
    return found


def cache_type_of(runtime_name: str) -> str:
    """Return the type of an engine's cache by default, which measured rows are taken to have."""
    name = _FORMER_NAMES.get(runtime_name, runtime_name)
    return runtime(name).cache_types[0] if name in RUNTIME_NAMES else _OTHER_CACHE_TYPE


def _row(cells: dict[str, str]) -> MeasurementRow:
    costs, kv_bytes, weights = None, 0.0, 0
    backend = backend_cell(cells)
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
        costs = model_costs(architecture, _sized(architecture, specs, cells))
        per_position = kv_bytes_per_token(architecture, cache_type_of(cells["runtime"]))
        share = cache_read_share(cells["runtime"], backend)
        kv_bytes = share * per_position * (number(cells["depth_tokens"]) or 0)
        weights = sum(spec.num_elements for spec in specs)
    return MeasurementRow(
        device=cells["device"],
        runtime=cells["runtime"],
        backend=backend,
        model=cells["model"],
        costs=costs,
        kv_bytes=kv_bytes,
        prompt_tokens=int(cells["prompt_tokens"] or Workload().prompt_tokens),
        decode_tokens_per_s=number(cells["decode_tokens_per_s"]),
        prefill_tokens_per_s=number(cells["prefill_tokens_per_s"]),
        joules_per_token=number(cells["joules_per_token"]),
        load_s=float(cells["load_s"]) + float(cells["init_s"]) if cells["load_s"] else None,
        storage_read_bytes_per_s=number(cells["storage_read_bytes_per_s"]),
        source=cells["source"],
        layer_s=number(cells["layer_s"]) or 0.0,
        format=format_cell(cells),
        weights=weights,
        hot=cells["hot"] == "1",
        instructions=instruction_set(device, backend)
        if (device := load_devices().get(cells["device"])) is not None
        else backend,
        gpu_cores=float(cores[1]) if (cores := re.search(r"(\d+) GPU cores", cells["note"])) else None,
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
