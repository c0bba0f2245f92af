"""Few-bit training: what products use is what files store, both ways of training agree, and it pays."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from search.store.results import Candidate, TrialStatus, combined
from search.text.corpus import Corpus
from search.training import quantize
from search.training.checkpoint import load_checkpoint
from search.training.cooldown import cooldown_steps
from search.training.decoder import Decoder
from search.training.fused.kernels import NoKernels, kernels
from search.training.fused.step import FusedStep
from search.training.k_quants import q2_k_grid
from search.training.learning_rates import initialize
from search.training.low_bit import GRID_STEPS, LowBit, any_few_bits, few_bit_types, ternary_blocks
from search.training.quantize import fake_quantized_state, stored_types
from search.training.score import bits_per_byte, train_proxy
from search.training.train_step import AutogradStep, ProductPrecision, update_rule
from search.training.training_run import RunEnding, StepReport, TrainConfig, TrainingRun, _Divergence
from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.formats import bitnetcpp, ggml

WIDE = Architecture(
    vocab_size=256,
    num_layers=2,
    hidden_size=256,
    intermediate_size=256,
    num_heads=4,
    num_kv_heads=2,
    head_dim=64,
)
CONFIG = TrainConfig(
    steps=40,
    batch_size=4,
    seq_len=32,
    warmup_steps=5,
    learning_rate=2e-3,
    val_chunks=16,
    dtype=ProductPrecision.FP32,
)
TYPES = {**ggml.TYPES, **{name: recipe.matrix for name, recipe in bitnetcpp.RECIPES.items()}}
LLAMA_CPP, BITNET_CPP = "llama.cpp", "bitnet.cpp"
FORMATS = (("TQ1_0", LLAMA_CPP), ("Q2_K", LLAMA_CPP), ("I2_S", BITNET_CPP))


pytestmark = pytest.mark.usefixtures("one_thread")


def _low_bit(format_name: str, runtime: str, architecture: Architecture = WIDE) -> LowBit:
    return LowBit(few_bit_types(architecture, format_name, runtime))


def fake_quantize(tensor: Tensor, name: str) -> Tensor:
    """The tensor as read back from a block type."""
    return quantize.fake_quantize(tensor, TYPES[name])


def _model(architecture: Architecture = WIDE, seed: int = 0) -> Decoder:
    model = Decoder(architecture)
    initialize(model, architecture, torch.Generator().manual_seed(seed))
    return model


def _weights(rows: int = 4) -> Tensor:
    return torch.randn(rows, 512, generator=torch.Generator().manual_seed(1))


def test_formats_below_three_bits_need_it() -> None:
    assert few_bit_types(WIDE, "Q3_K_M", LLAMA_CPP) == {}
    assert few_bit_types(WIDE, "Q4_0", LLAMA_CPP) == {}
    assert few_bit_types(WIDE, "F16", LLAMA_CPP) == {}
    for name in ("TQ1_0", "TQ2_0"):
        found = few_bit_types(WIDE, name, LLAMA_CPP)
        assert set(found.values()) == {TYPES[name]}
        assert len(found) == 2 * 7  # every matrix of both blocks, not the table
    mixed = few_bit_types(WIDE, "Q2_K", LLAMA_CPP)
    assert "model.layers.0.mlp.up_proj.weight" in mixed
    assert "model.layers.0.mlp.down_proj.weight" not in mixed  # Q3_K in that mix: rounded afterwards
    assert set(few_bit_types(WIDE, "TL2", BITNET_CPP).values()) == {TYPES["TL2"]}


def test_a_study_s_formats_tell_whether_any_needs_it() -> None:
    assert any_few_bits(("Q4_0", "Q2_K"), LLAMA_CPP)
    assert any_few_bits(("TQ2_0",), LLAMA_CPP)
    assert any_few_bits(("I2_S",), BITNET_CPP)
    assert not any_few_bits(("Q3_K_M", "Q4_0", "F16"), LLAMA_CPP)


def test_matrices_that_fall_back_do_not() -> None:
    """Rows of 192 are stored as Q4_0 by TQ1_0's mix."""
    narrow = replace(WIDE, hidden_size=192, num_heads=3, num_kv_heads=1)
    found = few_bit_types(narrow, "TQ1_0", LLAMA_CPP)
    assert set(found) == {f"model.layers.{layer}.mlp.down_proj.weight" for layer in (0, 1)}


def test_ternary_blocks_by_hand() -> None:
    row = torch.zeros(1, 512)
    row[0, :4] = torch.tensor([64.0, 32.0, -96.0, 64.0])  # mean magnitude 256 / 256 = 1
    row[0, 4:7] = torch.tensor([0.5, 0.4, -0.6])
    row[0, 4] = -1e-9
    row[0, 256:] = -2.0
    scale = float(torch.tensor(256.0 + 0.4 + 0.6).div(256).half())
    expected = [scale, scale, -scale, scale, 0.0, 0.0, -scale]
    assert ternary_blocks(row)[0, :7].tolist() == expected
    assert ternary_blocks(row)[0, 256:].tolist() == [-2.0] * 256
    assert not ternary_blocks(torch.zeros(1, 256)).any()


@pytest.mark.parametrize("name", ["TQ1_0", "TQ2_0"])
def test_llama_cpp_s_quantizer_keeps_what_was_trained(name: str) -> None:
    """gguf's own quantizer, an oracle outside of ours, gives the trained values back bit by bit."""
    weights = _weights() * torch.tensor([1.0, 1e-3, 7.3, 0.05]).unsqueeze(1)
    trained = ternary_blocks(weights)
    assert torch.equal(fake_quantize(trained, name), trained)
    quants: Any = pytest.importorskip("gguf.quants")
    kind = pytest.importorskip("gguf").GGMLQuantizationType[name]
    stored = quants.dequantize(quants.quantize(trained.numpy(), kind), kind)
    assert torch.equal(torch.from_numpy(stored).float(), trained)


def test_training_s_rounding_is_nearer_than_that_of_llama_cpp() -> None:
    """Why the mean magnitude is the scale: rounded to the largest one, most weights are lost."""
    weights = _weights()
    mean_error = (ternary_blocks(weights) - weights).square().mean()
    largest_error = (fake_quantize(weights, "TQ1_0") - weights).square().mean()
    assert mean_error < 0.3 < 0.7 < largest_error


def test_bitnet_s_weights_by_hand() -> None:
    weights = torch.tensor([[1.0, -0.5], [0.3, 0.2]])  # mean magnitude 0.5: 2, -1, 0.6, 0.4
    rounded = fake_quantize(weights, "I2_S")
    assert rounded.tolist() == [[0.5, -0.5], [0.5, 0.0]]
    assert torch.equal(LowBit({"w": TYPES["I2_S"]}).rounded("w", weights, 1), rounded)
    for name in ("TL1", "TL2"):
        assert torch.equal(fake_quantize(weights, name), rounded)


def test_two_bits_are_exactly_ggml_s_whenever_the_grid_is_new() -> None:
    low_bit, weights = LowBit({"w": TYPES["Q2_K"]}), _weights()
    assert torch.equal(low_bit.rounded("w", weights, 1), fake_quantize(weights, "Q2_K"))
    moved = weights * 1.5
    kept = low_bit.rounded("w", moved, 2)
    assert not torch.equal(kept, fake_quantize(moved, "Q2_K"))
    step, shift = (part.flatten(0, 1) for part in q2_k_grid(weights.view(-1, 256)))
    levels = (kept.view(-1, 16) + shift) / step.clamp(min=1e-9)
    assert torch.allclose(levels[step.flatten() > 0], levels[step.flatten() > 0].round(), atol=1e-4)
    assert torch.equal(low_bit.rounded("w", moved, GRID_STEPS), fake_quantize(moved, "Q2_K"))


def _agree(architecture: Architecture, format_name: str, runtime: str, worst: float = 5e-6) -> None:
    """Loss and gradients of a first step, and the losses of the steps after it."""
    low_bit = [_low_bit(format_name, runtime, architecture) for _ in range(2)]
    try:
        kernels(torch.float32)
    except NoKernels as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no kernels: {error}")
    rule = update_rule(architecture, weight_decay=0.1, clip=1.0)
    one, other = _model(architecture), _model(architecture)
    fused = FusedStep(one, batch=3, seq=24, dtype=torch.float32, rule=rule, low_bit=low_bit[0])
    eager = AutogradStep(other, dtype=torch.float32, rule=rule, low_bit=low_bit[1])
    generator = torch.Generator().manual_seed(2)
    for number in (1, 2, 3):
        windows = torch.randint(256, (3, 25), generator=generator)
        fused.step(windows, 1e-3, number)
        eager.step(windows, 1e-3, number)
        losses = fused.pop_loss(), eager.pop_loss()
        # later steps round weights that differ in their last place: a few of them to another level
        assert losses[0] == pytest.approx(losses[1], abs=worst if number == 1 else 1e-3), number
        if number == 1:
            for name, (mean, _) in fused.moments.items():
                assert float((mean - eager.moments[name][0]).norm() / mean.norm()) < worst, name


@pytest.mark.parametrize(("format_name", "runtime"), FORMATS)
def test_both_ways_of_training_agree(format_name: str, runtime: str) -> None:
    # an activation half-way between two of 256 levels may fall to either
    _agree(WIDE, format_name, runtime, 5e-3 if runtime == BITNET_CPP else 5e-6)


def test_they_agree_on_shared_blocks() -> None:
    shared = replace(WIDE, sharing=LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=2))
    _agree(shared, "TQ2_0", LLAMA_CPP)


@pytest.mark.parametrize(("format_name", "runtime"), FORMATS)
def test_written_out_steps_multiply_with_the_rounded_weights(format_name: str, runtime: str) -> None:
    rule = update_rule(WIDE, weight_decay=0.0, clip=1.0)
    low_bit, model = _low_bit(format_name, runtime), _model()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    try:
        fused = FusedStep(model, batch=2, seq=16, dtype=torch.float32, rule=rule, low_bit=low_bit)
    except NoKernels as error:
        pytest.skip(f"no kernels: {error}")
    fused.step(torch.randint(256, (2, 17), generator=torch.Generator().manual_seed(0)), 1e-3, 1)
    fused._run(torch.randint(256, (2, 17), generator=torch.Generator().manual_seed(0)), 1)
    for name, parameter in model.named_parameters():
        if name in low_bit.names:
            assert torch.equal(fused._copies[name], low_bit.rounded(name, parameter, 2)), name
            assert not torch.equal(fused._copies[name], parameter), name
        assert not torch.equal(parameter, before[name])


@pytest.mark.parametrize(("format_name", "runtime"), FORMATS)
def test_scored_weights_are_those_trained_with(corpus: Corpus, format_name: str, runtime: str) -> None:
    """The quantizer of the runtime gives back, for every few-bit matrix, what the last product used."""
    low_bit = _low_bit(format_name, runtime)
    run = TrainingRun(WIDE, corpus, replace(CONFIG, steps=6, runtime=runtime), low_bit)
    run.advance(lambda report: None, lambda: False)
    exact = {name: matrix.weight.detach().clone() for name, matrix in run.model.matrices.items()}
    run.apply_quantization()
    state = fake_quantized_state(run.model.state_dict(), WIDE, format_name, runtime)
    for name in low_bit.names:
        assert torch.equal(state[name], low_bit.rounded(name, exact[name], GRID_STEPS)), name
    types = stored_types(WIDE, format_name, runtime)
    table = "model.embed_tokens.weight"
    assert torch.equal(state[table], quantize.fake_quantize(run.model.state_dict()[table], types[table]))
    inputs = {name for name, matrix in run.model.matrices.items() if matrix.int8_input}
    assert inputs == (set(low_bit.names) if runtime == BITNET_CPP else set())


def test_rounding_begins_with_the_cool_down(corpus: Corpus) -> None:
    numbers: list[int] = []

    class Noted(LowBit):
        def rounded(self, name: str, weight: Tensor, number: int) -> Tensor:
            numbers.append(number)
            return super().rounded(name, weight, number)

    noted = Noted(few_bit_types(WIDE, "TQ1_0", LLAMA_CPP))
    config = replace(CONFIG, steps=10, cooldown_steps=3)
    TrainingRun(WIDE, corpus, config, noted).advance(lambda report: None, lambda: False)
    assert sorted(set(numbers)) == [8, 9, 10]
    assert numbers.count(8) == len(noted.names)


@pytest.mark.parametrize("fused", [True, False])
def test_the_optimizer_is_the_same_when_rounding_begins(corpus: Corpus, fused: bool) -> None:
    config = replace(CONFIG, steps=10, cooldown_steps=0, fused=fused)
    run = TrainingRun(WIDE, corpus, config, _low_bit("TQ1_0", LLAMA_CPP))
    run.advance(lambda report: None, lambda: False)
    before = {name: (m.clone(), s.clone()) for name, (m, s) in run._train_step.moments.items()}
    run._round_from_now_on()
    for name, (mean, square) in run._train_step.moments.items():
        assert square.any(), name
        assert torch.equal(mean, before[name][0]), name
        assert torch.equal(square, before[name][1]), name


def test_the_jump_of_the_loss_when_rounding_begins_is_no_divergence(corpus: Corpus) -> None:
    config = replace(CONFIG, steps=10, cooldown_steps=4)
    run = TrainingRun(WIDE, corpus, config, _low_bit("TQ1_0", LLAMA_CPP))
    run.advance(lambda report: None, lambda: run.step == 6)
    run._watch = _Divergence(first=5.5, lowest=1.0)  # as of a model trained well
    assert run.advance(lambda report: None, lambda: False) is RunEnding.DONE
    plain = TrainingRun(WIDE, corpus, config)
    plain.advance(lambda report: None, lambda: plain.step == 6)
    plain._watch = _Divergence(first=5.5, lowest=1.0)
    assert plain.advance(lambda report: None, lambda: False) is RunEnding.DIVERGED


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("format_name", "runtime"), FORMATS)
def test_a_run_goes_on_inside_the_rounded_steps(
    corpus: Corpus, tmp_path: Path, format_name: str, runtime: str, fused: bool
) -> None:
    config = replace(CONFIG, steps=30, cooldown_steps=24, runtime=runtime, fused=fused)
    whole = TrainingRun(WIDE, corpus, config, _low_bit(format_name, runtime))
    whole.advance(lambda report: None, lambda: False)
    path, asked = tmp_path / "run.npz", 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 13  # 7 rounded steps, before the grids are found anew at 16

    first = TrainingRun(WIDE, corpus, config, _low_bit(format_name, runtime))
    first.advance(lambda report: None, should_stop, path)
    assert first.step == 13
    second = TrainingRun(WIDE, corpus, config, _low_bit(format_name, runtime))
    second.load(path)
    second.advance(lambda report: None, lambda: False)
    theirs = dict(whole.model.named_parameters())
    for name, parameter in second.model.named_parameters():
        assert torch.equal(parameter, theirs[name]), name


def _same_weights(one: Path, other: Path) -> bool:
    mine, theirs = load_checkpoint(one)[0], load_checkpoint(other)[0]
    return set(mine) == set(theirs) and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_rung_is_scored_after_rounded_steps_aside(corpus: Corpus, tmp_path: Path) -> None:
    rung = replace(CONFIG, cooldown_steps=0)
    candidate, plain = (Candidate(architecture=WIDE, format=name) for name in ("TQ2_0", "Q4_0"))
    path, other = tmp_path / "few.npz", tmp_path / "plain.npz"
    reports: list[StepReport] = []
    few = train_proxy(candidate, corpus, rung, checkpoint=path, on_step=reports.append)
    four = train_proxy(plain, corpus, rung, checkpoint=other)
    extra = cooldown_steps(CONFIG.steps)
    assert (few.steps, few.aside_tokens) == (40, extra * 4 * 32)
    assert few.trained_tokens == (40 + extra) * 4 * 32
    assert (four.trained_tokens, four.aside_tokens) == (40 * 4 * 32, 0)
    assert max(report.step for report in reports) == 40
    assert max(report.copy_steps for report in reports) == extra
    # what the next rung goes on from knows nothing of them
    assert _same_weights(path, other)
    longer = replace(rung, steps=50)
    train_proxy(candidate, corpus, longer, checkpoint=path)
    train_proxy(plain, corpus, longer, checkpoint=other)
    assert _same_weights(path, other)


def test_others_are_scored_as_they_would_end_where_they_are_compared_with_few_bits(
    corpus: Corpus, tmp_path: Path
) -> None:
    rung = replace(CONFIG, cooldown_steps=0, score_on_copy=True)
    candidate, path = Candidate(architecture=WIDE, format="F32"), tmp_path / "run.npz"
    cooled = train_proxy(candidate, corpus, rung, checkpoint=path)
    extra = cooldown_steps(CONFIG.steps)
    ended = train_proxy(candidate, corpus, replace(CONFIG, steps=CONFIG.steps + extra, cooldown_steps=extra))
    assert cooled.val_bits_per_byte == ended.val_bits_per_byte
    assert (cooled.steps, cooled.trained_tokens) == (40, ended.trained_tokens)
    plain = train_proxy(candidate, corpus, replace(CONFIG, cooldown_steps=0))
    assert cooled.val_bits_per_byte != plain.val_bits_per_byte


def test_tokens_aside_are_counted_once_for_each_rung(corpus: Corpus) -> None:
    rung = replace(CONFIG, steps=10, cooldown_steps=0)
    result = train_proxy(Candidate(architecture=WIDE, format="TQ2_0"), corpus, rung)
    tokens = 4 * 32
    first = replace(result, rung=0, trained_tokens=11 * tokens, aside_tokens=tokens)
    second = replace(result, rung=1, trained_tokens=33 * tokens, aside_tokens=3 * tokens)
    both = combined([first, second])
    assert both.trained_tokens == (30 + 3 + 1) * tokens
    assert both.aside_tokens == 4 * tokens
    again = replace(first, seed=1)
    assert combined([again, replace(second, seed=0)]).trained_tokens == (11 + 33) * tokens


def test_stopping_aside_is_a_stop_and_goes_on(corpus: Corpus, tmp_path: Path) -> None:
    rung, path, asked = replace(CONFIG, cooldown_steps=0), tmp_path / "run.npz", 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 42

    candidate = Candidate(architecture=WIDE, format="TQ1_0")
    stopped = train_proxy(candidate, corpus, rung, checkpoint=path, should_stop=should_stop)
    assert (stopped.status, stopped.steps) == (TrialStatus.STOPPED, 40)
    resumed = train_proxy(candidate, corpus, rung, checkpoint=path)
    assert resumed.val_bits_per_byte == train_proxy(candidate, corpus, rung).val_bits_per_byte


def _rounded_afterwards(corpus: Corpus, config: TrainConfig, format_name: str, runtime: str) -> float:
    """Bits per byte of the same run without few-bit training."""
    run = TrainingRun(WIDE, corpus, config)
    run.advance(lambda report: None, lambda: False)
    state = fake_quantized_state(run.model.state_dict(), WIDE, format_name, runtime)
    run.model.load_state_dict(state)
    return bits_per_byte(run.model, corpus.val_chunks(config.val_chunks, config.seq_len)).mean().item()


@pytest.mark.slow
def test_it_pays_and_more_bits_are_better(corpus: Corpus) -> None:
    config = replace(CONFIG, steps=200, batch_size=8, seq_len=64, val_chunks=64)
    score: dict[str, float] = {}
    for name, runtime in (*FORMATS, ("Q4_0", LLAMA_CPP), ("F32", LLAMA_CPP)):
        candidate = Candidate(architecture=WIDE, format=name)
        result = train_proxy(candidate, corpus, replace(config, runtime=runtime))
        assert result.val_bits_per_byte is not None
        score[name] = result.val_bits_per_byte
    for name, runtime in FORMATS:
        gain = _rounded_afterwards(corpus, config, name, runtime) - score[name]
        # 2 bits with a scale for every 16 weights lose little either way (docs/method.md, Bits)
        assert gain > (-0.02 if name == "Q2_K" else 0.1), (name, gain)
    assert score["TQ1_0"] > score["Q2_K"] > score["Q4_0"] - 0.01
    assert score["Q4_0"] >= score["F32"] - 0.01
