"""Grid: products, rows as architectures, and the first bad row named in Architecture's own words."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.errors import InvalidArchitecture, InvalidQuantity
from sizer.grid import Grid
from sizer.registry import model

M125 = model("MobileLLM-125M").architecture
TWICE = LayerSharing(strategy=SharingStrategy.REVERSE, repeat=2)
MIDDLE = LayerSharing(strategy=SharingStrategy.MIDDLE, repeat=3, ends=2)


def test_a_product_is_every_combination_that_is_an_architecture() -> None:
    layers, heads, kv_heads, ties = (2, 6000), (6, 9), (2, 3, 4), (True, False)
    grid = Grid.product(
        M125,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        tie_embeddings=ties,
        sharing=(LayerSharing(), TWICE),
    )
    wanted: list[Architecture] = []
    for n, h, k, tie, sharing in product(layers, heads, kv_heads, ties, (LayerSharing(), TWICE)):
        if h % k == 0 and n * sharing.repeat <= 10_000:
            shape = replace(M125, num_layers=n, num_heads=h, num_kv_heads=k, tie_embeddings=tie)
            wanted.append(replace(shape, sharing=sharing))
    assert [grid.architecture(row) for row in range(len(grid))] == wanted
    assert grid.executed_layers.tolist() == [a.executed_layers for a in wanted]


def test_a_product_leaves_out_depths_without_a_middle() -> None:
    grid = Grid.product(M125, num_layers=(4, 5, 3333, 3336, 3337), sharing=(MIDDLE,))
    assert grid.num_layers.tolist() == [5, 3333, 3336]
    assert grid.executed_layers.tolist() == [7, 9991, 10_000]


def test_rows_of_a_grid_are_the_columns_given() -> None:
    grid = Grid.build(M125, num_layers=[3, 4], vocab_size=100, sharing=[TWICE, LayerSharing()])
    assert grid.architecture(0) == replace(M125, num_layers=3, vocab_size=100, sharing=TWICE)
    assert grid.architecture(1) == replace(M125, num_layers=4, vocab_size=100)
    assert len(Grid.build(M125)) == 1
    assert Grid.build(M125).architecture(0) == M125
    assert Grid.build(M125, num_layers=[3, 4]).subset(slice(1, 2)).num_layers.tolist() == [4]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"num_heads": [9, 8]}, "row 1: num_heads must be a multiple of num_kv_heads, got num_heads 8"),
        ({"head_dim": [64, 64, 63]}, "row 2: head_dim must be even for rotary positions, got 63"),
        ({"hidden_size": [0]}, "row 0: hidden_size must be a whole number from 1 to 10000000, got 0"),
        ({"num_kv_heads": [3, 0]}, "row 1: num_kv_heads must be a whole number"),
        ({"num_layers": [5, 10_001]}, "row 1: num_layers must be a whole number from 1 to 10000"),
        (
            {"num_layers": [5_000, 5_001], "sharing": TWICE},
            "row 1: num_layers x sharing.repeat must be at most",
        ),
        ({"num_layers": [5, 4], "sharing": MIDDLE}, "row 1: sharing.ends: 2 blocks at each end need"),
    ],
)
def test_the_first_row_that_is_no_architecture_is_named(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        Grid.build(M125, **columns)


def test_a_product_names_a_row_that_is_wrong_in_itself() -> None:
    with pytest.raises(InvalidArchitecture, match="row 1: num_kv_heads must be a whole number"):
        Grid.product(M125, num_kv_heads=[1, 0])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"hidden": [1]}, "grid: unknown column 'hidden'; known: num_layers, hidden_size"),
        ({"hidden_size": [1.5]}, "grid: hidden_size must be whole numbers, got float64"),
        ({"tie_embeddings": [1, 0]}, "grid: tie_embeddings must be true or false, got int64"),
        (
            {"hidden_size": [1, 2], "num_layers": [1, 2, 3]},
            r"grid: columns must be of one length, got \[2, 3\]",
        ),
        ({"hidden_size": np.ones((2, 2), int)}, "grid: columns must be of one length"),
    ],
)
def test_columns_that_are_none(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidQuantity, match=message):
        Grid.build(M125, **columns)


def test_kinds_whose_layers_differ_are_refused() -> None:
    with pytest.raises(InvalidArchitecture, match="grid: only Llama-shaped decoders, .* has conv_layers"):
        Grid.build(replace(M125, name="mine", conv_layers=(1,)))
    with pytest.raises(InvalidArchitecture, match="shared_mlp"):
        Grid.build(replace(M125, shared_mlp=True))
