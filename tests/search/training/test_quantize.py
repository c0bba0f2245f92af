"""Fake quantization: blocks worked by hand, gguf's numpy quantizers, and what llama.cpp itself wrote."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor

from search.export.llamacpp_library import quantize_rows
from search.training import quantize
from search.training.decoder import Decoder
from search.training.learning_rates import initialize
from search.training.quantize import (
    check_format,
    deployed_model,
    fake_quantized_state,
    stored_types,
)
from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.errors import UnknownName
from sizer.formats.ggml import TYPES
from sizer.formats.llamacpp import BASE_TYPES
from sizer.runtimes import runtime

ALL_TYPES = (
    *("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "TQ1_0", "TQ2_0"),
    *("IQ4_NL", "IQ4_XS", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"),
)


def fake_quantize(tensor: Tensor, name: str, *, across_rows: bool = False) -> Tensor:
    """The tensor as read back from a block type of ggml."""
    return quantize.fake_quantize(tensor, TYPES[name], across_rows=across_rows)


def _bell(rows: int, columns: int) -> Tensor:
    """Bell-shaped weights from a linear congruential generator: the same on every machine and version."""
    state, sums = 12345, []
    for _ in range(rows * columns):
        total = 0
        for _ in range(4):
            state = (1664525 * state + 1013904223) % 2**32
            total += state >> 16
        sums.append((total - 131070) / 2**17)  # exact in float32
    return torch.tensor(sums, dtype=torch.float32).view(rows, columns)


@pytest.fixture(scope="module")
def weights() -> Tensor:
    return _bell(16, 512)


def _root_mean_square(x: Tensor) -> float:
    return float(x.double().square().mean().sqrt())


def _block(*values: float) -> Tensor:
    """Those values, then zeros up to 32."""
    return torch.tensor([*values, *([0.0] * (32 - len(values)))])


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        # d = 127 / 127 = 1; halves go away from zero
        ("Q8_0", (127.0, -2.5, 2.5, 0.4), (127.0, -3.0, 3.0, 0.0)),
        # d = 8 / -8 = -1: the largest is level 0, so the other end is 7 levels away
        ("Q4_0", (8.0, -8.0, 3.4, -0.6), (8.0, -7.0, 3.0, -1.0)),
        ("Q5_0", (-16.0, 16.0, 3.4), (-16.0, 15.0, 3.0)),
        # d = (15 - 0) / 15 = 1, m = 0
        ("Q4_1", (15.0, 7.5, 7.4), (15.0, 8.0, 7.0)),
        ("Q5_1", (30.0, -1.0, 0.4), (30.0, -1.0, 0.0)),
        # the nearest of -127 ... 113 with scale 1; the search leaves a block that is exact alone
        ("IQ4_NL", (-127.0, 113.0, 1.0, -10.0), (-127.0, 113.0, 1.0, -10.0)),
        ("F16", (1.0 + 2**-11, 1.0 + 3 * 2**-11), (1.0, 1.0 + 2**-9)),
        ("BF16", (1.0 + 2**-8, 1.0 + 3 * 2**-8), (1.0, 1.0 + 2**-6)),
    ],
)
def test_blocks_worked_by_hand(name: str, given: tuple[float, ...], expected: tuple[float, ...]) -> None:
    assert fake_quantize(_block(*given), name)[: len(expected)].tolist() == list(expected)


def test_ternary_by_hand() -> None:
    row = torch.zeros(256)
    row[:4] = torch.tensor([2.0, 1.0, -0.99, -1.5])
    for name in ("TQ1_0", "TQ2_0"):
        assert fake_quantize(row, name)[:4].tolist() == [2.0, 2.0, 0.0, -2.0]


@pytest.mark.parametrize("name", ALL_TYPES)
def test_zeros_stay_and_constants_come_near(name: str) -> None:
    assert not fake_quantize(torch.zeros(2, 256), name).any()
    for value in (0.5, -0.25):
        constant = torch.full((2, 256), value)
        assert torch.allclose(fake_quantize(constant, name), constant, rtol=0.07)


@pytest.mark.parametrize("name", ALL_TYPES)
def test_twice_is_once_and_rows_are_apart(name: str, weights: Tensor) -> None:
    once = fake_quantize(weights, name)
    assert once.shape == weights.shape
    assert once.dtype == torch.float32
    assert bool(once.isfinite().all())
    assert torch.equal(once[3:4], fake_quantize(weights[3:4], name))
    again = _root_mean_square(fake_quantize(once, name) - once)
    assert again <= 0.3 * _root_mean_square(once - weights) + 1e-9


@pytest.mark.parametrize("name", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "TQ1_0", "TQ2_0"])
def test_equal_to_ggufs_numpy_quantizers(name: str, weights: Tensor) -> None:
    quants: Any = pytest.importorskip("gguf.quants")
    kind = pytest.importorskip("gguf").GGMLQuantizationType[name]
    oracle = quants.dequantize(quants.quantize(weights.numpy(), kind), kind)
    assert torch.equal(fake_quantize(weights, name), torch.from_numpy(oracle).float())


# Of the weights above: what llama.cpp's ggml_quantize_chunk (llama-cpp-python 0.3.36, no importance matrix)
# and gguf's dequantize (0.19.0) make of them: root mean square error, then elements 0 to 5 of row 0.
LLAMA_CPP: dict[str, tuple[float, tuple[float, ...]]] = {
    "Q8_0": (0.00146287, (-0.392131805, 0.0336112976, 0.0821609497, 0.100833893, 0.358520508, 0.291297913)),
    "Q4_0": (0.0237875, (-0.414855957, 0.0592651367, 0.0592651367, 0.118530273, 0.35559082, 0.296325684)),
    "Q5_1": (0.0106143, (-0.392578125, 0.0267333984, 0.0826416016, 0.110595703, 0.362182617, 0.278320312)),
    "TQ1_0": (0.221303, (0, 0, 0, 0, 0, 0)),
    "IQ4_NL": (0.0214225, (-0.393342972, 0.0348091125, 0.0765800476, 0.121831894, 0.362014771, 0.288915634)),
    "IQ4_XS": (0.0215871, (-0.40201807, 0.0355768204, 0.0782690048, 0.0782690048, 0.369998932, 0.295287609)),
    "Q2_K": (0.0840172, (-0.351409912, 0.109283447, 0.109283447, 0.109283447, 0.339630127, 0.339630127)),
    "Q3_K": (0.0423062, (-0.336799622, 0.0, 0.112266541, 0.112266541, 0.336799622, 0.336799622)),
    "Q4_K": (0.019892, (-0.3854599, 0.00894832611, 0.0652923584, 0.121636391, 0.34701252, 0.290668488)),
    "Q5_K": (0.0100334, (-0.39200592, 0.0243587494, 0.0798740387, 0.107631683, 0.357450485, 0.301935196)),
    "Q6_K": (0.00495464, (-0.398275852, 0.0398275852, 0.0796551704, 0.106206894, 0.358448267, 0.292068958)),
}


@pytest.mark.parametrize("name", list(LLAMA_CPP))
def test_errors_and_values_of_llama_cpp(name: str, weights: Tensor) -> None:
    error, first = LLAMA_CPP[name]
    ours = fake_quantize(weights, name)
    assert _root_mean_square(ours - weights) == pytest.approx(error, rel=0.001)
    assert ours[0, :6].tolist() == pytest.approx(first, rel=1e-6)


def _odd_weights() -> Tensor:
    """Rows of weights on which a search for scales can go either way."""
    random = torch.Generator().manual_seed(0)

    def bell() -> Tensor:
        return torch.randn(64, 256, generator=random)

    def rare(share: float) -> Tensor:
        return torch.rand(64, 256, generator=random) < share

    return torch.cat(
        (
            bell(),
            bell() * bell().exp(),
            bell() * 1e-4,
            torch.where(rare(0.5), 0.0, bell()),
            (bell() * 8).round() / 8,  # many equal
            bell()[:, :1].expand(64, 256),
            torch.where(rare(0.01), 30.0, 1.0) * bell(),
        )
    ).contiguous()


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="ARM builds multiply and add at once"
)
@pytest.mark.parametrize("name", ["IQ4_NL", "IQ4_XS", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"])
def test_searched_scales_are_ggmls_to_the_last_bit(name: str) -> None:
    pytest.importorskip("xllamacpp")
    gguf = pytest.importorskip("gguf")
    kind, rows = gguf.GGMLQuantizationType[name], _odd_weights()
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    stored = quantize_rows(int(kind), rows.numpy(), rows.numel() // block * block_bytes)
    packed = numpy.frombuffer(stored, numpy.uint8).reshape(len(rows), -1)
    read = torch.from_numpy(gguf.quants.dequantize(packed, kind))
    assert int((read != fake_quantize(rows, name)).sum()) == 0


def test_more_bits_mean_less_error(weights: Tensor) -> None:
    errors = [
        _root_mean_square(fake_quantize(weights, name) - weights)
        for name in ("TQ1_0", "Q2_K", "Q3_K", "Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "F16", "F32")
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == 0


@pytest.mark.timing
@pytest.mark.usefixtures("one_thread")  # several spin for the cores that other programs are at
def test_a_million_weights_take_well_under_half_a_second(benchmark_seconds: Callable[[str], float]) -> None:
    assert {name: s for name in ALL_TYPES if (s := benchmark_seconds(name)) > 0.5} == {}


@pytest.fixture
def benchmark_seconds() -> Callable[[str], float]:
    """Seconds of the processor for 1M weights (0.13 at most); the fastest of 2."""
    from time import process_time

    million = torch.randn(1024, 1024, generator=torch.Generator().manual_seed(0))

    def seconds(name: str) -> float:
        times = []
        for _ in range(2):
            start = process_time()
            fake_quantize(million, name)
            times.append(process_time() - start)
        return min(times)

    return seconds


def test_types_that_are_not_modelled_are_named(weights: Tensor) -> None:
    with pytest.raises(UnknownName, match="'IQ2_XS': .*codebook"):
        fake_quantize(weights, "IQ2_XS")


ARCHITECTURE = Architecture(
    vocab_size=256,
    num_layers=4,
    hidden_size=256,
    intermediate_size=512,
    num_heads=4,
    num_kv_heads=2,
    head_dim=64,
)


def test_types_of_a_mix_by_tensor_name() -> None:
    types = {name: kind.name for name, kind in stored_types(ARCHITECTURE, "Q4_K_M").items()}
    assert types["model.embed_tokens.weight"] == "Q6_K"  # tied: stored as the head is
    assert types["model.layers.0.self_attn.q_proj.weight"] == "Q4_K"
    assert types["model.layers.0.input_layernorm.weight"] == "F32"
    # 4 // 8 = 0, 7 * 4 // 8 = 3: layers 2 (every third from 0) and 3 have more bits
    downs = [types[f"model.layers.{layer}.mlp.down_proj.weight"] for layer in range(4)]
    assert downs == ["Q4_K", "Q4_K", "Q6_K", "Q6_K"]


def test_shared_blocks_have_the_type_of_their_first_run() -> None:
    sharing = LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=2)
    types = stored_types(replace(ARCHITECTURE, num_layers=2, sharing=sharing), "Q4_K_M")
    assert set(types) == set(Decoder(replace(ARCHITECTURE, num_layers=2)).state_dict())
    # Block 1 runs as layers 2 and 3 of the four above.
    assert types["model.layers.0.mlp.down_proj.weight"].name == "Q4_K"
    assert types["model.layers.1.mlp.down_proj.weight"].name == "Q6_K"


def test_runs_of_a_looped_middle_are_deployed_in_their_own_types() -> None:
    sharing = LayerSharing(strategy=SharingStrategy.MIDDLE, repeat=2, ends=1)
    shared = replace(ARCHITECTURE, num_layers=3, sharing=sharing)  # A B B C, stored as four layers
    assert quantize.types_differ_by_run(shared, "Q4_K_M")
    model = Decoder(shared)
    initialize(model, shared, torch.Generator().manual_seed(0))
    state = deployed_model(model, shared, "Q4_K_M", "llama.cpp").state_dict()
    down = "model.layers.{}.mlp.down_proj.weight"
    trained = [model.state_dict()[down.format(block)] for block in (0, 1, 1, 2)]
    for layer, (weight, kind) in enumerate(zip(trained, ("Q4_K", "Q4_K", "Q6_K", "Q6_K"), strict=True)):
        assert torch.equal(state[down.format(layer)], fake_quantize(weight, kind)), layer


def test_runs_of_a_shared_block_are_deployed_in_their_own_types() -> None:
    sharing = LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=2)
    shared = replace(ARCHITECTURE, num_layers=1, sharing=sharing)
    assert quantize.types_differ_by_run(shared, "Q4_K_M")
    assert not quantize.types_differ_by_run(shared, "Q8_0")
    assert not quantize.types_differ_by_run(shared, "4bit", "mlx")  # stored once
    model = Decoder(shared)
    initialize(model, shared, torch.Generator().manual_seed(0))
    each = quantize.unrolled_decoder(model)
    tokens = torch.arange(64).view(2, 32)
    with torch.no_grad():
        assert torch.equal(each(tokens), model(tokens))
    state = deployed_model(model, shared, "Q4_K_M", "llama.cpp").state_dict()
    expected = fake_quantized_state(each.state_dict(), each.architecture, "Q4_K_M")
    assert {name: torch.equal(tensor, expected[name]) for name, tensor in state.items()} == dict.fromkeys(
        expected, True
    )
    value = "model.layers.{}.mlp.down_proj.weight"
    assert not torch.equal(state[value.format(0)], state[value.format(1)])


def test_state_of_a_model(weights: Tensor) -> None:
    model = Decoder(ARCHITECTURE)
    initialize(model, ARCHITECTURE, torch.Generator().manual_seed(0))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    quantized = fake_quantized_state(model.state_dict(), ARCHITECTURE, "Q4_K_M")
    assert list(quantized) == list(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    name = "model.layers.1.mlp.down_proj.weight"
    assert torch.equal(quantized[name], fake_quantize(before[name], "Q4_K"))
    norm = "model.norm.weight"
    assert torch.equal(quantized[norm], before[norm])
    assert quantized[norm].data_ptr() != model.state_dict()[norm].data_ptr()
    model.load_state_dict(quantized)


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0", "Q4_K", "TQ1_0"])
def test_blocks_of_short_rows_run_on_into_the_next(name: str, weights: Tensor) -> None:
    flat = weights.flatten()[: 16 * 48]
    block = TYPES[name].block_elements
    expected = fake_quantize(flat.view(-1, block), name).view(16, 48)
    assert torch.equal(fake_quantize(flat.view(16, 48), name, across_rows=True), expected)
    whole = weights[:4, :256]
    assert torch.equal(fake_quantize(whole, name, across_rows=True), fake_quantize(whole, name))


def test_a_last_block_that_is_not_full_is_rounded_as_if_it_were() -> None:
    values = torch.linspace(-1.0, 2.54, 60).view(3, 20)
    found = fake_quantize(values, "Q8_0", across_rows=True).flatten()
    # steps of the largest magnitude over 127 in each block of 32, stored in half precision
    for start, end in ((0, 32), (32, 60)):
        part = values.flatten()[start:end]
        step = part.abs().max() / 127
        assert torch.equal(found[start:end], (part / step).round() * step.half().float())


def test_a_proxy_is_stored_in_the_types_of_its_model() -> None:
    narrow = replace(ARCHITECTURE, hidden_size=48, intermediate_size=96, head_dim=16, vocab_size=300)
    model = Decoder(narrow)
    initialize(model, narrow, torch.Generator().manual_seed(0))
    state = model.state_dict()
    found = fake_quantized_state(state, ARCHITECTURE, "Q4_K_M", scaled=True)
    types = stored_types(ARCHITECTURE, "Q4_K_M")
    assert stored_types(narrow, "Q4_K_M")["model.layers.0.mlp.up_proj.weight"].name != "Q4_K"
    for name in ("model.layers.0.mlp.up_proj.weight", "model.layers.3.mlp.down_proj.weight"):
        blocks = state[name].reshape(-1, 256)
        assert torch.equal(found[name], quantize.fake_quantize(blocks, types[name]).view_as(state[name]))


def test_rows_that_do_not_divide_fall_back() -> None:
    narrow = replace(ARCHITECTURE, hidden_size=96, num_heads=3, num_kv_heads=1, head_dim=32)
    types = stored_types(narrow, "Q4_K_M")
    assert types["model.layers.0.self_attn.q_proj.weight"].name == "Q5_0"
    odd = replace(ARCHITECTURE, hidden_size=100, num_heads=3, num_kv_heads=1, head_dim=34)
    assert stored_types(odd, "Q4_K_M")["model.layers.0.self_attn.q_proj.weight"].name == "F16"


def test_mixes_without_a_quantizer_are_refused() -> None:
    formats = runtime("llama.cpp").searchable_formats
    assert [n for n in BASE_TYPES if n not in formats] == [
        n for n in BASE_TYPES if n[:3] in ("IQ1", "IQ2", "IQ3", "MXF")
    ]
    for name in formats:
        check_format(ARCHITECTURE, name)
    with pytest.raises(UnknownName, match="IQ3_S.*accepted: F32, F16"):
        check_format(ARCHITECTURE, "IQ3_M")
    with pytest.raises(UnknownName, match="llama.cpp format 'Q4_9'"):
        check_format(ARCHITECTURE, "Q4_9")


def test_bell_is_what_it_was() -> None:
    first = _bell(1, 3)[0].tolist()
    assert all(abs(value) <= 1 for value in first)
    assert math.isclose(_root_mean_square(_bell(4, 256)), 0.29, abs_tol=0.02)
