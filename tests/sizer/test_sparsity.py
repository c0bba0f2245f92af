"""Pruning: zeros are counted and save nothing; structured pruning is a smaller architecture."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sizer.architecture import Architecture
from sizer.errors import InvalidQuantity
from sizer.model_estimate import Estimate, estimate
from sizer.registry import model
from sizer.sparsity import Pattern, check_fraction, removed, without_heads_and_columns, zeros
from sizer.tensors import count_parameters, tensor_specs
from tests.strategies import architectures

SMOL = model("SmolLM2-135M").architecture


def _sized(architecture: Architecture = SMOL, format: str = "Q4_K_M", engine: str = "llama.cpp") -> Estimate:
    return estimate(architecture=architecture, format=format, runtime=engine)


def test_zeros_are_those_of_the_blocks_matrices_and_save_nothing() -> None:
    found = zeros(_sized(), 0.5, Pattern.UNSTRUCTURED)
    # 30 layers: 576 x (576 + 192 + 192 + 576) of attention and 3 x 576 x 1536 of the MLP
    assert found.zero_weights == 30 * (576 * (576 + 192 + 192 + 576) + 3 * 576 * 1536) // 2
    assert found.nonzero_weights == 134_515_008 - found.zero_weights
    assert (found.file_bytes_saved, found.memory_bytes_saved) == (0, 0)
    assert "stores a zero like any other weight" in found.notes[0]


def test_two_of_four_is_worth_something_only_to_torch_on_a_gpu() -> None:
    assert "no kernel of llama.cpp" in zeros(_sized(), 0.5, Pattern.TWO_OF_FOUR).notes[1]
    assert (
        "no kernel of transformers for nf4"
        in zeros(_sized(format="nf4", engine="transformers"), 0.5, Pattern.TWO_OF_FOUR).notes[1]
    )
    note = zeros(_sized(format="bf16", engine="transformers"), 0.5, Pattern.TWO_OF_FOUR).notes[1]
    # half the values of 16 bits and two bits of position for each: 18 of 32 bits for a pair
    saved = 30 * (576 * (576 + 192 + 192 + 576) + 3 * 576 * 1536) * (2 - 18 / 16)
    assert f"{saved / 1e6:.1f} MB less memory there" in note


def test_structured_pruning_by_hand() -> None:
    pruned = without_heads_and_columns(SMOL, 1 / 3)
    assert (pruned.num_kv_heads, pruned.num_heads, pruned.intermediate_size) == (2, 6, 1024)
    assert (pruned.head_dim, pruned.hidden_size, pruned.num_layers) == (64, 576, 30)
    before, after = _sized(), _sized(pruned)
    gone = removed(before, after, 1 / 3)
    assert gone.zero_weights == 30 * (576 * (192 + 64 + 64 + 192) + 3 * 576 * 512)
    assert gone.file_bytes_saved == before.file.total - after.file.total > 0
    assert gone.to_dict()["pattern"] == "structured"


@given(architectures(max_layers=4), st.floats(0.01, 0.99))
def test_structured_pruning_gives_a_valid_smaller_shape(architecture: Architecture, fraction: float) -> None:
    pruned = without_heads_and_columns(architecture, fraction)
    assert pruned.num_heads // pruned.num_kv_heads == architecture.num_heads // architecture.num_kv_heads
    assert pruned.intermediate_size <= architecture.intermediate_size
    assert count_parameters(tensor_specs(pruned)).total <= count_parameters(tensor_specs(architecture)).total


@given(architectures(max_layers=4), st.floats(0.01, 0.99))
def test_zeros_never_exceed_their_share(architecture: Architecture, fraction: float) -> None:
    assume(architecture.head_dim % 2 == 0)
    sized = _sized(architecture, "F16")
    found = zeros(sized, fraction, Pattern.UNSTRUCTURED)
    p = sized.parameters
    assert 0 <= found.zero_weights <= fraction * (p.attention + p.mlp)
    assert found.zero_weights + found.nonzero_weights == p.total


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 1.5, float("nan")])
def test_a_share_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(InvalidQuantity, match="sparsity: must be above 0 and below 1, got"):
        check_fraction(fraction, Pattern.UNSTRUCTURED)


def test_two_of_four_is_half() -> None:
    with pytest.raises(InvalidQuantity, match="sparsity: 2:4 prunes half of the weights, so it must be 0.5"):
        check_fraction(0.25, Pattern.TWO_OF_FOUR)


def test_layers_that_differ_are_not_pruned_by_one_share() -> None:
    with pytest.raises(InvalidQuantity, match="sparsity: 'OpenELM-450M' has different heads and FFN sizes"):
        without_heads_and_columns(model("OpenELM-450M").architecture, 0.5)
