"""Attention within windows and with sinks, against its definition, position by position."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from search.training.decoder import Decoder, check_parameters
from search.training.fused.step import unsupported_fields
from search.training.learning_rates import initialize
from search.training.train_step import AutogradStep, make_train_step, step_backend, update_rule
from search.training.windowed_attention import attend_window, attend_window_fused
from sizer.architecture import Architecture
from tests.search.records import TINY

BATCH, SEQ, HEADS, KV_HEADS, DIM = 2, 7, 4, 2, 6
WINDOWED = replace(
    TINY, num_layers=3, attention_sinks=True, sliding_window=4, sliding_layers=(0, 1), vocab_size=64
)


def drawn() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries, keys, values, and a sink for each head."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((BATCH, SEQ, HEADS, DIM), *((BATCH, SEQ, KV_HEADS, DIM),) * 2, (HEADS,))
    q, k, v, sinks = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return q, k, v, sinks


def by_definition(q: Tensor, k: Tensor, v: Tensor, window: int | None, sinks: Tensor | None) -> Tensor:
    """Each query over the keys of its window, one by one."""
    out = torch.zeros(BATCH, SEQ, HEADS, DIM, dtype=q.dtype)
    for one in range(BATCH):
        for head in range(HEADS):
            of = head // (HEADS // KV_HEADS)
            for at in range(SEQ):
                seen = range(0 if window is None else max(0, at - window + 1), at + 1)
                shares = [math.exp(float(q[one, at, head] @ k[one, i, of]) / math.sqrt(DIM)) for i in seen]
                total = sum(shares) + (0.0 if sinks is None else math.exp(float(sinks[head])))
                for i, share in zip(seen, shares, strict=True):
                    out[one, at, head] += share / total * v[one, i, of]
    return out.flatten(2)


@pytest.mark.parametrize("window", [None, 1, 3, SEQ])
@pytest.mark.parametrize("has_sinks", [True, False])
@pytest.mark.parametrize("attend", [attend_window, attend_window_fused])
def test_each_query_sees_its_window_and_its_sink(attend: object, window: int | None, has_sinks: bool) -> None:
    q, k, v, sinks = drawn()
    given = sinks if has_sinks else None
    assert callable(attend)
    assert torch.allclose(attend(q, k, v, window, given), by_definition(q, k, v, window, given), atol=1e-12)


def decoder(architecture: Architecture) -> Decoder:
    """A decoder with drawn weights."""
    model = Decoder(architecture)
    initialize(model, architecture, torch.Generator().manual_seed(3))
    return model


def test_sinks_begin_at_zero_and_are_learned() -> None:
    model = decoder(WINDOWED)
    check_parameters(model, WINDOWED)
    names = [name for name in model.state_dict() if name.endswith("self_attn.sinks")]
    assert len(names) == WINDOWED.num_layers
    assert all(not model.state_dict()[name].any() for name in names)
    rule = update_rule(WINDOWED, weight_decay=0.1, clip=1.0)
    step = make_train_step(model, batch=2, seq=16, dtype=torch.float32, rule=rule)
    assert isinstance(step, AutogradStep)  # there are no kernels
    step.step(torch.randint(64, (2, 17), generator=torch.Generator().manual_seed(0)), 1e-3, 1)
    assert all(model.state_dict()[name].all() for name in names)


def test_the_kernels_refuse_windows_with_or_without_sinks() -> None:
    assert unsupported_fields(WINDOWED) == ("sliding_layers", "attention_sinks")
    assert unsupported_fields(replace(WINDOWED, attention_sinks=False)) == ("sliding_layers",)
    reason = step_backend(torch.float32, WINDOWED).reason
    assert reason == "there are no kernels for sliding_layers, attention_sinks"


def test_what_is_out_of_all_windows_changes_nothing() -> None:
    """Three layers that look back 4 positions reach 9 back; with a full layer all that came before."""
    tokens = torch.randint(64, (1, 16), generator=torch.Generator().manual_seed(0))
    other = tokens.clone()
    other[0, 0] = (tokens[0, 0] + 1) % 64
    sliding = decoder(replace(WINDOWED, sliding_layers=(0, 1, 2)))
    with torch.no_grad():
        differs = (sliding(tokens) != sliding(other)).any(-1)[0]
        assert differs[:10].all()
        assert not differs[10:].any()
        full = decoder(WINDOWED)
        assert (full(tokens) != full(other)).any(-1)[0].all()


def test_fused_attention_gives_the_same_logits() -> None:
    model = decoder(WINDOWED)
    tokens = torch.randint(64, (2, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        usual = model(tokens)
        for layer in model.model.layers:
            layer.self_attn.keeps_no_scores = True  # type: ignore[union-attr]
        assert torch.allclose(model(tokens), usual, atol=1e-5)
