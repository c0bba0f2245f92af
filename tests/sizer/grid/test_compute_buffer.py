"""The compute buffer of columns: in every row what llama.cpp's allocator gives one shape."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sizer.architecture import Architecture
from sizer.grid import Grid, compute_buffer, estimate_grid
from sizer.grid.columns import Ints
from sizer.grid.distinct import distinct
from sizer.registry import model
from sizer.runtimes.llamacpp import compute_buffer_bytes
from sizer.workload import Workload

M125 = model("MobileLLM-125M").architecture
QWEN = model("Qwen2.5-0.5B").architecture  # biases
WORKLOADS = {
    "flash": Workload(),
    "no flash": Workload(flash_attention=False, context_tokens=640),
    "rotated": Workload(cache_type="Q8_0"),
    "copies": Workload(cache_type="F32", ubatch_tokens=100, batch_size=3),
    "padded": Workload(context_tokens=300, ubatch_tokens=7),
}


def _random(like: Architecture, rows: int, seed: int) -> Grid:
    """Shapes that nearly all differ, of every order of their widths."""
    draw = np.random.default_rng(seed)
    kv_heads = draw.integers(1, 9, rows)
    return Grid.build(
        like,
        num_layers=draw.integers(1, 12, rows),
        hidden_size=draw.integers(1, 100, rows) * 32,
        intermediate_size=draw.integers(1, 250, rows) * 32,
        num_heads=kv_heads * draw.integers(1, 9, rows),
        num_kv_heads=kv_heads,
        head_dim=draw.choice([32, 64, 96, 128, 256], rows),
        vocab_size=draw.choice([50, 500, 2000, 32_000], rows),
    )


def _assert_rows_are_those_of_one(grid: Grid, load: Workload, found: Ints, rows: int = 300) -> None:
    for row in np.random.default_rng(1).integers(0, len(grid), rows):
        assert found[row] == compute_buffer_bytes(grid.architecture(int(row)), load), grid.architecture(
            int(row)
        )


@pytest.mark.parametrize("like", [M125, QWEN], ids=lambda a: a.name)
@pytest.mark.parametrize("load", WORKLOADS.values(), ids=WORKLOADS)
def test_random_shapes(like: Architecture, load: Workload) -> None:
    grid = _random(like, 20_000, 0)
    assert distinct([grid.hidden_size, grid.intermediate_size, grid.num_heads]) is None
    _assert_rows_are_those_of_one(grid, load, estimate_grid(grid, format="Q4_0", workload=load).compute_bytes)


@pytest.mark.parametrize("load", WORKLOADS.values(), ids=WORKLOADS)
def test_shapes_that_share_their_layers(load: Workload) -> None:
    grid = Grid.product(
        M125,
        num_layers=np.arange(1, 13),
        hidden_size=[64, 576, 1280],
        intermediate_size=[256, 1536, 3392],
        num_heads=[4, 9, 32],
        num_kv_heads=[1, 2, 4, 8],
        head_dim=[64, 80],
        vocab_size=np.arange(1, 12) * 900,
    )
    if load.cache_type == "Q8_0":  # does not divide heads of 80
        grid = grid.subset(grid.head_dim == 64)
    _assert_rows_are_those_of_one(grid, load, estimate_grid(grid, format="Q4_0", workload=load).compute_bytes)


def test_the_states_of_a_deep_model_recur() -> None:
    # "random-10" of the oracle, whose free ranges recur every second layer, at every depth
    like = replace(M125, hidden_size=1280, intermediate_size=3392, num_heads=32, num_kv_heads=8, head_dim=80)
    load = Workload(context_tokens=512, ubatch_tokens=128)
    grid = Grid.build(like, num_layers=[*range(1, 100), 9_999, 9_998], vocab_size=32_000)
    found = estimate_grid(grid, format="Q4_0", workload=load).compute_bytes
    assert [round(size / 2**20, 2) for size in found[[5, 6, -2]]] == [19.50, 16.88, 16.88]
    _assert_rows_are_those_of_one(grid, load, found)


def test_a_buffer_beyond_the_codes_is_allocated_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = _random(M125, 200, 3)
    expected = estimate_grid(grid, format="Q4_0").compute_bytes
    monkeypatch.setattr(compute_buffer, "MOST_UNITS", 20_000)
    alone: list[int] = []
    plain = compute_buffer._are_large

    def watched(*asked: object) -> np.ndarray:
        large = plain(*asked)  # type: ignore[arg-type]
        alone.extend(np.flatnonzero(large))
        return large

    monkeypatch.setattr(compute_buffer, "_are_large", watched)
    assert (estimate_grid(grid, format="Q4_0").compute_bytes == expected).all()
    assert 0 < len(alone) < 200


def test_distinct_rows() -> None:
    columns = [np.array([5, 0, 5, 7, 5, 0] * 10), np.array([1, 2, 1, 1, 0, 2] * 10)]
    found = distinct(columns)
    assert found is not None
    assert len(found.rows) == 4
    for column in columns:
        assert (column[found.rows][found.number] == column).all()
    assert distinct([np.arange(100)]) is None
    assert distinct([np.array([2**40] * 100)]) is None
