"""A model in training: its schedule, its checkpoints, and going on from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from search.store.results import TrialStatus
from search.text.corpus import Corpus
from search.training.learning_rates import initial_deviation
from search.training.score import train_proxy
from search.training.train_step import update_rule
from search.training.training_run import (
    SAVE_EVERY_S,
    TRAINER_REVISION,
    RunEnding,
    StepReport,
    TrainConfig,
    TrainingRun,
    save_interval_s,
    schedule,
)
from sizer.errors import InvalidQuantity
from sizer.tensors import tensor_specs
from tests.search.tiny_run import CANDIDATE, CONFIG, TINY, same

_REVISION_2 = """\
revision 2: rate 0.0015, decay 0.1, clip 1.0, of the rate at steps 1, 50, 81, 100 0.02 1 1 0.05
Adam 0.9 0.95 1e-10
token_embd 6.325 0.04
attn_q 2.5 0.0625
attn_k 2.5 0.0625
attn_v 2.5 0.0625
attn_output 1.25 0.007812
ffn_gate 2.5 0.0625
ffn_up 2.5 0.0625
ffn_down 1.667 0.005524
output 6.325 0.04
"""

pytestmark = pytest.mark.usefixtures("one_thread")


def test_schedule_by_hand() -> None:
    config = replace(CONFIG, steps=100, warmup_steps=4)
    rates = [schedule(step, config) for step in (1, 2, 4, 5, 80, 81, 91, 100)]
    assert rates == pytest.approx([0.25, 0.5, 1, 1, 1, 1, 0.5, 0.05])


def test_what_decides_a_loss_changes_with_the_revision() -> None:
    # where this fails as the trainer was changed on purpose: raise TRAINER_REVISION, then these
    config = TrainConfig(steps=100)
    told = f"revision {TRAINER_REVISION}: rate {config.learning_rate}, decay {config.weight_decay}, "
    told += f"clip {config.grad_clip}, of the rate at steps 1, 50, 81, 100"
    told += "".join(f" {schedule(step, config):.4g}" for step in (1, 50, 81, 100)) + "\n"
    untied = replace(TINY, num_layers=4, tie_embeddings=False)
    rule = update_rule(untied, weight_decay=config.weight_decay, clip=config.grad_clip)
    told += f"Adam {rule.beta1} {rule.beta2} {rule.epsilon}\n"
    told += "".join(
        f"{spec.role.value} {rule.rate_of[spec.name]:.4g} {initial_deviation(spec, untied):.4g}\n"
        for spec in tensor_specs(untied)
        if spec.layer in (0, None) and len(spec.shape) > 1
    )
    assert told == _REVISION_2


def test_rungs_keep_the_rate() -> None:
    config = replace(CONFIG, steps=100, warmup_steps=4, cooldown_steps=0)
    assert [schedule(step, config) for step in (2, 5, 90, 100)] == [0.5, 1, 1, 1]
    ending = replace(config, cooldown_steps=10)
    assert [schedule(step, ending) for step in (90, 91, 96, 100)] == pytest.approx([1, 1, 0.5, 0.1])
    with pytest.raises(InvalidQuantity, match="cooldown_steps must be from 0 to steps"):
        replace(CONFIG, cooldown_steps=61)


@pytest.mark.parametrize("fused", [True, False])
def test_a_run_goes_on_from_its_checkpoint_as_if_it_had_never_stopped(
    corpus: Corpus, tmp_path: Path, fused: bool
) -> None:
    rungs = replace(CONFIG, cooldown_steps=0, fused=fused)
    whole = train_proxy(CANDIDATE, corpus, rungs)
    path = tmp_path / "run.npz"
    first = train_proxy(CANDIDATE, corpus, replace(rungs, steps=23), checkpoint=path)
    reports: list[StepReport] = []
    second = train_proxy(CANDIDATE, corpus, rungs, checkpoint=path, on_step=reports.append)
    assert (first.steps, second.steps) == (23, 60)
    assert reports[0].step == 30  # not trained again
    assert second.val_bits_per_byte == whole.val_bits_per_byte
    assert second.trained_tokens == whole.trained_tokens


def test_either_way_of_training_goes_on_with_the_other_ones_checkpoint(
    corpus: Corpus, tmp_path: Path
) -> None:
    path = tmp_path / "run.npz"
    rungs = replace(CONFIG, steps=30, cooldown_steps=0)
    saved = TrainingRun(TINY, corpus, replace(rungs, fused=True))
    saved.advance(lambda report: None, lambda: False, path)
    taken_up = TrainingRun(TINY, corpus, replace(rungs, fused=False))
    taken_up.load(path)
    assert taken_up.step == 30
    theirs = dict(saved.model.named_parameters())
    assert all(torch.equal(p, theirs[n]) for n, p in taken_up.model.named_parameters())
    for name, (mean, square) in taken_up._train_step.moments.items():
        assert torch.equal(mean, saved._train_step.moments[name][0])
        assert torch.equal(square, saved._train_step.moments[name][1])
        assert square.any(), name
    windows = corpus.train_batches(0, 4, 64).at(31)
    losses = []
    for training in (saved, taken_up):
        for step in (31, 32):
            training._train_step.step(windows, 1e-3, step)
        losses.append(training._train_step.pop_loss())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_broken_or_foreign_checkpoint_starts_the_run_anew(corpus: Corpus, tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    short = replace(CONFIG, steps=12, cooldown_steps=0)
    wanted = train_proxy(CANDIDATE, corpus, short)
    other = replace(TINY, hidden_size=96, num_heads=3)
    TrainingRun(other, corpus, short).save(path)
    foreign = path.read_bytes()
    train_proxy(CANDIDATE, corpus, replace(short, steps=5), checkpoint=tmp_path / "cut.npz")
    cut = (tmp_path / "cut.npz").read_bytes()
    for content in (foreign, cut[: len(cut) // 2], b"", b"no numbers"):
        path.write_bytes(content)
        assert same(train_proxy(CANDIDATE, corpus, short, checkpoint=path), wanted)


def test_a_full_disk_loses_the_checkpoint_and_not_the_run(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("search.training.training_run.save_checkpoint", full)
    path = tmp_path / "run.npz"
    short = replace(CONFIG, steps=12)
    assert train_proxy(CANDIDATE, corpus, short, checkpoint=path).status is TrialStatus.COMPLETE
    assert not path.exists()


def test_stopping_leaves_a_checkpoint(corpus: Corpus, tmp_path: Path) -> None:
    path, asked = tmp_path / "run.npz", 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 7

    rungs = replace(CONFIG, steps=20, cooldown_steps=0)
    assert train_proxy(CANDIDATE, corpus, rungs, should_stop=should_stop, checkpoint=path).steps == 7
    resumed = train_proxy(CANDIDATE, corpus, rungs, checkpoint=path)
    assert resumed.val_bits_per_byte == train_proxy(CANDIDATE, corpus, rungs).val_bits_per_byte


def test_a_checkpoint_that_cannot_be_kept_is_said_once(
    corpus: Corpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    for number in range(2):
        run = TrainingRun(TINY, corpus, replace(CONFIG, steps=2, seed=number))
        assert run.advance(lambda step: None, lambda: False, tmp_path / "file" / "c.npz") is RunEnding.DONE
    (line,) = [r.getMessage() for r in caplog.records]
    assert line.startswith(f"notice: checkpoints cannot be kept in {tmp_path}/file: ")


def test_checkpoints_take_a_twentieth_of_the_time_at_most() -> None:
    assert save_interval_s(0.1) == SAVE_EVERY_S
    assert save_interval_s(14.0) == 280.0
