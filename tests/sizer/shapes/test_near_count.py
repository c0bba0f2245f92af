"""architecture_near: the count it finds, the shape it prefers, what it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizer.advice import wasted_bits
from sizer.errors import NoFit
from sizer.registry import model
from sizer.request import EstimateRequest
from sizer.shapes.near_count import SHALLOW_AND_WIDE, architecture_near, nearest_divisor
from sizer.tensors import count_parameters, tensor_specs
from sizer.units import parse_count


def test_125m_deep_and_thin_is_the_mobilellm_shape() -> None:
    assert architecture_near(125_000_000) == model("MobileLLM-125M").architecture


@given(st.integers(10_000_000, 20_000_000_000))
def test_the_count_is_near_and_the_shape_deep(num_parameters: int) -> None:
    found = architecture_near(num_parameters)
    count = count_parameters(tensor_specs(found)).total
    assert count == pytest.approx(num_parameters, rel=0.03)
    assert 10 <= found.hidden_size / found.num_layers <= 45


@given(st.integers(50_000_000, 5_000_000_000))
def test_wide_is_shallower_than_deep(num_parameters: int) -> None:
    deep = architecture_near(num_parameters)
    wide = architecture_near(num_parameters, aspect=SHALLOW_AND_WIDE)
    assert wide.num_layers < deep.num_layers
    assert wide.hidden_size > deep.hidden_size


def test_a_count_below_the_vocabulary_is_refused_with_the_smallest_possible() -> None:
    with pytest.raises(
        NoFit, match=r"params: 1M is below the smallest decoder with vocab_size 32000 \(2.147M\)"
    ):
        architecture_near(1_000_000)


def test_a_byte_vocabulary_leaves_room_for_small_models() -> None:
    found = architecture_near(1_000_000, vocab_size=256)
    assert count_parameters(tensor_specs(found)).total == pytest.approx(1_000_000, rel=0.1)


@pytest.mark.parametrize(
    ("number", "target", "divisor"), [(9, 3, 3), (8, 8 / 3, 2), (13, 4, 13), (7, 2, 1), (1, 0.3, 1)]
)
def test_nearest_divisor(number: int, target: float, divisor: int) -> None:
    assert nearest_divisor(number, target) == divisor


@pytest.mark.parametrize("count", ["125M", "350M", "1B"])
def test_asked_for_by_count_and_bits_sizes_fill_the_formats_blocks(count: str) -> None:
    sized = EstimateRequest(params=count, bits=4).run().estimate
    a = sized.architecture
    assert a.hidden_size % 256 == a.intermediate_size % 256 == 0
    assert abs(sized.parameters.total / parse_count(count, "params") - 1) < 0.02
    # no block falls back to Q5_0 or Q8_0, as llama-quantize does where 256 does not divide a row
    assert set(sized.to_dict()["weights"]["bytes_by_type"]) <= {"Q4_K", "Q6_K", "F32"}
    assert wasted_bits(sized) == ()
    other = EstimateRequest(params=count, bits=4, any_width=True).run().estimate
    assert other.architecture == architecture_near(parse_count(count, "params"))
    assert other.bits_per_weight > 1.05 * sized.bits_per_weight


def test_a_format_without_blocks_that_large_leaves_the_shape_alone() -> None:
    assert EstimateRequest(params="125M", bits=8).run().estimate.architecture.hidden_size == 576


def test_a_count_that_no_aligned_shape_comes_near_keeps_its_own_shape() -> None:
    small = EstimateRequest(params="5M", bits=4).run().estimate
    assert abs(small.parameters.total / 5e6 - 1) < 0.05
