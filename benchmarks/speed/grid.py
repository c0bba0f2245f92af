"""Estimates per second of estimate() and of a grid, side by side: `benchmarks/speed/grid.py [ROWS]`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from sizer.architecture import Architecture
from sizer.devices.catalogue import device
from sizer.grid import Grid, estimate_grid
from sizer.model_estimate import estimate
from sizer.registry import model
from sizer.workload import Workload

LIKE = model("MobileLLM-125M").architecture
DEVICE = device("raspberry-pi-5")


def cartesian(rows: int, seed: int) -> Grid:
    """Combinations of layers, widths, heads, KV heads and vocabularies as a search lists them (1,013,760)."""
    widths = 256 + 64 * np.arange(16) + 32 * seed  # a second grid has other sizes
    full = Grid.product(
        LIKE,
        num_layers=np.arange(1, 41),
        hidden_size=widths,
        intermediate_size=512 + 384 * np.arange(11) + 64 * seed,
        num_heads=[4, 6, 8, 9, 12, 16],
        num_kv_heads=[1, 2, 3, 4],
        head_dim=[64, 96 + 32 * seed],
        vocab_size=[32_000, 49_152 + 1000 * seed],
        tie_embeddings=[True, False],
    )
    return full.subset(slice(0, rows)) if rows < len(full) else full


def random(rows: int, seed: int) -> Grid:
    """Every number drawn by itself: nearly no two rows of one shape."""
    draw = np.random.default_rng(seed)
    kv_heads = draw.choice([1, 2, 3, 4, 5, 6, 8], rows)
    return Grid.build(
        LIKE,
        num_layers=draw.integers(1, 49, rows),
        hidden_size=draw.integers(2, 129, rows) * 32,
        intermediate_size=draw.integers(2, 400, rows) * 32,
        num_heads=kv_heads * draw.choice([1, 2, 3, 4, 6, 8], rows),
        num_kv_heads=kv_heads,
        head_dim=draw.choice([32, 48, 64, 80, 96, 128], rows),
        vocab_size=draw.integers(1000, 130_000, rows),
        tie_embeddings=draw.random(rows) < 0.5,
    )


def _rate(label: str, rows: int, work: Callable[[], object]) -> None:
    """Print rows per second of this work: of processor time, as machines are shared, and of the clock."""
    wall, cpu = perf_counter(), process_time()
    work()
    cpu, wall = process_time() - cpu, perf_counter() - wall
    print(f"{label:64} {rows / cpu:>12,.0f}/s of processor {rows / wall:>12,.0f}/s by the clock", flush=True)


def main(rows: int) -> None:
    """Both kinds of grid, each first in a process, then others; then estimate() on some of their rows."""
    for name, build in (("cartesian", cartesian), ("random", random)):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(_run_kind, name, build, rows).result()


def _run_kind(name: str, build: Callable[[int, int], Grid], rows: int) -> None:
    first, second = build(rows, 0), build(rows, 1)
    print(f"{name}: {len(first):,} rows")
    for label, grid in (("first", first), ("the same again", first), *[("another", second)] * 3):
        for workload in (Workload(), Workload(flash_attention=False)):
            attention = "flash attention" if workload.flash_attention else "no flash attention"
            _run_grid(f"  grid, {label}, {attention}", grid, workload)
    _rate("  building it", len(first), partial(build, rows, 0))
    few = np.random.default_rng(2).integers(0, len(first), 300)
    _rate("  estimate()", len(few), partial(_run_scalar, [first.architecture(int(row)) for row in few]))


def _run_grid(label: str, grid: Grid, workload: Workload) -> None:
    def whole() -> None:
        assert len(estimate_grid(grid, format="Q4_K_M", workload=workload, device=DEVICE).compute_bytes)

    _rate(f"{label}, with compute buffer", len(grid), whole)


def _run_scalar(architectures: list[Architecture]) -> None:
    for architecture in architectures:
        estimate(architecture=architecture, format="Q4_K_M", device=DEVICE)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_013_760)
