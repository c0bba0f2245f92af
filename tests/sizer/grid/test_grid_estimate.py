"""estimate_grid(): whole numbers equal to estimate()'s and speeds to 1e-12, in every column and every row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sizer.architecture import Architecture, NormKind
from sizer.devices.catalogue import device, load_devices
from sizer.devices.device import Device
from sizer.devices.device_file import parse_file
from sizer.errors import InvalidArchitecture, InvalidQuantity, UnknownName
from sizer.formats.llamacpp import BASE_TYPES
from sizer.grid import Grid, GridEstimate, compute_buffer, estimate_grid, file_bytes_grid
from sizer.model_estimate import Estimate, estimate
from sizer.registry import model
from sizer.workload import Workload
from tests.sizer.test_llamacpp_graph import workloads
from tests.strategies import architectures, sharings

PARTS = ("total", "embedding", "attention", "mlp", "norm", "head")
M125 = model("MobileLLM-125M").architecture


@pytest.fixture(autouse=True, scope="module")
def _columns_are_allocated() -> Iterator[None]:
    """With few rows all would be calculated one by one, and the columns not be tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compute_buffer, "_FEW", 0)
        yield


def integers(found: GridEstimate, row: int) -> dict[str, int | bool | None]:
    """All whole numbers of one row."""
    p = found.parameters
    columns = {
        **{f"{part} weights": getattr(p, part) for part in PARTS},
        "stored weights": found.stored_weights,
        "tensors": found.tensor_bytes,
        "file": found.file_bytes,
        "cache": found.kv_cache_bytes,
        "compute": found.compute_bytes,
        "output": found.output_bytes,
        "overhead": found.overhead_bytes,
        "memory": found.total_bytes,
    }
    fits = found.fits
    return {**{n: int(c[row]) for n, c in columns.items()}, "fits": None if fits is None else bool(fits[row])}


def expected(one: Estimate) -> dict[str, int | bool | None]:
    """The same of an estimate."""
    p, m = one.parameters, one.memory
    return {
        **{f"{part} weights": getattr(p, part) for part in PARTS},
        "stored weights": one.weights.stored_weights if one.weights else 0,
        "tensors": one.file.tensor_bytes,
        "file": one.file.total,
        "cache": m.kv_cache_bytes,
        "compute": m.compute_bytes,
        "output": m.output_bytes,
        "overhead": m.overhead_bytes,
        "memory": m.total_bytes,
        "fits": m.fits,
    }


def assert_same(found: GridEstimate, row: int) -> None:
    """Every figure of a row is estimate()'s."""
    one = estimate(
        architecture=found.grid.architecture(row),
        format=found.format,
        runtime=found.runtime,
        workload=found.workload,
        device=found.device,
    )
    assert integers(found, row) == expected(one), one.architecture
    assert found.bits_per_weight[row] == pytest.approx(one.bits_per_weight, rel=1e-12)
    # a grid's speeds are those of a model in memory, whether it fits or not
    if one.memory.fits is not False:
        assert (found.latency is None) == (one.latency is None)
    if found.latency is None or one.latency is None:
        return
    for phase in ("prefill", "decode"):
        figure = getattr(one.latency, f"{phase}_tokens_per_s")
        for end, value in (("", figure.value), ("low_", figure.low), ("high_", figure.high)):
            column = getattr(found.latency, f"{phase}_{end}tokens_per_s")
            assert column[row] == pytest.approx(value, rel=1e-12)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Up to ten rows of one kind: sizes of every divisibility, shared blocks, the 70B class's 80 layers."""
    like = replace(draw(architectures()), shared_mlp=False)
    if draw(st.booleans()):  # as often as all other kinds: the one whose graph is followed
        like = replace(M125, qk_norm=like.qk_norm, qkv_bias=like.qkv_bias, mlp_bias=like.mlp_bias)
    rows = draw(st.integers(1, 10))

    def column(values: st.SearchStrategy[int]) -> list[int]:
        return draw(st.lists(values, min_size=rows, max_size=rows))

    widths = st.one_of(
        st.integers(1, 16).map(lambda n: 256 * n),
        st.integers(1, 100).map(lambda n: 32 * n),
        st.integers(1, 3000),
    )
    kv_heads = column(st.integers(1, 6))
    layers = column(st.one_of(st.integers(1, 14), st.sampled_from([20, 40, 80])))
    return Grid.build(
        like,
        num_layers=layers,
        hidden_size=column(widths),
        intermediate_size=column(widths),
        num_heads=[k * g for k, g in zip(kv_heads, column(st.integers(1, 6)), strict=True)],
        num_kv_heads=kv_heads,
        head_dim=column(st.sampled_from([32, 64, 96, 128, 256])),
        vocab_size=column(st.one_of(st.integers(1, 70_000), st.sampled_from([32_000, 49_152, 128_256]))),
        tie_embeddings=draw(st.lists(st.booleans(), min_size=rows, max_size=rows)),
        sharing=[draw(sharings(number)) for number in layers],
    )


DEVICES = st.one_of(st.none(), st.sampled_from(sorted(load_devices())).map(device))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(grids(), st.sampled_from(sorted(BASE_TYPES)), workloads(), DEVICES)
def test_every_row_is_what_estimate_says(grid: Grid, name: str, load: Workload, where: Device | None) -> None:
    found = estimate_grid(grid, format=name, workload=load, device=where)
    for row in range(len(grid)):
        assert_same(found, row)
    assert (file_bytes_grid(grid, format=name) == found.file_bytes).all()
    exact = file_bytes_grid(grid, format=name, metadata_bytes=5471)
    for row in range(len(grid)):
        sized = estimate(architecture=grid.architecture(row), format=name, metadata_bytes=5471)
        assert exact[row] == sized.file.total
        assert exact[row] % 32 == 0


@pytest.mark.parametrize("name", sorted(BASE_TYPES))
def test_every_mix_at_every_depth_and_divisibility(name: str) -> None:
    grid = Grid.product(
        replace(M125, qk_norm=True),
        num_layers=[1, 2, 3, 4, 7, 8, 11, 15, 16, 17, 30, 80, 112],
        hidden_size=[576, 768, 100],
        intermediate_size=[1536, 1000],
        num_heads=[8, 3],
        num_kv_heads=[8, 4, 2, 1],
        tie_embeddings=[True, False],
    )
    found = estimate_grid(grid, format=name, device=device("raspberry-pi-5"))
    for row in np.random.default_rng(len(name)).choice(len(grid), 25, replace=False):
        assert_same(found, int(row))


def test_more_rows_than_a_chunk() -> None:
    grid = Grid.product(M125, num_layers=np.arange(1, 41), hidden_size=np.arange(64, 64 + 32 * 450, 32))
    assert len(grid) == 18_000
    found = estimate_grid(grid, format="Q4_K_M")
    for row in (0, 16_383, 16_384, 17_999):
        assert_same(found, row)


def test_mobilellm_125m_is_what_llama_quantize_made() -> None:
    found = estimate_grid(Grid.build(M125), format="q4_k_m", device=device("raspberry-pi-5"))
    assert found.tensor_bytes.tolist() == [93_171_456]  # oracle_llama_quantize.jsonl
    assert found.parameters.total.tolist() == [124_635_456]  # arXiv 2402.14905


def test_tensors_too_large_for_float64_are_calculated_as_whole_numbers() -> None:
    load = Workload(context_tokens=2**21, ubatch_tokens=2**20)
    grid = Grid.build(M125, num_layers=[2, 3, 30])
    found = estimate_grid(grid, format="Q8_0", workload=load)
    assert found.compute_bytes.min() > 2**41
    for row in range(3):
        assert_same(found, row)


def test_what_estimate_refuses_is_refused_with_its_words_and_the_row() -> None:
    grid = Grid.build(M125, head_dim=[64, 64, 40])
    estimate_grid(grid, format="Q4_0")
    with pytest.raises(InvalidQuantity, match=r"row 2: cache_type: Q8_0 needs head_dim .* got head_dim 40"):
        estimate_grid(grid, format="Q4_0", workload=Workload(cache_type="Q8_0"))
    with pytest.raises(UnknownName, match="Q4_X"):
        estimate_grid(grid, format="Q4_X")
    with pytest.raises(InvalidQuantity, match="no rows"):
        estimate_grid(Grid.build(M125, num_layers=np.zeros(0, np.int64)), format="Q4_0")
    huge = Grid.build(M125, num_layers=[1, 100], hidden_size=[1, 10**7], intermediate_size=10**7 // 2)
    with pytest.raises(InvalidArchitecture, match=r"row 1: 1.*e\+16 weights; a grid takes up to"):
        estimate_grid(huge, format="Q4_0")


def test_a_kind_without_norms_or_gate() -> None:
    like = replace(M125, norm=NormKind.NONE, mlp_bias=True)
    found = estimate_grid(Grid.build(like, num_layers=[1, 12]), format="Q6_K")
    assert_same(found, 1)
    assert found.parameters.norm.tolist() == [0, 0]


def _kinds() -> list[Architecture]:
    return [model(name).architecture for name in ("Llama-3.2-1B", "Qwen2.5-0.5B", "Qwen3-0.6B", "Llama-2-7B")]


@pytest.mark.parametrize("like", _kinds(), ids=lambda a: a.name)
def test_catalogue_models_as_grids_of_one(like: Architecture) -> None:
    assert_same(estimate_grid(Grid.build(like), format="Q4_K_M", device=device("raspberry-pi-5")), 0)


PRICED = """
[device]
name = "my-board"
title = "My board"
kind = "board"
[[profile]]
runtime = "llama.cpp"
source = "a test"
date = "2026-11-22"
seconds_fixed = 1e-3
seconds_per_layer = 1e-4
bytes_per_s = 1e10
kv_byte_cost = 1.5
bits_low = 4
bits_high = 9
decode_factor = 1.1
"""


def test_a_device_file_speaks_of_a_grid_as_of_one_shape_or_not_at_all() -> None:
    board = parse_file(PRICED, "my-board.toml")
    assert_same(estimate_grid(Grid.build(M125), format="Q4_K_M", device=board), 0)
    priced = parse_file(PRICED + "byte_cost = { Q5_0 = 1.4 }\n", "my-board.toml")
    with pytest.raises(InvalidQuantity, match="profile of .my-board. has byte_cost, costs that a grid"):
        estimate_grid(Grid.build(M125), format="Q4_K_M", device=priced)
    for cost in ("activation_element_s", "step_element_s"):
        priced = parse_file(PRICED + f"{cost} = 1e-9\n", "my-board.toml")
        with pytest.raises(InvalidQuantity, match=f"has {cost}, costs that a grid"):
            estimate_grid(Grid.build(M125), format="Q4_K_M", device=priced)
