"""Costs of a model and its seconds under given constants: literals worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.calibration.decode_terms import DECODE_TERMS, decode_constants
from sizer.devices.profile import Profile
from sizer.devices.speed_model import (
    ModelCosts,
    decode_seconds,
    kv_bytes_read,
    model_costs,
    op_cost,
    prefill_seconds,
)
from sizer.families.hf_config import architecture_from_config
from sizer.prediction import Basis
from sizer.tensors import tensor_specs
from sizer.workload import Workload


def f16_costs(architecture: Architecture) -> ModelCosts:
    return model_costs(
        architecture, [(spec, 2 * spec.num_elements, "F16") for spec in tensor_specs(architecture)]
    )


TINY = Architecture(
    vocab_size=100,
    num_layers=2,
    hidden_size=8,
    intermediate_size=16,
    num_heads=2,
    num_kv_heads=1,
    head_dim=4,
)
# a block by hand: q 8x8, k and v 4x8 each, o 8x8, gate, up and down 16x8 each, two norms of 8
TINY_BLOCK = 64 + 32 + 32 + 64 + 3 * 128 + 16


def test_costs_of_a_tied_model_by_hand() -> None:
    found = f16_costs(TINY)
    assert found.block_weights == 2 * TINY_BLOCK == 1184
    assert found.head_weights == 800
    assert found.step_bytes == 2 * (1184 + 800 + 8)
    assert found.bits_per_weight == 16
    assert found.attention_ops_per_position == 4 * 2 * 8
    # in and out of q 8 + 8, of k and v 8 + 4 each, of o 8 + 8, of gate, up and down 8 + 16 each; two layers
    assert found.activation_elements == 2 * (16 + 12 + 12 + 16 + 3 * 24)


def test_only_layers_with_attention_look_back() -> None:
    assert f16_costs(replace(TINY, conv_layers=(1,))).attention_ops_per_position == 4 * 8
    assert f16_costs(replace(TINY, layer_num_heads=(2, 2))).attention_ops_per_position == 4 * 2 * 8
    wide = replace(TINY, num_layers=3, layer_num_heads=(2, 4, 6), num_heads=6, num_kv_heads=3)
    assert f16_costs(wide).attention_ops_per_position == 4 * (2 + 4 + 6) * 4


def test_an_untied_embedding_is_read_one_row_a_step() -> None:
    assert f16_costs(replace(TINY, tie_embeddings=False)).step_bytes == f16_costs(TINY).step_bytes + 2 * 8


def test_sharing_reads_a_block_again_unless_it_is_still_in_cache() -> None:
    base = f16_costs(TINY)
    immediate = f16_costs(replace(TINY, sharing=LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=2)))
    repeated = f16_costs(replace(TINY, sharing=LayerSharing(strategy=SharingStrategy.REPEAT_ALL, repeat=2)))
    assert immediate.step_bytes == base.step_bytes
    assert repeated.step_bytes == base.step_bytes + 2 * 2 * TINY_BLOCK
    assert immediate.executed_layers == repeated.executed_layers == 4
    assert immediate.block_weights == repeated.block_weights == 2 * base.block_weights
    assert immediate.activation_elements == repeated.activation_elements == 2 * base.activation_elements


def test_of_a_middle_that_loops_each_run_is_read_and_the_ends_once() -> None:
    middle = LayerSharing(strategy=SharingStrategy.MIDDLE, repeat=3, ends=1)
    base = f16_costs(replace(TINY, num_layers=4))
    looped = f16_costs(replace(TINY, num_layers=4, sharing=middle))
    assert (
        looped.step_bytes == base.step_bytes + 2 * 2 * 2 * TINY_BLOCK
    )  # two blocks twice more, 2 bytes each
    assert looped.executed_layers == 8
    assert looped.block_weights == 2 * base.block_weights
    alone = f16_costs(replace(TINY, num_layers=3, sharing=middle))  # A B B B C: B is still in cache
    assert alone.step_bytes == f16_costs(replace(TINY, num_layers=3)).step_bytes


def test_a_feed_forward_block_shared_by_all_layers_is_read_in_each() -> None:
    # two norms, attention per layer; 384 weights of the one feed-forward block count in both layers
    shared = f16_costs(replace(TINY, shared_mlp=True))
    assert shared.step_bytes == f16_costs(TINY).step_bytes


HAND = ModelCosts(
    executed_layers=10,
    step_bytes=100e6,
    bits_per_weight=4.5,
    block_weights=50_000_000,
    head_weights=10_000_000,
    attention_ops_per_position=1000,
)


CONSTANTS = Profile(
    runtime="llama.cpp",
    backend="cpu",
    basis=Basis.FITTED,
    seconds_fixed=0.0,
    seconds_per_layer=1e-4,
    bytes_per_s=10e9,
    bits_low=4.5,
    bits_high=8.5,
    decode_factor=1.1,
    ops_per_s=10e9,
)


def test_decode_seconds_by_hand() -> None:
    # 10 x 0.1 ms + (100 + 20) MB / 10 GB/s = 1 ms + 12 ms
    assert decode_seconds(HAND, 20e6, CONSTANTS) == pytest.approx(0.013)
    # and 50,000 rows and columns of 20 ns: 1 ms
    model, constants = HAND._replace(activation_elements=50_000), CONSTANTS._replace(step_element_s=20e-9)
    assert decode_seconds(model, 20e6, constants) == pytest.approx(0.014)


@pytest.mark.parametrize("is_float", [False, True])
def test_decode_seconds_are_linear_in_the_terms_that_a_fit_solves_for(is_float: bool) -> None:
    model = HAND._replace(
        float_bytes=60e6 if is_float else 40e6,
        bits_per_weight=16.0 if is_float else 4.5,
        kv_elements=1000,
        bytes_by_type=(("Q5_0", 30e6), ("Q4_K", 20e6), ("F16", 50e6)),
    )
    seconds = dict.fromkeys(DECODE_TERMS, 0.0) | {
        "bytes": 1e-10,
        "layers": 1e-4,
        "fixed": 2e-3,
        "float_bytes": 3e-11,
        "kv": 4e-6,
        "float_kv": 5e-6,
        "fallback_bytes": 6e-11,
    }
    total = sum(cost * DECODE_TERMS[name](model, 20e6) for name, cost in seconds.items())
    constants = decode_constants(seconds, runtime="llama.cpp", backend="cpu")
    assert decode_seconds(model, 20e6, constants) == pytest.approx(total, rel=1e-12)
    # by hand: 120 MB, 10 layers, a step, 16-bit bytes, cache elements, 30 MB of Q5_0
    by_hand = 0.012 + 0.001 + 0.002 + 3e-11 * model.float_bytes + 0.004 + 0.005 * is_float + 0.0018
    assert total == pytest.approx(by_hand)


def test_bytes_without_a_cost_leave_the_other_terms() -> None:
    model = HAND._replace(bits_per_weight=16.0, float_bytes=60e6)
    constants = decode_constants(
        {"bytes": 0.0, "fixed": 1e-3, "float_bytes": 1e-10}, runtime="llama.cpp", backend="cpu"
    )
    assert decode_seconds(model, 20e6, constants) == pytest.approx(0.007)


def test_what_types_and_the_static_cache_cost_by_hand() -> None:
    model = HAND._replace(
        bits_per_weight=16.0,
        float_bytes=60e6,
        kv_elements=1000,
        bytes_by_type=(("Q5_0", 40e6), ("F16", 60e6)),
        step_bytes=100e6,
    )
    assert model.is_float
    # 0.013 s + half as much again for 60 MB at 10 GB/s
    assert decode_seconds(model, 20e6, CONSTANTS._replace(float_byte_cost=1.5)) == pytest.approx(0.016)
    # + 0.4 x 40 MB at 10 GB/s
    costs = CONSTANTS._replace(byte_cost=(("Q5_0", 1.4), ("Q8_0", 9.0)))
    assert decode_seconds(model, 20e6, costs) == pytest.approx(0.013 + 0.0016)
    # 1000 elements, 2 us each and 1 us more in a model of 16-bit weights; 20 MB of cache at double cost
    cached = CONSTANTS._replace(
        kv_element_s=2e-6, float_kv_element_s=1e-6, kv_byte_cost=2, seconds_fixed=1e-3
    )
    assert decode_seconds(model, 20e6, cached) == pytest.approx(0.013 + 0.003 + 0.002 + 0.001)
    quantized = model._replace(bits_per_weight=4.5, float_bytes=40e6)
    assert decode_seconds(quantized, 20e6, cached) == pytest.approx(0.013 + 0.002 + 0.002 + 0.001)


def test_prefill_is_bound_by_compute_or_by_reading_the_weights() -> None:
    # 100 tokens: 2 x (50M x 100 + 10M) + 1000 x 5050 operations = 10.02505e9
    load = Workload(prompt_tokens=100)
    assert HAND.prompt_ops(100) == 10_025_050_000
    assert prefill_seconds(HAND, load, CONSTANTS) == pytest.approx(1.002505 + 0.001)
    # one token on fast arithmetic: 100 MB / 10 GB/s and the layers
    fast = CONSTANTS._replace(ops_per_s=1e15)
    assert prefill_seconds(HAND, Workload(prompt_tokens=1), fast) == pytest.approx(0.011)


def test_activations_cost_by_token_and_sequence() -> None:
    model, load = HAND._replace(activation_elements=5000), Workload(prompt_tokens=100, batch_size=3)
    constants = CONSTANTS._replace(activation_element_s=2e-9)
    # 300 tokens x 5000 elements x 2 ns = 3 ms beside the operations
    more = prefill_seconds(model, load, constants) - prefill_seconds(model, load, CONSTANTS)
    assert more == pytest.approx(0.003)


def test_operations_on_some_types_are_dearer() -> None:
    model = HAND._replace(weights_by_type=(("Q4_K", 30), ("F32", 10)))
    # 3/4 of the weights at double cost
    assert op_cost(model, CONSTANTS._replace(op_cost=(("Q4_K", 2.0),))) == pytest.approx(1.75)
    assert (
        op_cost(model._replace(bits_per_weight=16.0, float_bytes=90e6), CONSTANTS._replace(float_op_cost=3))
        == 3
    )


# Gemma 3's kind in small: five layers with a window to one without; 2 x 256 x 2 bytes of cache a layer
GEMMA3 = architecture_from_config(
    {
        "model_type": "gemma3_text",
        "vocab_size": 1000,
        "hidden_size": 640,
        "intermediate_size": 2048,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "sliding_window": 512,
    }
)
A_LAYER = 2 * 256 * 2
LONG = Workload(prompt_tokens=1000, generated_tokens=200)


def test_a_step_reads_the_window_of_a_windowed_layer_by_hand() -> None:
    assert GEMMA3.sliding_layers == (0, 1, 2, 3, 4)
    assert kv_bytes_read(GEMMA3, LONG) == 6 * A_LAYER * 1100
    assert kv_bytes_read(GEMMA3, LONG, 5) == A_LAYER * (1100 + 5 * 512)
    # 400 to 512 within the window, 456 on average, for 112 tokens; then 512 for 88: 480.64 over all
    across = Workload(prompt_tokens=400, generated_tokens=200, batch_size=3)
    assert kv_bytes_read(GEMMA3, across, 5) == pytest.approx(3 * A_LAYER * (500 + 5 * 480.64))
    # nothing is beyond the window yet
    short = Workload(prompt_tokens=300, generated_tokens=212)
    assert kv_bytes_read(GEMMA3, short, 5) == kv_bytes_read(GEMMA3, short)


def test_a_prompt_looks_back_on_the_window_in_windowed_layers_by_hand() -> None:
    def ops(tokens: int, windowed_layers: int) -> float:
        sized = [(spec, 2 * spec.num_elements, "F16") for spec in tensor_specs(GEMMA3)]
        return model_costs(GEMMA3, sized, windowed_layers).prompt_ops(tokens)

    a_layer = 4 * 4 * 256  # of each position: 4 heads of 256, a product and a sum for keys and for values
    # positions 1 + 2 ... + 1000 = 500,500; with a window 1 + 2 ... + 512 and 488 times 512 = 381,184
    assert ops(1000, 0) - ops(1000, 5) == 5 * a_layer * (500_500 - 381_184)
    assert ops(512, 5) == ops(512, 0)
    assert ops(513, 0) - ops(513, 5) == 5 * a_layer * 1


@pytest.mark.parametrize(("call_tokens", "calls"), [(0, 2), (128, 8), (2048, 1)])
def test_an_engine_with_calls_of_its_own_size_makes_as_many(call_tokens: int, calls: int) -> None:
    """1,000 tokens: two micro-batches of 512 under llama.cpp, eight graphs of 128 under Genie."""
    c = decode_constants({"bytes": 1e-12, "layers": 1e-3}, runtime="genie", backend="hexagon")
    c = c._replace(ops_per_s=1e18, prompt_fixed_s=0.01, call_tokens=call_tokens)
    load = Workload(prompt_tokens=1000, context_tokens=2048)
    # two layers of a millisecond and a hundredth of a second a call
    assert prefill_seconds(f16_costs(TINY), load, c) == pytest.approx(calls * 0.012, rel=1e-3)
