"""Sensitivities and alignment advice: hand-worked differences, and agreement with whole estimates."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings

from sizer.advice import alignment_advice, sensitivities
from sizer.architecture import Architecture
from sizer.devices.catalogue import device
from sizer.model_estimate import estimate
from sizer.registry import model
from tests.strategies import architectures

M125 = model("MobileLLM-125M").architecture


def test_one_layer_more_worked_by_hand() -> None:
    (layer, *_) = sensitivities(estimate(architecture=M125, format="F16"))
    block = 884_736 + 2_654_208 + 2 * 576
    assert (layer.name, layer.parameters) == ("1 layer", block)
    # two bytes a weight, four a norm's; nine more tensors in the directory: 8 + 4 + 4 + 8 bytes, 8 for each
    # dimension, and the name, "blk.30." and 13 to 18 letters
    names = (
        "attn_norm",
        "attn_q",
        "attn_k",
        "attn_v",
        "attn_output",
        "ffn_norm",
        "ffn_gate",
        "ffn_up",
        "ffn_down",
    )
    directory = sum(24 + 8 * (1 if "norm" in n else 2) + len(f"blk.30.{n}.weight") for n in names)
    assert layer.file_bytes == 2 * (884_736 + 2_654_208) + 4 * 2 * 576 + directory
    # and the KV cache of 2,048 tokens: keys and values, 192 of two bytes
    assert layer.memory_bytes == 2 * (884_736 + 2_654_208) + 4 * 2 * 576 + 2048 * 2 * 192 * 2
    assert layer.decode_tokens_per_s is None


def test_widening_the_mlp_off_its_alignment_costs_more_than_its_weights() -> None:
    changes = {c.name: c for c in sensitivities(estimate(architecture=M125, format="Q4_K_M"))}
    mlp = changes["64 of FFN size"]
    # 1536 is a multiple of 256 and 1600 is not: every down projection falls back
    assert mlp.file_bytes > 2 * mlp.parameters


def test_more_kv_heads_are_the_next_that_divide_the_heads() -> None:
    changes = {c.name: c for c in sensitivities(estimate(architecture=M125, format="Q8_0"))}
    assert "6 KV heads (9 in all)" in changes
    full = replace(M125, num_kv_heads=9)
    assert not any("KV heads" in c.name for c in sensitivities(estimate(architecture=full, format="Q8_0")))


def test_deeper_is_slower_on_a_device() -> None:
    changes = sensitivities(estimate(architecture=M125, format="Q8_0", device=device("raspberry-pi-5")))
    assert all(c.decode_tokens_per_s is not None and c.decode_tokens_per_s < 0 for c in changes)


def test_width_576_is_advised_512_or_768() -> None:
    (text,) = alignment_advice(estimate(architecture=M125, format="Q4_K_M"))
    assert text == (
        "hidden size 576 is no multiple of 256, so Q4_K_M falls back to wider types and takes 5.98 bits per "
        "weight; at hidden size 512 (5.12, -14%) or 768 (5.12, -14%)"
    )


def test_no_advice_where_nothing_is_wasted() -> None:
    aligned = replace(M125, hidden_size=768)
    assert alignment_advice(estimate(architecture=aligned, format="Q4_K_M")) == ()
    assert alignment_advice(estimate(architecture=M125, format="Q8_0")) == ()
    assert alignment_advice(estimate(architecture=M125, format="F16")) == ()


@settings(max_examples=30)
@given(architectures(max_layers=4))
def test_changes_are_differences_of_estimates(architecture: Architecture) -> None:
    before = estimate(architecture=architecture, format="Q4_0")
    after = estimate(
        architecture=replace(architecture, num_layers=architecture.num_layers + 1), format="Q4_0"
    )
    (layer, *_) = sensitivities(before)
    assert layer.parameters == after.parameters.total - before.parameters.total
    assert layer.memory_bytes == after.memory.total_bytes - before.memory.total_bytes
    assert layer.file_bytes == after.file.total - before.file.total
