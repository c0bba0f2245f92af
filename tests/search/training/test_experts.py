"""Experts against their definition, token by token, and transformers' Mixtral; how evenly they are used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from search.store.results import Candidate
from search.text.corpus import Corpus
from search.training.decoder import Decoder, check_parameters
from search.training.experts import BALANCE_WEIGHT, ExpertMlp, recorded_routing
from search.training.fused.step import unsupported_fields
from search.training.learning_rates import initial_deviation, initialize, learning_rate_factor
from search.training.low_bit import LowBit, few_bit_types
from search.training.quantize import fake_quantized_state, stored_types
from search.training.scaled_proxy import scaled_proxy
from search.training.score import train_proxy
from search.training.train_step import AutogradStep, make_train_step, step_backend, update_rule
from sizer.architecture import Architecture, MlpKind
from sizer.errors import InvalidArchitecture
from sizer.tensors import Role, count_parameters, tensor_specs
from tests.search.records import TINY
from tests.search.tiny_run import CONFIG

MIXED = replace(TINY, num_experts=4, num_experts_per_tok=2, vocab_size=64)
BATCH, SEQ = 3, 16


def decoder(architecture: Architecture = MIXED) -> Decoder:
    """A decoder with drawn weights, whose routers tell tokens apart."""
    model = Decoder(architecture)
    initialize(model, architecture, torch.Generator().manual_seed(3))
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.gate.weight.mul_(10)  # type: ignore[union-attr, operator]
    return model


def windows(seed: int = 0) -> Tensor:
    """Tokens of a batch, with the next one of each."""
    return torch.randint(64, (BATCH, SEQ + 1), generator=torch.Generator().manual_seed(seed))


def by_definition(block: ExpertMlp, x: Tensor) -> Tensor:
    """Each token through each of its experts, one by one."""
    experts = block.experts
    out = []
    for token in x.flatten(0, 1):
        probabilities = (block.gate.weight @ token).softmax(-1)
        best = sorted(range(len(probabilities)), key=lambda e: -probabilities[e].item())[: block.used]
        total = sum(probabilities[e] for e in best)
        mixed = torch.zeros_like(token)
        for e in best:
            gate, up = experts.gate_proj.weight[e] @ token, experts.up_proj.weight[e] @ token
            mixed = mixed + probabilities[e] / total * (experts.down_proj.weight[e] @ (F.silu(gate) * up))
        out.append(mixed)
    return torch.stack(out).view(x.shape)


@pytest.mark.parametrize(("experts", "used"), [(4, 2), (8, 3), (3, 3), (2, 2)])
def test_each_token_goes_through_its_experts(experts: int, used: int) -> None:
    model = decoder(replace(MIXED, num_experts=experts, num_experts_per_tok=used))
    block = model.model.layers[0].mlp
    assert isinstance(block, ExpertMlp)
    x = torch.randn(BATCH, SEQ, 64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    pull = torch.randn(BATCH, SEQ, 64, generator=torch.Generator().manual_seed(2))
    asked = [x, *block.parameters()]
    found, expected = block(x), by_definition(block, x)
    assert torch.allclose(found, expected, atol=1e-6)
    gradients = (torch.autograd.grad((y * pull).sum(), asked) for y in (found, expected))
    for mine, theirs in zip(*gradients, strict=True):
        assert theirs.any()
        assert torch.allclose(mine, theirs, atol=1e-5)


def test_weights_are_those_counted_by_hand() -> None:
    """Table 64 x 64; a layer: query 4,096, key and value 2,048 each, output 4,096, norms 128, router 256, 4 x
    3 matrices of 64 x 160; the last norm. A token leaves out two experts of each layer.
    """
    layer = 4_096 + 2 * 2_048 + 4_096 + 128 + 256 + 4 * 3 * 10_240
    assert layer == 135_552
    assert check_parameters(Decoder(MIXED), MIXED) == 4_096 + 2 * layer + 64 == 275_264
    assert count_parameters(tensor_specs(MIXED)).active == 275_264 - 2 * 2 * 3 * 10_240 == 152_384


def test_the_balance_is_transformers() -> None:
    mixtral = pytest.importorskip("transformers.models.mixtral.modeling_mixtral")
    model = decoder()
    with torch.no_grad(), recorded_routing(model) as routing:
        kept: list[Tensor] = []
        for layer in model.model.layers:
            layer.mlp.gate.register_forward_hook(  # type: ignore[union-attr]
                lambda module, inputs, output: kept.append(output)
            )
        model(windows())
    expected = mixtral.load_balancing_loss_func(tuple(kept), 4, 2)
    assert routing.balance_loss is not None
    assert float(routing.balance_loss) == pytest.approx(float(expected), abs=1e-6)
    assert float(expected) > 2.01  # 2 if the experts were used alike
    with torch.no_grad():
        model(windows())
    assert all(layer.mlp.routing is None for layer in model.model.layers)  # type: ignore[union-attr]
    with recorded_routing(decoder()) as unused:
        pass
    assert unused.balance_loss is None


def test_training_uses_experts_alike() -> None:
    """With the loss of balance alone to move the routers, tokens spread over the experts."""

    def busiest(weight: float, monkeypatch: pytest.MonkeyPatch) -> float:
        monkeypatch.setattr("search.training.train_step.BALANCE_WEIGHT", weight)
        model = decoder()
        rule = update_rule(MIXED, weight_decay=0.0, clip=1.0)
        step = make_train_step(model, batch=BATCH, seq=SEQ, dtype=torch.float32, rule=rule)
        assert isinstance(step, AutogradStep)  # there are no kernels
        for number in range(1, 31):
            step.step(windows(), 3e-3, number)
        with torch.no_grad(), recorded_routing(model) as routing:
            model(windows()[:, :-1])
        assert routing.balance_loss is not None
        return float(routing.balance_loss)

    with pytest.MonkeyPatch.context() as monkeypatch:
        assert busiest(1.0, monkeypatch) < busiest(0.0, monkeypatch) - 0.01
    assert BALANCE_WEIGHT == 0.02


def test_the_kernels_refuse_experts_and_autograd_repeats_itself() -> None:
    assert unsupported_fields(MIXED) == ("num_experts", "num_experts_per_tok")
    reason = step_backend(torch.float32, MIXED).reason
    assert reason == "there are no kernels for num_experts, num_experts_per_tok"
    ends = []
    for _ in range(2):
        model = decoder()
        step = AutogradStep(
            model, dtype=torch.bfloat16, rule=update_rule(MIXED, weight_decay=0.1, clip=1.0), micro_batch=2
        )
        for number in range(1, 4):
            step.step(windows(number), 3e-3, number)
        ends.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


def test_a_run_goes_on_from_its_checkpoint_as_if_it_had_never_stopped(corpus: Corpus, tmp_path: Path) -> None:
    candidate = Candidate(architecture=replace(MIXED, vocab_size=256), format="Q4_0")
    rungs = replace(CONFIG, steps=12, cooldown_steps=0)
    whole = train_proxy(candidate, corpus, rungs)
    path = tmp_path / "run.npz"
    train_proxy(candidate, corpus, replace(rungs, steps=5), checkpoint=path)
    assert train_proxy(candidate, corpus, rungs, checkpoint=path).val_bits_per_byte == whole.val_bits_per_byte


def test_experts_begin_and_learn_as_feed_forward_blocks_do() -> None:
    dense = {spec.role: spec for spec in tensor_specs(TINY) if spec.layer == 0}
    pairs = {Role.GATE_EXPERTS: Role.GATE, Role.UP_EXPERTS: Role.UP, Role.DOWN_EXPERTS: Role.DOWN}
    for spec in tensor_specs(MIXED):
        if spec.layer == 0 and spec.role in pairs:
            like = dense[pairs[spec.role]]
            assert initial_deviation(spec, MIXED) == initial_deviation(like, TINY)
            assert learning_rate_factor(spec, MIXED) == learning_rate_factor(like, TINY)


def test_experts_are_rounded_as_the_file_stores_them() -> None:
    """Each expert's matrices as those of a dense model; routers whole."""
    wide = replace(MIXED, hidden_size=256, intermediate_size=256, num_heads=8, num_kv_heads=8)
    model = decoder(wide)
    state = model.state_dict()
    for name in ("Q4_0", "Q4_K_M", "TQ1_0"):
        types = stored_types(wide, name)
        rounded = fake_quantized_state(state, wide, name)
        router = "model.layers.1.mlp.gate.weight"
        assert types[router].name == "F32"
        assert torch.equal(rounded[router], state[router])
        for matrix in ("gate_proj", "up_proj", "down_proj"):
            key = f"model.layers.1.mlp.experts.{matrix}.weight"
            alone = replace(wide, num_experts=0, num_experts_per_tok=0)
            one = f"model.layers.1.mlp.{matrix}.weight"
            assert types[key].name == stored_types(alone, name)[one].name
            shown = {n: t for n, t in state.items() if ".experts." not in n and ".gate." not in n}
            for e in range(4):
                dense = fake_quantized_state({**shown, one: state[key][e]}, alone, name)
                assert torch.equal(rounded[key][e], dense[one])
            assert not torch.equal(rounded[key], state[key])


def test_few_bit_experts_are_trained_rounded() -> None:
    wide = replace(MIXED, hidden_size=256, intermediate_size=256, num_heads=8, num_kv_heads=8)
    low_bit = LowBit(few_bit_types(wide, "TQ1_0", "llama.cpp"))
    key = "model.layers.0.mlp.experts.down_proj.weight"
    assert key in low_bit.names
    assert "model.layers.0.mlp.gate.weight" not in low_bit.names
    model = decoder(wide)
    rule = update_rule(wide, weight_decay=0.1, clip=1.0)
    step = make_train_step(model, batch=2, seq=16, dtype=torch.float32, rule=rule, low_bit=low_bit)
    step.step(windows(), 1e-3, 1)
    low_bit.apply_quantization(model)
    weight = model.state_dict()[key]
    assert len(weight[0, 0].abs().unique()) <= 2


def test_a_proxy_keeps_the_experts_and_other_kinds_are_refused() -> None:
    wide = replace(MIXED, hidden_size=256, intermediate_size=512, num_heads=8, num_kv_heads=8)
    proxy = scaled_proxy(wide, width_scale=0.25)
    assert (proxy.num_experts, proxy.num_experts_per_tok) == (4, 2)
    assert (proxy.hidden_size, proxy.intermediate_size) == (64, 128)
    with pytest.raises(InvalidArchitecture, match="num_experts: experts with mlp geglu cannot be trained"):
        Decoder(replace(MIXED, mlp=MlpKind.GEGLU))
    with pytest.raises(InvalidArchitecture, match="dense_layers: cannot be trained by the proxy"):
        Decoder(replace(MIXED, dense_layers=(0,)))
