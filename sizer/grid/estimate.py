"""estimate_grid(): the numbers of sizer.model_estimate.estimate() for every row of a grid at once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sizer.devices.backend import choose_backend
from sizer.devices.device import Device
from sizer.devices.usable_memory import most_budget_bytes
from sizer.errors import InvalidArchitecture, InvalidQuantity, SizerError, UnknownName
from sizer.formats.ggml import TYPES
from sizer.formats.gguf import ALIGNMENT
from sizer.grid.blueprint import Blueprint, blueprint, kind_of
from sizer.grid.columns import Floats, Grid, Ints
from sizer.grid.latency import GridLatency, GridWork, latency
from sizer.grid.llamacpp import (
    LlamaCppGrid,
    Sizes,
    Stored,
    compute_bytes,
    known_tokenizer_bytes,
    total_width,
)
from sizer.memory import cache_cells
from sizer.model_estimate import estimate
from sizer.runtimes import DEFAULT_RUNTIME, RUNTIME_NAMES
from sizer.runtimes import runtime as runtime_by_name
from sizer.runtimes.llamacpp import FLOAT_BYTES, PROCESS_BYTES, VOCABULARY_ENTRY_BYTES
from sizer.tensors import Group
from sizer.workload import Workload

# Rows whose columns fit together in a processor's cache.
_CHUNK = 16_384

# Ways to hold weights in which they take as many bytes as their tensors.
_WEIGHTS_AS_IN_THE_FILE = ("mapped", "loaded")

# Weights times layers times bytes of 256 weights must stay below 2**63.
_MOST_WEIGHTS = 2**50


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GridParameters:
    """Number of weights by part of the model, one for each row; parts sum to `total`."""

    embedding: Ints
    attention: Ints
    mlp: Ints
    norm: Ints
    head: Ints

    @property
    def total(self) -> Ints:
        """All weights, shared blocks and tied tables once."""
        return self.embedding + self.attention + self.mlp + self.norm + self.head


class ComputeBuffer:
    """llama.cpp's compute buffer for every row, worked out when it is first asked for.

    It takes longer than all other columns together: narrow a grid down by these first.
    """

    def __init__(self, grid: Grid, workload: Workload) -> None:
        self.grid = grid
        self.workload = workload

    @cached_property
    def bytes(self) -> Ints:
        """Bytes for each row."""
        return compute_bytes(self.grid, _sizes(self.grid), self.workload)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GridEstimate:
    """Results of estimate() for each row, as columns; see Estimate, FileBytes, MemoryBreakdown, Latency."""

    grid: Grid
    format: str
    runtime: str
    workload: Workload
    device: Device | None
    parameters: GridParameters
    stored_weights: Ints
    tensor_bytes: Ints
    file_bytes: Ints
    kv_cache_bytes: Ints
    compute_buffer: ComputeBuffer
    output_bytes: Ints
    overhead_bytes: Ints
    latency: GridLatency | None

    @property
    def compute_bytes(self) -> Ints:
        """Bytes of the compute buffer; this, `total_bytes` or `fits` takes long where first asked for."""
        return self.compute_buffer.bytes

    @property
    def bits_per_weight(self) -> Floats:
        """Bits of tensor data per weight in the file, norms and embeddings included."""
        return 8 * self.tensor_bytes / self.stored_weights

    @property
    def total_bytes(self) -> Ints:
        """Bytes of memory of all parts; mapped weights count as held."""
        parts = (self.kv_cache_bytes, self.compute_bytes, self.output_bytes, self.overhead_bytes)
        return sum(parts, start=self.tensor_bytes)

    @property
    def _budget_bytes(self) -> int | None:
        if self.device is None:
            return None
        backend = choose_backend(self.device, runtime_by_name(self.runtime))
        return most_budget_bytes(self.device, backend)

    @property
    def fits(self) -> NDArray[np.bool_] | None:
        """True if each total is within the device's budget, with the RAM that holds it; None without one."""
        budget = self._budget_bytes
        return None if budget is None else self.total_bytes <= budget


def estimate_grid(
    grid: Grid,
    *,
    format: str,
    runtime: str = DEFAULT_RUNTIME,
    workload: Workload | None = None,
    device: Device | None = None,
) -> GridEstimate:
    """Return parameters, file bytes, memory bytes and speed of every row; integers equal estimate()'s.

    Raises what estimate() raises; InvalidArchitecture or InvalidQuantity name the first row they are about.
    """
    engine = runtime_by_name(runtime)
    if engine.why_no_grid is not None:
        known = [name for name in RUNTIME_NAMES if runtime_by_name(name).why_no_grid is None]
        raise UnknownName.of("runtime for a grid", runtime, known)
    format_name, load = engine.format_name(format), workload or Workload()
    if load.weights_in_memory not in _WEIGHTS_AS_IN_THE_FILE:
        raise UnknownName.of("weights_in_memory for a grid", load.weights_in_memory, _WEIGHTS_AS_IN_THE_FILE)
    _refuse_what_estimate_refuses(grid, format_name, load)
    weights = LlamaCppGrid(grid, format_name)
    plan = blueprint(kind_of(grid.like))
    chunks = []
    for start in range(0, len(grid), _CHUNK):
        some = slice(start, start + _CHUNK)
        part = grid.subset(some)
        sizes, tied, layers = _sizes(part), part.tie_embeddings, weights.layers[some]
        stored = weights.store(sizes, tied, some)
        vocabulary, block = sizes["vocab_size"], TYPES[load.cache_type]
        kv_bytes_per_token = 2 * layers * (sizes["kv_width"] // block.block_elements * block.block_bytes)
        found: dict[str, Any] = {
            **_parameters(plan, part, sizes),
            "stored_weights": stored.weights,
            "tensor_bytes": stored.tensor_bytes,
            "file_bytes": weights.file_bytes(stored, sizes, tied, some),
            "kv_cache_bytes": load.batch_size * cache_cells(load) * kv_bytes_per_token,
            "output_bytes": load.batch_size * FLOAT_BYTES * vocabulary,
            "overhead_bytes": PROCESS_BYTES + VOCABULARY_ENTRY_BYTES * vocabulary,
        }
        if device is not None:
            work = _work(stored, sizes, tied, layers)
            found |= latency(engine.name, format_name, device, load, work, kv_bytes_per_token)
        chunks.append(found)
    column = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    speeds = {f.name: column.pop(f.name) for f in fields(GridLatency) if f.name in column}
    parameters = {group.value: column.pop(group.value) for group in Group}
    return GridEstimate(
        grid=grid,
        format=format_name,
        runtime=engine.name,
        workload=load,
        device=device,
        parameters=GridParameters(**parameters),
        compute_buffer=ComputeBuffer(grid, load),
        latency=GridLatency(**speeds) if speeds else None,
        **column,
    )


def file_bytes_grid(grid: Grid, *, format: str, metadata_bytes: int | None = None) -> Ints:
    """Return bytes of each row's llama.cpp file, for the few hundred shapes of one search step.

    `metadata_bytes` are those of metadata and tokenizer, where they are known to the byte.
    """
    weights = LlamaCppGrid(grid, format)
    sizes, every = _sizes(grid), slice(0, len(grid))
    stored = weights.store(sizes, grid.tie_embeddings, every)
    size = weights.file_bytes(stored, sizes, grid.tie_embeddings, every)
    if metadata_bytes is None:
        return size
    # tensors are padded already: what is not whole is the header
    known: Ints = size - known_tokenizer_bytes(sizes["vocab_size"]) + metadata_bytes
    return known + (-known & (ALIGNMENT - 1))


def _refuse_what_estimate_refuses(grid: Grid, format_name: str, workload: Workload) -> None:
    """Raise the error that estimate() has for the first row that it would not take."""
    if not len(grid):
        raise InvalidQuantity("grid: it has no rows")
    bad = grid.head_dim % TYPES[workload.cache_type].block_elements != 0
    row = int(bad.argmax())  # where none is bad, the first stands for what all have in common
    try:
        estimate(architecture=grid.architecture(row), format=format_name, workload=workload)
    except SizerError as error:
        raise type(error)(f"row {row}: {error}") from None
    assert not bad[row]
    heads = 2.0 * (grid.num_heads + grid.num_kv_heads) * grid.head_dim
    block = grid.hidden_size * (heads + 3.0 * grid.intermediate_size)
    weights = grid.executed_layers * block + 2.0 * grid.vocab_size * grid.hidden_size
    if weights.max() > _MOST_WEIGHTS:
        row = int((weights > _MOST_WEIGHTS).argmax())
        raise InvalidArchitecture(f"row {row}: {weights[row]:.3g} weights; a grid takes up to 2**50")


def _sizes(grid: Grid) -> dict[str, Ints]:
    names = ("hidden_size", "intermediate_size", "num_heads", "head_dim", "vocab_size")
    return {
        **{name: getattr(grid, name) for name in names},
        "q_width": grid.num_heads * grid.head_dim,
        "kv_width": grid.num_kv_heads * grid.head_dim,
    }


def _parameters(plan: Blueprint, grid: Grid, sizes: Sizes) -> dict[str, Ints]:
    """Return the weights by group, shared blocks once."""
    table = sizes["vocab_size"] * sizes["hidden_size"]
    found = {}
    for group in Group:
        layer = total_width([v for v in plan.vectors if v.group is group], sizes)
        for matrix in plan.matrices:
            if matrix.role.group is group:
                layer += sizes[matrix.rows] * sizes[matrix.columns]
        outside = total_width([v for v in plan.outside if v.group is group], sizes)
        found[group.value] = grid.num_layers * layer + outside
    found["embedding"] += table
    found["head"] += np.where(grid.tie_embeddings, 0, table)
    return found


def _work(stored: Stored, sizes: Sizes, tied: NDArray[np.bool_], layers: Ints) -> GridWork:
    """Return what decoding reads and a prompt computes; blocks are stored as often as they run."""
    table = sizes["vocab_size"] * sizes["hidden_size"]
    one_row = stored.embedding_bytes / sizes["vocab_size"]
    step_bytes = np.subtract(
        stored.tensor_bytes, np.where(tied, 0.0, stored.embedding_bytes - one_row), dtype=np.float64
    )
    weights_read = stored.weights - np.where(tied, 0, table)
    return GridWork(
        executed_layers=layers,
        step_bytes=step_bytes,
        bits_per_weight=8 * step_bytes / weights_read,
        block_weights=layers * stored.layer_weights,
        head_weights=table,
        attention_ops_per_position=4 * layers * sizes["q_width"],
        kv_elements=2 * layers * sizes["kv_width"],
    )
