"""Memory of training: parts of a batch, losses in chunks, attention without scores, what is predicted."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from search.store.results import TrialStatus
from search.text.corpus import Corpus
from search.training.accelerator import numerics, training_device
from search.training.decoder import Decoder
from search.training.learning_rates import initialize
from search.training.low_bit import LowBit
from search.training.memory import moved, predicted_bytes
from search.training.score import train_proxy
from search.training.teacher import Teacher
from search.training.train_step import AutogradStep, update_rule
from search.training.training_run import TrainingRun
from sizer.architecture import Architecture
from sizer.formats.ggml import TYPES
from tests.search.tiny_run import CANDIDATE, CONFIG, TINY

pytestmark = pytest.mark.usefixtures("one_thread")

GROUPED = replace(TINY, hidden_size=64, num_heads=4, num_kv_heads=2, head_dim=16)
EAGER = replace(CONFIG, fused=False)


def _decoder(shape: Architecture, seed: int = 0) -> Decoder:
    model = Decoder(shape)
    initialize(model, shape, torch.Generator().manual_seed(seed))
    return model


def _windows(batch: int, seq: int = 16) -> Tensor:
    return torch.randint(256, (batch, seq + 1), generator=torch.Generator().manual_seed(1))


def _limit_windows(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Let a model's loss run out of memory above some windows, as torch does; return the sizes tried."""
    whole, tried = Decoder.loss, list[int]()

    def limited(self: Decoder, windows: Tensor) -> Tensor:
        tried.append(len(windows))
        if len(windows) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8.39 GiB")
        return whole(self, windows)

    monkeypatch.setattr(Decoder, "loss", limited)
    return tried


@pytest.mark.parametrize("case", ["plain", "taught", "low bit"])
def test_a_batch_in_parts_takes_the_step_of_the_whole(case: str) -> None:
    shape = replace(GROUPED, hidden_size=256, intermediate_size=256) if case == "low bit" else GROUPED
    rule = update_rule(shape, weight_decay=0.1, clip=1.0)
    losses, weights = [], []
    for micro_batch in (7, 3):  # 3 + 3 + 1: parts of unequal size
        model = _decoder(shape)
        few = LowBit(dict.fromkeys(model.matrices, TYPES["TQ2_0"])) if case == "low bit" else None
        teacher = Teacher(_decoder(shape, 5), dtype=torch.float32) if case == "taught" else None
        step = AutogradStep(
            model, dtype=torch.float32, rule=rule, low_bit=few, teacher=teacher, micro_batch=micro_batch
        )
        for number in range(1, 4):
            step.step(_windows(7), 1e-3, number)
        losses.append(step.pop_loss())
        weights.append([p.detach().clone() for p in model.parameters()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for whole, parts in zip(*weights, strict=True):
        torch.testing.assert_close(whole, parts, rtol=1e-3, atol=1e-5)


def test_a_run_out_of_memory_continues_with_smaller_parts(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = train_proxy(CANDIDATE, corpus, EAGER)
    tried = _limit_windows(monkeypatch, 3)
    result = train_proxy(CANDIDATE, corpus, EAGER)
    assert tried[:4] == [4, 2, 2, 2]  # the batch, then its halves at this step and at the next
    assert 16 in tried  # windows of a score, and fewer after it
    assert (result.status, result.micro_batch, result.restarts) == (TrialStatus.COMPLETE, 2, 0)
    assert before.micro_batch is None
    assert before.val_bits_per_byte is not None
    assert result.val_bits_per_byte == pytest.approx(before.val_bits_per_byte, abs=2e-3)


def test_a_run_that_one_window_is_too_much_for_has_failed_for_memory(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = _limit_windows(monkeypatch, 0)
    result = train_proxy(CANDIDATE, corpus, EAGER)
    assert (result.status, result.reason) == (TrialStatus.FAILED, "out of memory")
    assert tried[-1] == 1


def test_gradients_of_a_part_that_failed_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = update_rule(GROUPED, weight_decay=0.1, clip=1e9)
    right = AutogradStep(_decoder(GROUPED), dtype=torch.float32, rule=rule)
    right.step(_windows(4), 1e-3, 1)
    whole, calls = Decoder.loss, 0

    def fails_once(self: Decoder, windows: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, windows)

    monkeypatch.setattr(Decoder, "loss", fails_once)
    step = AutogradStep(_decoder(GROUPED), dtype=torch.float32, rule=rule, micro_batch=2)
    step.step(_windows(4), 1e-3, 1)
    assert (calls, step.micro_batch) == (6, 1)  # one part, one that failed, then four
    for name, (mean, _) in step.moments.items():
        torch.testing.assert_close(mean, right.moments[name][0], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("tied", [True, False])
def test_a_loss_in_chunks_holds_one_chunk_of_logits(tied: bool) -> None:
    shape = replace(GROUPED, vocab_size=5000, tie_embeddings=tied)
    plain, bounded = _decoder(shape), _decoder(shape)
    bounded.bound_memory(4 * 5000 * 10)  # ten tokens of logits
    windows = _windows(4)
    losses, largest = [], []
    for model in (plain, bounded):
        held: list[int] = []

        def note(tensor: Tensor, held: list[int] = held) -> Tensor:
            if tensor.dim() >= 2 and tensor.shape[-1] == 5000 or 5000 in tensor.shape[1:]:
                held.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = model.loss(windows)
        torch.autograd.backward(loss.mean())
        losses.append(loss.detach())
        largest.append(max(held, default=0))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-5)
    assert largest[0] >= 4 * 16 * 5000
    assert largest[1] < 4 * 16 * 5000 / 4
    for mine, theirs in zip(plain.parameters(), bounded.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_attention_without_scores_is_the_same(kv_heads: int) -> None:
    shape = replace(GROUPED, num_kv_heads=kv_heads)
    plain, bounded = _decoder(shape), _decoder(shape)
    bounded.bound_memory()
    tokens = _windows(3)
    a, b = plain(tokens), bounded(tokens)
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    torch.autograd.backward(a.square().mean())
    torch.autograd.backward(b.square().mean())
    for mine, theirs in zip(plain.parameters(), bounded.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-6)


def test_a_run_on_a_card_bounds_memory_and_pins_batches(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Card:
        """A device that calls itself a card; tensors go to the processor."""

        type = "cuda"

    monkeypatch.setattr("search.training.training_run.training_device", lambda name: Card())
    monkeypatch.setattr(Decoder, "to", lambda self, device: self)
    pinned = 0

    def pin(self: Tensor) -> Tensor:
        nonlocal pinned
        pinned += 1
        return self

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    whole = Tensor.to
    monkeypatch.setattr(
        Tensor, "to", lambda self, to, **kw: self if isinstance(to, Card) else whole(self, to, **kw)
    )
    run = TrainingRun(TINY, corpus, replace(EAGER, steps=3, cooldown_steps=0))
    assert run.model.logit_bytes == 256 * 2**20
    assert all(layer.self_attn.keeps_no_scores for layer in run.model.model.layers)  # type: ignore[union-attr]
    run.advance(lambda report: None, lambda: False)
    assert (run.step, pinned) == (3, 3)


def test_batches_for_the_processor_are_not_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: pytest.fail("pinned"))
    windows = _windows(1)
    assert moved(windows, torch.device("cpu"), pinned=False) is windows


def test_a_prediction_grows_with_model_batch_and_context() -> None:
    small = predicted_bytes(TINY, batch_size=8, seq_len=128)
    assert 600 * 2**20 < small < 700 * 2**20  # the process is most of it
    # weights, gradients and two moments in float32 of 134.5M parameters alone are 2.15 GB
    smol = Architecture(
        vocab_size=49152,
        num_layers=30,
        hidden_size=576,
        intermediate_size=1536,
        num_heads=9,
        num_kv_heads=3,
        head_dim=64,
    )
    large = predicted_bytes(smol, batch_size=8, seq_len=1024)
    assert 5e9 < large < 20e9
    assert large > predicted_bytes(smol, batch_size=4, seq_len=1024)
    assert large > predicted_bytes(smol, batch_size=8, seq_len=512)


def test_tf32_is_off_on_cards_and_a_study_records_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = True
        training_device("cpu")
        assert torch.backends.cuda.matmul.allow_tf32
        training_device("cuda")
        assert not torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    assert numerics("cuda")["tf32"] == "off"
    assert numerics("cpu") == {}


def test_the_optimizer_counts_steps_across_a_resume() -> None:
    rule = update_rule(GROUPED, weight_decay=0.1, clip=1.0)
    model, other = _decoder(GROUPED), _decoder(GROUPED)
    step = AutogradStep(model, dtype=torch.float32, rule=rule)
    for number in (1, 2, 3):
        step.step(_windows(2), 1e-3, number)
    first = AutogradStep(other, dtype=torch.float32, rule=rule)
    for number in (1, 2):
        first.step(_windows(2), 1e-3, number)
    resumed = AutogradStep(other, dtype=torch.float32, rule=rule)
    for name, (mean, square) in resumed.moments.items():
        mean.copy_(first.moments[name][0])
        square.copy_(first.moments[name][1])
    resumed.step(_windows(2), 1e-3, 3)
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert math.isfinite(step.pop_loss())
