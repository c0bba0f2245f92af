"""Distillation: the mixed loss by hand, and that it is learned from."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from search.text.corpus import load_corpus
from search.training.decoder import Decoder
from search.training.learning_rates import initialize
from search.training.low_bit import LowBit, few_bit_types
from search.training.teacher import WEIGHT, Teacher, load_teacher
from search.training.train_step import AutogradStep, ProductPrecision, make_train_step, update_rule
from search.training.training_run import TrainConfig, TrainingRun
from sizer.architecture import Architecture
from sizer.errors import InvalidFile
from sizer.runtimes import DEFAULT_RUNTIME

TINY = Architecture(
    vocab_size=256,
    num_layers=1,
    hidden_size=32,
    intermediate_size=64,
    num_heads=1,
    num_kv_heads=1,
    head_dim=32,
)
CONFIG = TrainConfig(steps=5, batch_size=2, seq_len=16, warmup_steps=1, dtype=ProductPrecision.FP32)


class _Fixed(nn.Module):
    """Gives the same logits whatever it is asked; stands in for a Decoder of a vocabulary of two."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))
        self.compute_dtype = torch.float32

    def forward(self, tokens: Tensor) -> Tensor:
        return self.logits.expand(*tokens.shape, -1)


def test_the_mixed_loss_and_its_gradient_by_hand() -> None:
    student = _Fixed(0.0, 0.0)  # one half, one half
    teacher = Teacher(_Fixed(math.log(0.9), math.log(0.1)), dtype=torch.float32)  # type: ignore[arg-type]
    windows = torch.tensor([[0, 0, 1]])
    text, mixed = teacher.losses(student, windows)  # type: ignore[arg-type]
    assert text.item() == pytest.approx(math.log(2))
    distance = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert mixed.item() == pytest.approx((1 - WEIGHT) * math.log(2) + WEIGHT * distance)
    torch.autograd.backward(mixed)
    # probability less target, which is (1/2, 1/2) for the text and (0.9, 0.1) for the teacher
    assert student.logits.grad is not None
    assert student.logits.grad.tolist() == pytest.approx([WEIGHT * (0.5 - 0.9), WEIGHT * (0.5 - 0.1)])


def _saved(path: Path, architecture: Architecture = TINY, low_bit: LowBit | None = None) -> Path:
    run = TrainingRun(architecture, load_corpus("builtin"), CONFIG, low_bit)
    run.advance(lambda report: None, lambda: False, path)
    return path


def test_a_checkpoint_teaches(tmp_path: Path) -> None:
    path = _saved(tmp_path / "teacher.npz")
    teacher = load_teacher(path, vocab_size=256)
    assert replace(teacher._model.architecture, name=TINY.name) == TINY
    student = Decoder(TINY)
    initialize(student, TINY, torch.Generator().manual_seed(5))
    windows = load_corpus("builtin").val_chunks(4, 16).windows
    rule = update_rule(TINY, weight_decay=0.0, clip=1.0)
    train_step = make_train_step(student, batch=4, seq=16, dtype=torch.float32, rule=rule, teacher=teacher)
    assert isinstance(train_step, AutogradStep)
    before = [loss.item() for loss in teacher.losses(student, windows)]
    for number in range(1, 9):
        train_step.step(windows, 3e-3, number)
    after = [loss.item() for loss in teacher.losses(student, windows)]
    assert after[1] < before[1]
    assert train_step.pop_loss() / 8 < math.log(256) + 0.5  # reported in nats of the text, not mixed
    untaught = TrainingRun(TINY, load_corpus("builtin"), CONFIG)
    taught = TrainingRun(TINY, load_corpus("builtin"), replace(CONFIG, teacher=path))
    for run in (untaught, taught):
        run.advance(lambda report: None, lambda: False)
    weights = [next(run.model.parameters()) for run in (untaught, taught)]
    assert not torch.equal(*weights)


def test_what_cannot_teach_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="cannot be read"):
        load_teacher(tmp_path / "nothing.npz", vocab_size=256)
    path = _saved(tmp_path / "teacher.npz")
    with pytest.raises(InvalidFile, match="must have a vocabulary of 1000, got 256"):
        load_teacher(path, vocab_size=1000)
    wide = replace(TINY, hidden_size=256, intermediate_size=256, num_heads=4, num_kv_heads=4, head_dim=64)
    rounded = LowBit(few_bit_types(wide, "TQ2_0", DEFAULT_RUNTIME))
    with pytest.raises(InvalidFile, match="trained rounded to few bits"):
        load_teacher(_saved(tmp_path / "few.npz", wide, rounded), vocab_size=256)
