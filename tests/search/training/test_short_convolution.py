"""Short convolutions against their definition, transformers' LFM2 and a count by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from search.export.huggingface import huggingface_config, unrolled_weights
from search.training.decoder import Decoder, check_parameters
from search.training.fused.step import unsupported_fields
from search.training.learning_rates import initialize, learning_rate_factor
from search.training.scaled_proxy import scaled_proxy
from search.training.short_convolution import ShortConvolution
from search.training.train_step import AutogradStep, make_train_step, update_rule
from sizer.architecture import Architecture
from sizer.tensors import tensor_specs
from tests.search.records import TINY

# 3 layers x 16, 2 query heads and 1 KV head of 8, FFN 24, 64 tokens, kernel 4, convolutions in the first two
SMALL = Architecture(
    name="small",
    vocab_size=64,
    num_layers=3,
    hidden_size=16,
    intermediate_size=24,
    num_heads=2,
    num_kv_heads=1,
    head_dim=8,
    qk_norm=True,
    conv_layers=(0, 1),
    conv_kernel=4,
)


def decoder(architecture: Architecture) -> Decoder:
    """A decoder with drawn weights, norms too."""
    model = Decoder(architecture)
    generator = torch.Generator().manual_seed(3)
    initialize(model, architecture, generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def test_weights_are_those_counted_by_hand() -> None:
    table, norm, ffn = 64 * 16, 16, 3 * 16 * 24
    convolution = 16 * 48 + 16 * 4 + 16 * 16  # two gates and a value, filters, back
    attention = 16 * 16 + 2 * 16 * 8 + 16 * 16 + 2 * 8  # query, key and value, output, two norms
    expected = table + 2 * (convolution + 2 * norm + ffn) + (attention + 2 * norm + ffn) + norm
    assert check_parameters(decoder(SMALL), SMALL) == expected == 7_552


def test_each_position_sees_the_last_ones_of_its_channel() -> None:
    mixer = ShortConvolution(SMALL).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.normal_(generator=generator)
    x = torch.randn(2, 6, 16, generator=generator, dtype=torch.float64)
    first, second, value = (x @ mixer.in_proj.weight.T).chunk(3, dim=-1)
    mixed = torch.zeros_like(x)
    for at in range(6):
        for back in range(min(at + 1, 4)):
            mixed[:, at] += mixer.conv.weight[:, 0, 3 - back] * (first * value)[:, at - back]
    expected = (second * mixed) @ mixer.out_proj.weight.T
    assert torch.allclose(mixer(x), expected, atol=1e-12)


@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_those_of_transformers(tied: bool) -> None:
    transformers = pytest.importorskip("transformers")
    shape = replace(SMALL, tie_embeddings=tied)
    model = decoder(shape)
    config = transformers.AutoConfig.for_model(**huggingface_config(shape, 32))
    theirs = transformers.Lfm2ForCausalLM(config).eval()
    weights = unrolled_weights(shape, model.state_dict())
    if tied:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    theirs.load_state_dict(weights)
    tokens = torch.randint(64, (2, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (theirs(tokens).logits - model(tokens)).abs().max() < 2e-5


def test_a_step_moves_every_weight_by_autograd() -> None:
    model = decoder(SMALL)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rule = update_rule(SMALL, weight_decay=0.1, clip=1.0)
    step = make_train_step(model, batch=2, seq=16, dtype=torch.float32, rule=rule)
    assert isinstance(step, AutogradStep)
    assert unsupported_fields(SMALL) == ("qk_norm", "conv_layers")
    step.step(torch.randint(64, (2, 17), generator=torch.Generator().manual_seed(0)), 1e-3, 1)
    assert all((model.state_dict()[name] != tensor).any() for name, tensor in before.items())


def test_filters_learn_at_one_rate_whatever_the_width() -> None:
    wide = replace(SMALL, hidden_size=160, num_heads=20)
    rates = {
        (shape.hidden_size, spec.name.split(".", 3)[-1]): learning_rate_factor(spec, shape)
        for shape in (SMALL, wide)
        for spec in tensor_specs(shape)
        if spec.layer == 0
    }
    assert rates[16, "conv.conv.weight"] == rates[160, "conv.conv.weight"] == 1.0
    assert rates[16, "conv.in_proj.weight"] == 10 * rates[160, "conv.in_proj.weight"] == 10.0
    # what a block adds is scaled by depth, as attention's output is
    assert rates[160, "conv.out_proj.weight"] == pytest.approx(2 / 3)


def test_a_proxy_keeps_its_convolutions() -> None:
    wide = replace(TINY, num_layers=3, hidden_size=128, num_heads=4, num_kv_heads=2, head_dim=32)
    model = replace(wide, qk_norm=True, conv_layers=(0, 1), conv_kernel=4)
    proxy = scaled_proxy(model, width_scale=0.5)
    assert (proxy.conv_layers, proxy.conv_kernel, proxy.hidden_size) == ((0, 1), 4, 64)
