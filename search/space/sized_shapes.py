"""Architectures as columns with what they come to as deployed: by a grid for llama.cpp, else one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.law.ridge import Floats
from search.law.shapes import FeatureColumns
from search.space.lattice import NARROW, WIDE, Form, Ints, Lattice
from sizer.architecture import Architecture
from sizer.budget import Budget
from sizer.device import Device
from sizer.device import device as device_by_name
from sizer.estimate import Estimate, estimate
from sizer.grid import Grid, estimate_grid, file_bytes_grid
from sizer.runtimes import runtime as runtime_by_name
from sizer.runtimes.llamacpp import LlamaCpp
from sizer.workload import Workload

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignQuery:
    """What is asked: a budget, and what a model is deployed with. Names are those of the catalogue."""

    budget: Budget
    formats: tuple[str, ...] = ("Q4_K_M",)
    runtime: str = "llama.cpp"
    device: str | None = None
    context_tokens: int = 2048
    vocab_size: int = 32000
    tie_embeddings: bool = True

    @property
    def known_device(self) -> Device | None:
        """The device asked for."""
        return device_by_name(self.device) if self.device is not None else None

    @property
    def workload(self) -> Workload:
        """The usual prompt and answer in the context asked for."""
        return Workload.within(self.context_tokens, runtime_by_name(self.runtime).cache_types[0])

    @property
    def by_grid(self) -> bool:
        """Whether a grid sizes the shapes: it knows llama.cpp only."""
        return isinstance(runtime_by_name(self.runtime), LlamaCpp)

    def size(self, architecture: Architecture, format: str) -> Estimate:
        """The estimate of one architecture as asked."""
        return estimate(
            architecture=architecture,
            format=format,
            runtime=self.runtime,
            workload=self.workload,
            device=self.known_device,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SizedShapes:
    """Architectures as columns, and what they come to as deployed; made by `sized`."""

    grid: Grid
    format: NDArray[np.int64]  # index into the query's formats
    file_bytes: Ints
    memory_bytes: Ints
    parameters: Ints
    bits_per_weight: Floats
    decode_tokens_per_s: Floats | None  # None: no device, or nothing is known of its speed

    def __len__(self) -> int:
        return len(self.file_bytes)

    def those(self, some: Bools | Ints) -> SizedShapes:
        """Some of them."""
        columns = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "grid"}
        found: dict[str, Any] = {k: None if v is None else v[some] for k, v in columns.items()}
        return SizedShapes(grid=self.grid.rows(some), **found)

    @property
    def features(self) -> FeatureColumns:
        """What the law sees of them."""
        g = self.grid
        ones = np.ones(len(self))
        return FeatureColumns(
            depth=g.executed_layers.astype(np.float64),
            width=g.hidden_size.astype(np.float64),
            head_dim=g.head_dim.astype(np.float64),
            kv_ratio=g.num_kv_heads / g.num_heads,
            ffn_ratio=g.intermediate_size / g.hidden_size,
            sharing=ones,
            embedding_ratio=ones,
            bits_per_weight=self.bits_per_weight,
            parameters=self.parameters.astype(np.float64),
        )


def joined(parts: Sequence[SizedShapes]) -> SizedShapes:
    """All shapes of several parts; all have a speed or none has."""
    first = parts[0].grid
    names = ("num_layers", *Form._fields)
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part.grid, name) for part in parts]) for name in names
    }
    speeds = [part.decode_tokens_per_s for part in parts]
    known = [speed for speed in speeds if speed is not None]
    return SizedShapes(
        grid=Grid.of(first.like, **columns),
        format=np.concatenate([part.format for part in parts]),
        file_bytes=np.concatenate([part.file_bytes for part in parts]),
        memory_bytes=np.concatenate([part.memory_bytes for part in parts]),
        parameters=np.concatenate([part.parameters for part in parts]),
        bits_per_weight=np.concatenate([part.bits_per_weight for part in parts]),
        decode_tokens_per_s=np.concatenate(known) if len(known) == len(parts) else None,
    )


def sized(query: DesignQuery, grid: Grid, index: int) -> SizedShapes:
    """What every row of a grid comes to in one of the query's formats: the numbers of estimate()."""
    number = np.full(len(grid), index, np.int64)
    if not query.by_grid:
        return _one_by_one(query, grid, number)
    found = estimate_grid(
        grid, format=query.formats[index], workload=query.workload, device=query.known_device
    )
    return SizedShapes(
        grid=grid,
        format=number,
        file_bytes=found.file_bytes,
        memory_bytes=found.total_bytes,
        parameters=found.parameters.total,
        bits_per_weight=found.bits_per_weight,
        decode_tokens_per_s=found.latency.decode_tokens_per_s if found.latency else None,
    )


def _one_by_one(query: DesignQuery, grid: Grid, number: Ints) -> SizedShapes:
    format = query.formats[int(number[0])]
    all_sized = [query.size(grid.architecture(row), format) for row in range(len(grid))]
    speeds = [e.latency.decode_tokens_per_s.value for e in all_sized if e.latency]
    return SizedShapes(
        grid=grid,
        format=number,
        file_bytes=np.array([e.file.total for e in all_sized], np.int64),
        memory_bytes=np.array([e.memory.total_bytes for e in all_sized], np.int64),
        parameters=np.array([e.parameters.total for e in all_sized], np.int64),
        bits_per_weight=np.array([e.bits_per_weight for e in all_sized]),
        decode_tokens_per_s=np.array(speeds) if len(speeds) == len(grid) else None,
    )


def lattice(query: DesignQuery, format: str) -> Lattice:
    """Where shapes in a format are taken from: many if a grid sizes them, few if estimate() has to."""

    def files(grid: Grid) -> Ints:
        if query.by_grid:
            return file_bytes_grid(grid, format=format)
        return _files_by_two_layers(query, grid, format)

    return Lattice(
        vocab_size=query.vocab_size,
        tied=query.tie_embeddings,
        files=files,
        extent=WIDE if query.by_grid else NARROW,
    )


def _files_by_two_layers(query: DesignQuery, grid: Grid, format: str) -> Ints:
    """File bytes as if every layer took as much as the second: near enough to choose what to size."""
    engine = runtime_by_name(query.runtime)
    forms = np.column_stack(
        [grid.hidden_size, grid.intermediate_size, grid.num_heads, grid.num_kv_heads, grid.head_dim]
    )
    _, first, member = np.unique(forms, axis=0, return_index=True, return_inverse=True)
    files = []
    for row in first:
        shapes = [replace(grid.architecture(int(row)), num_layers=layers) for layers in (1, 2)]
        files.append([engine.file_bytes(s, engine.store(s, format)).total for s in shapes])
    one, two = np.array(files, np.int64).T[:, member.reshape(-1)]
    result: Ints = one + (grid.num_layers - 1) * (two - one)
    return result
