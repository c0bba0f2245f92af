"""A grid against estimate() in the same run, on one core: processor time, as the machine may be shared."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

import numpy as np
import pytest

from sizer.device import device
from sizer.estimate import estimate
from sizer.grid import Grid, estimate_grid
from sizer.registry import model

M125 = model("MobileLLM-125M").architecture
PI5 = device("raspberry-pi-5")


def _seconds(work: Callable[[], object]) -> float:
    start = process_time()
    work()
    return process_time() - start


@pytest.mark.timing
def test_a_known_kind_of_grid_is_hundreds_of_times_as_fast_as_estimate() -> None:
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

    def whole() -> None:
        assert estimate_grid(grid, format="Q4_K_M", device=PI5).total_bytes.min() > 0

    for _ in range(2):  # the first runs find the regions of the compute buffer
        whole()
    together = min(_seconds(whole) for _ in range(3))
    some = [grid.architecture(int(row)) for row in np.random.default_rng(0).integers(0, len(grid), 100)]
    alone = _seconds(lambda: [estimate(architecture=a, format="Q4_K_M", device=PI5) for a in some])
    assert (alone / len(some)) / (together / len(grid)) > 100
