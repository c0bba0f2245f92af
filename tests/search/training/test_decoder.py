"""The proxy's decoder: parameters against the calculator, logits against transformers, sharing, causality."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search.training.decoder import Decoder, ParameterMismatch, check_parameters
from search.training.learning_rates import initialize
from sizer.architecture import Architecture, LayerSharing, MlpKind, NormKind, PositionKind, SharingStrategy
from sizer.errors import InvalidArchitecture
from sizer.tensors import tensor_specs

TINY = Architecture(
    vocab_size=256,
    num_layers=3,
    hidden_size=48,
    intermediate_size=96,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
)

TOKENS = torch.tensor([[72, 101, 108, 108, 111, 32, 119, 111], [0, 255, 3, 3, 3, 128, 64, 9]])


def _decoder(architecture: Architecture, seed: int = 0) -> Decoder:
    model = Decoder(architecture)
    initialize(model, architecture, torch.Generator().manual_seed(seed))
    return model


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    num_kv_heads = draw(st.integers(1, 3))
    strategy = draw(st.sampled_from(SharingStrategy))
    repeat = 1 if strategy is SharingStrategy.NONE else draw(st.integers(2, 3))
    ends = int(strategy is SharingStrategy.MIDDLE)
    return Architecture(
        vocab_size=draw(st.integers(1, 300)),
        num_layers=draw(st.integers(1 + 2 * ends, 4)),
        hidden_size=draw(st.integers(1, 40)),
        intermediate_size=draw(st.integers(1, 60)),
        num_heads=num_kv_heads * draw(st.integers(1, 3)),
        num_kv_heads=num_kv_heads,
        head_dim=2 * draw(st.integers(1, 9)),
        mlp=draw(st.sampled_from(MlpKind)),
        norm=draw(st.sampled_from(NormKind)),
        position=draw(st.sampled_from([PositionKind.ROPE, PositionKind.LEARNED])),
        tie_embeddings=draw(st.booleans()),
        qk_norm=draw(st.booleans()),
        qkv_bias=draw(st.booleans()),
        attention_output_bias=draw(st.booleans()),
        mlp_bias=draw(st.booleans()),
        sub_norms=draw(st.booleans()),
        shared_mlp=draw(st.booleans()),
        max_position_embeddings=draw(st.integers(8, 16)),
        sharing=LayerSharing(strategy=strategy, repeat=repeat, ends=ends),
    )


@settings(max_examples=60, deadline=None)
@given(architectures())
def test_parameters_are_the_calculators_tensors(architecture: Architecture) -> None:
    with torch.device("meta"):
        model = Decoder(architecture)
    built = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert built == {spec.name: spec.shape for spec in tensor_specs(architecture)}
    check_parameters(model, architecture)


@settings(max_examples=25, deadline=None)
@given(architectures())
def test_every_kind_runs_and_learns_in_both_types(architecture: Architecture) -> None:
    model = _decoder(architecture)
    windows = torch.arange(12).view(2, 6) % architecture.vocab_size
    for dtype in (torch.float32, torch.bfloat16):
        model.compute_dtype = dtype
        loss = model.loss(windows)
        assert loss.shape == (2, 5)
        assert loss.dtype == torch.float32
        assert bool(loss.isfinite().all())
        torch.autograd.backward(loss.sum())
        missing = [name for name, p in model.named_parameters() if p.grad is None]
        assert missing == []


def test_count_worked_by_hand() -> None:
    # Embedding; per layer q, k and v, o, three feed-forward matrices, two norms; last norm.
    by_hand = 256 * 48 + 3 * (64 * 48 + 2 * 32 * 48 + 48 * 64 + 3 * 48 * 96 + 2 * 48) + 48
    assert check_parameters(Decoder(TINY), TINY) == by_hand


def test_mismatch_names_both_numbers() -> None:
    with pytest.raises(ParameterMismatch, match=r"81744 parameters.*the calculator counts 94032") as error:
        check_parameters(Decoder(TINY), replace(TINY, tie_embeddings=False))
    assert isinstance(error.value, AssertionError)


def test_alibi_is_refused() -> None:
    with pytest.raises(InvalidArchitecture, match="position 'alibi'"):
        Decoder(replace(TINY, position=PositionKind.ALIBI))


def _hugging_face(kind: str, a: Architecture, state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """The transformers model of the same shape, given our weights by name."""
    transformers = pytest.importorskip("transformers")
    common: dict[str, Any] = {
        "vocab_size": a.vocab_size,
        "hidden_size": a.hidden_size,
        "intermediate_size": a.intermediate_size,
        "num_hidden_layers": a.num_layers,
        "num_attention_heads": a.num_heads,
        "num_key_value_heads": a.num_kv_heads,
        "head_dim": a.head_dim,
        "tie_word_embeddings": a.tie_embeddings,
        "max_position_embeddings": 64,
    }
    model: torch.nn.Module = getattr(transformers, f"{kind}ForCausalLM")(
        getattr(transformers, f"{kind}Config")(**common)
    )
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert unexpected == []
    assert missing == (["lm_head.weight"] if a.tie_embeddings else [])
    return model.eval()


@pytest.mark.parametrize(
    ("kind", "architecture"),
    [
        ("Llama", TINY),
        ("Llama", replace(TINY, num_kv_heads=4, head_dim=12)),
        ("Llama", replace(TINY, num_kv_heads=1, head_dim=24, tie_embeddings=False)),
        ("Qwen2", replace(TINY, qkv_bias=True, head_dim=12)),
        ("Qwen3", replace(TINY, qk_norm=True)),
    ],
    ids=["gqa-head_dim", "mha", "mqa-untied", "qkv_bias", "qk_norm"],
)
def test_logits_equal_those_of_transformers(kind: str, architecture: Architecture) -> None:
    model = _decoder(architecture)
    with torch.no_grad():  # norms and biases too, or copying them would prove nothing
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
        ours = model(TOKENS)
        theirs = _hugging_face(kind, architecture, model.state_dict())(TOKENS).logits
    assert float((ours - theirs).abs().max()) < 1e-4


def test_bfloat16_is_near_float32() -> None:
    model = _decoder(TINY)
    with torch.no_grad():
        exact = model.loss(TOKENS).mean()
        model.compute_dtype = torch.bfloat16
        rough = model.loss(TOKENS).mean()
    assert exact != rough
    assert abs(float(exact - rough)) < 0.02


def test_later_tokens_do_not_change_earlier_logits() -> None:
    model = _decoder(TINY)
    changed = TOKENS.clone()
    changed[:, 5:] += 1
    with torch.no_grad():
        before, after = model(TOKENS), model(changed % 256)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


@pytest.mark.parametrize(
    ("strategy", "ends", "order"),
    [
        (SharingStrategy.IMMEDIATE, 0, (0, 0, 1, 1)),
        (SharingStrategy.REPEAT_ALL, 0, (0, 1, 0, 1)),
        (SharingStrategy.REVERSE, 0, (0, 1, 1, 0)),
        (SharingStrategy.MIDDLE, 1, (0, 1, 2, 1, 2, 3)),
    ],
)
def test_shared_blocks_run_as_their_unrolled_copies(
    strategy: SharingStrategy, ends: int, order: tuple[int, ...]
) -> None:
    sharing = LayerSharing(strategy=strategy, repeat=2, ends=ends)
    shared = replace(TINY, num_layers=2 + 2 * ends, sharing=sharing)
    model = _decoder(shared)
    state = model.state_dict()
    copies = {name: tensor for name, tensor in state.items() if ".layers." not in name}
    for layer, block in enumerate(order):
        prefix = f"model.layers.{block}."
        for name, tensor in state.items():
            if name.startswith(prefix):
                copies[f"model.layers.{layer}.{name.removeprefix(prefix)}"] = tensor
    unrolled = Decoder(shared.unrolled())
    unrolled.load_state_dict(copies)
    with torch.no_grad():
        assert torch.equal(model(TOKENS), unrolled(TOKENS))


def test_ffn_sizes_by_layer_run_as_padded_ones() -> None:
    sizes = (32, 96, 64)
    model = _decoder(replace(TINY, layer_intermediate_sizes=sizes))
    padded = Decoder(TINY)  # all as wide as the widest: what is added is zeros
    state = {name: torch.zeros_like(tensor) for name, tensor in padded.state_dict().items()}
    for name, tensor in model.state_dict().items():
        state[name][tuple(slice(size) for size in tensor.shape)] = tensor
    padded.load_state_dict(state)
    downs = [model.state_dict()[f"model.layers.{layer}.mlp.down_proj.weight"] for layer in range(3)]
    assert [down.shape[1] for down in downs] == list(sizes)
    assert check_parameters(model, model.architecture) < check_parameters(padded, TINY)
    with torch.no_grad():
        assert torch.allclose(model(TOKENS), padded(TOKENS), atol=1e-6)


def test_order_of_shared_blocks_changes_the_result() -> None:
    results = []
    for strategy in (SharingStrategy.IMMEDIATE, SharingStrategy.REPEAT_ALL, SharingStrategy.REVERSE):
        shared = replace(TINY, num_layers=2, sharing=LayerSharing(strategy=strategy, repeat=2))
        model = _decoder(replace(shared, sharing=LayerSharing()))  # the same weights for all
        repeated = Decoder(shared)
        repeated.load_state_dict(model.state_dict())
        with torch.no_grad():
            for parameter in repeated.parameters():
                parameter.mul_(3)
            results.append(repeated(TOKENS))
    assert not torch.allclose(results[0], results[1], atol=1e-3)
    assert not torch.allclose(results[0], results[2], atol=1e-3)
    assert not torch.allclose(results[1], results[2], atol=1e-3)
