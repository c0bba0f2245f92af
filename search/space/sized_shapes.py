"""Architectures as columns with what they come to as deployed: by a grid for llama.cpp, else one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum, unique
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.quality.features import FeatureColumns
from search.space.shape_grid import NARROW, WIDE, Ints, ShapeDims, ShapeGrid
from search.stats.ridge import Floats
from sizer.architecture import Architecture
from sizer.budget import Limits
from sizer.devices.catalogue import device as device_by_name
from sizer.devices.device import Device
from sizer.grid import Grid, estimate_grid, file_bytes_grid
from sizer.model_estimate import Estimate, estimate
from sizer.quality.lengths import DEPLOYED_TOKENS, USUAL_TOKENS_PER_WEIGHT
from sizer.runtimes import DEFAULT_RUNTIME
from sizer.runtimes import runtime as runtime_by_name
from sizer.workload import Workload

Bools = NDArray[np.bool_]


@unique
class Rank(StrEnum):
    """How shapes, ordered by the law, are shown: by loss relative to the best, or with accuracies."""

    LAW = "law"
    QUALITY = "quality"


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignQuery:
    """What is asked: a budget, and what a model is deployed with. Names are those of the catalogue."""

    budget: Limits
    formats: tuple[str, ...] = ("Q4_K_M",)
    runtime: str = DEFAULT_RUNTIME
    device: str | None = None
    context_tokens: int = 2048
    vocab_size: int = 32000
    tie_embeddings: bool = True
    rank: Rank = Rank.LAW
    training_tokens: float | None = DEPLOYED_TOKENS  # None: 20 for each weight

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
        """True if a grid can size the shapes for this runtime."""
        return runtime_by_name(self.runtime).why_no_grid is None

    def size(self, architecture: Architecture, format: str) -> Estimate:
        """Return the estimate of one architecture as asked."""
        return estimate(
            architecture=architecture,
            format=format,
            runtime=self.runtime,
            workload=self.workload,
            device=self.known_device,
            max_memory_bytes=self.budget.max_memory_bytes,
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

    def select(self, some: Bools | Ints) -> SizedShapes:
        """Return some of them."""
        columns = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "grid"}
        found: dict[str, Any] = {k: None if v is None else v[some] for k, v in columns.items()}
        return SizedShapes(grid=self.grid.subset(some), **found)

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
            experts=ones,
            embedding_ratio=ones,
            bits_per_weight=self.bits_per_weight,
            parameters=self.parameters.astype(np.float64),
            tokens=np.asarray(USUAL_TOKENS_PER_WEIGHT * self.parameters, np.float64),
        )


def joined(parts: Sequence[SizedShapes]) -> SizedShapes:
    """Return all shapes of several parts; all have a speed or none has."""
    first = parts[0].grid
    names = ("num_layers", *ShapeDims._fields)
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part.grid, name) for part in parts]) for name in names
    }
    speeds = [part.decode_tokens_per_s for part in parts]
    known = [speed for speed in speeds if speed is not None]
    return SizedShapes(
        grid=Grid.build(first.like, **columns),
        format=np.concatenate([part.format for part in parts]),
        file_bytes=np.concatenate([part.file_bytes for part in parts]),
        memory_bytes=np.concatenate([part.memory_bytes for part in parts]),
        parameters=np.concatenate([part.parameters for part in parts]),
        bits_per_weight=np.concatenate([part.bits_per_weight for part in parts]),
        decode_tokens_per_s=np.concatenate(known) if len(known) == len(parts) else None,
    )


def sized(query: DesignQuery, grid: Grid, index: int) -> SizedShapes:
    """Return estimate()'s numbers of every row of a grid in one of the query's formats."""
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


def shape_grid(query: DesignQuery, format: str) -> ShapeGrid:
    """Return the shapes to size in a format: many if a grid sizes them, few if estimate() has to."""

    def files(grid: Grid) -> Ints:
        if query.by_grid:
            return file_bytes_grid(grid, format=format)
        return _files_by_two_layers(query, grid, format)

    return ShapeGrid(
        vocab_size=query.vocab_size,
        tied=query.tie_embeddings,
        files=files,
        extent=WIDE if query.by_grid else NARROW,
    )


def _files_by_two_layers(query: DesignQuery, grid: Grid, format: str) -> Ints:
    """Return file bytes as if every layer took as much as the second: near enough to choose what to size."""
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
