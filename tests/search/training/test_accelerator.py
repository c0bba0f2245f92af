"""Training elsewhere than on the processor: what is refused, and that nothing is left behind on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from search.text.corpus import Corpus
from search.training.accelerator import TRAIN_ON, available, training_device
from search.training.decoder import Decoder
from search.training.learning_rates import initialize
from search.training.low_bit import LowBit
from search.training.score import train_proxy
from search.training.teacher import Teacher
from search.training.train_step import AutogradStep, ProductPrecision, update_rule
from search.training.training_run import TrainConfig, backend_of
from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.errors import InvalidQuantity, UnknownName
from sizer.formats import bitnetcpp
from sizer.formats.ggml import TYPES
from tests.search.tiny_run import CANDIDATE, CONFIG, TINY

pytestmark = pytest.mark.usefixtures("one_thread")

RULE = update_rule(TINY, weight_decay=0.1, clip=1.0)


def test_what_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert available() == ("cpu", "mps")
    assert training_device("mps") == torch.device("mps")
    with pytest.raises(InvalidQuantity, match="train_on: 'cuda' is not there; accepted here: cpu, mps"):
        training_device("cuda")
    with pytest.raises(UnknownName, match="train_on 'tpu'"):
        training_device("tpu")


def test_fused_steps_are_the_processors() -> None:
    config = TrainConfig(steps=1, fused=True, dtype=ProductPrecision.FP32)
    assert backend_of(config).name == "fused"
    assert backend_of(replace(config, train_on="cuda")) == ("eager", None)


@pytest.mark.parametrize("case", ["plain", "shared", "TQ2_0", "I2_S", "taught"])
def test_a_step_takes_everything_from_the_models_device(case: str) -> None:
    """On torch's device without memory, where most operations refuse a tensor of the processor."""
    shape = replace(TINY, hidden_size=256, intermediate_size=256, num_heads=8, num_kv_heads=4)
    if case == "shared":
        shape = replace(shape, sharing=LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=2))
    few = None
    with torch.device("meta"):
        model, windows = Decoder(shape), torch.zeros(2, 17, dtype=torch.long)
        teacher = Teacher(Decoder(shape), dtype=torch.bfloat16) if case == "taught" else None
    if case in ("TQ2_0", "I2_S"):
        kind = TYPES[case] if case in TYPES else bitnetcpp.RECIPES[case].matrix
        few = LowBit(dict.fromkeys(model.matrices, kind))
    train_step = AutogradStep(model, dtype=torch.bfloat16, rule=_rule(shape), low_bit=few, teacher=teacher)
    train_step.step(windows, 1e-3, 1)
    tensors = [
        *model.parameters(),
        train_step._loss,
        *(t for pair in train_step.moments.values() for t in pair),
    ]
    tensors += [state["step"] for state in train_step._optimizer.state.values()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def _rule(shape: Architecture) -> Any:
    return update_rule(shape, weight_decay=0.1, clip=1.0)


def test_compiled_steps_are_the_same_steps(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_with = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function: compile_with(function, backend="aot_eager"))
    losses = []
    for compiled in (False, True):
        model = Decoder(TINY)
        initialize(model, TINY, torch.Generator().manual_seed(0))
        train_step = AutogradStep(model, dtype=torch.float32, rule=RULE, compiled=compiled)
        batches = corpus.train_batches(0, 4, 64)
        for number in range(1, 6):
            train_step.step(batches.at(number), 4e-3, number)
        losses.append(train_step.pop_loss())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("name", [name for name in TRAIN_ON if name != "cpu"])
def test_an_accelerator_learns_as_the_processor_does(corpus: Corpus, name: str) -> None:
    if name not in available():
        pytest.skip(f"this machine has no {name}")
    here = train_proxy(CANDIDATE, corpus, CONFIG).val_bits_per_byte
    there = train_proxy(CANDIDATE, corpus, replace(CONFIG, train_on=name)).val_bits_per_byte
    assert here is not None
    assert there == pytest.approx(here, rel=0.01)
