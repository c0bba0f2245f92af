"""A grid against estimate() in the same run, on one core: processor time, as the machine may be shared."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import process_time

import numpy as np
import pytest

from sizer.architecture import Architecture
from sizer.devices.catalogue import device
from sizer.grid import Grid, estimate_grid
from sizer.model_estimate import estimate
from sizer.registry import model

M125 = model("MobileLLM-125M").architecture
PI5 = device("raspberry-pi-5")


def _seconds(work: Callable[[], object]) -> float:
    start = process_time()
    work()
    return process_time() - start


@pytest.mark.timing
def test_random_shapes_are_hundreds_of_times_as_fast_as_estimate() -> None:
    draw, rows = np.random.default_rng(0), 200_000
    kv_heads = draw.integers(1, 9, rows)
    grid = Grid.build(
        M125,
        num_layers=draw.integers(1, 49, rows),
        hidden_size=draw.integers(2, 129, rows) * 32,
        intermediate_size=draw.integers(2, 400, rows) * 32,
        num_heads=kv_heads * draw.integers(1, 9, rows),
        num_kv_heads=kv_heads,
        vocab_size=draw.integers(1000, 130_000, rows),
    )
    assert _times_as_fast_as_estimate(grid) > 200  # a million rows a second are 200 times 5,000 estimates


@pytest.mark.timing
def test_a_product_of_choices_is_hundreds_of_times_as_fast_as_estimate() -> None:
    grid = Grid.product(
        M125,
        num_layers=np.arange(1, 41),
        hidden_size=np.arange(256, 1280, 128),
        intermediate_size=np.arange(512, 4608, 512),
        num_heads=[4, 6, 8, 9, 12, 16],
        num_kv_heads=[1, 2, 3, 4],
        tie_embeddings=[True, False],
    )
    assert len(grid) > 90_000
    assert _times_as_fast_as_estimate(grid) > 200  # a million rows a second are 200 times 5,000 estimates


def _times_as_fast_as_estimate(grid: Grid) -> float:
    """Seconds of estimate() for a row over seconds of the whole grid for a row, in turn."""
    some = [grid.architecture(int(row)) for row in np.random.default_rng(0).integers(0, len(grid), 300)]

    def whole() -> None:
        assert estimate_grid(grid, format="Q4_K_M", device=PI5).total_bytes.min() > 0

    def one_by_one(shapes: list[Architecture]) -> None:
        for shape in shapes:
            estimate(architecture=shape, format="Q4_K_M", device=PI5)

    together, alone = [], []
    for start in (0, 100, 200):
        alone.append(_seconds(partial(one_by_one, some[start : start + 100])))
        together.append(_seconds(whole))
    return (min(alone) / 100) / (min(together) / len(grid))
