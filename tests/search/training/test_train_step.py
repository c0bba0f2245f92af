"""Which way of training a step is chosen here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from search.run import runner
from search.run import settings as study_settings
from search.store.study import open_study
from search.training import train_step, training_run
from search.training.fused.kernels import NoKernels, missing_speed
from search.training.train_step import EngineTiming, ProductPrecision, choose_engine
from search.training.training_run import TrainConfig, backend_of
from tests.search.run.small_searches import quiet, small_config, write_text
from tests.search.tiny_run import TINY

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_way_to_train_is_measured_and_kept() -> None:
    timing = choose_engine()
    assert timing is choose_engine()
    assert {"eager bf16", "eager fp32"} <= set(timing.step_s)
    assert timing.step_s[timing.fastest] == min(timing.step_s.values())
    assert timing.fastest == f"{'fused' if timing.fused else 'eager'} {timing.precision.value}"
    assert 0 < timing.step_s[timing.fastest] < 5


def _without_kernels(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    def fail(dtype: torch.dtype) -> None:
        raise NoKernels(reason)

    monkeypatch.setattr(train_step, "kernels", fail)
    monkeypatch.setattr(train_step, "choose_engine", choose_engine.__wrapped__)
    monkeypatch.setattr(training_run, "choose_engine", choose_engine.__wrapped__)
    monkeypatch.setattr(study_settings, "choose_engine", choose_engine.__wrapped__)


def test_a_fallback_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainConfig(steps=1, dtype=ProductPrecision.FP32)
    forced = replace(config, fused=True)
    assert backend_of(replace(config, fused=False)) == ("eager", None)
    assert backend_of(replace(forced, teacher=Path("t"))).reason == (
        "a teacher's predictions are learned by autograd only"
    )
    assert backend_of(forced, replace(TINY, qk_norm=True)).reason == "there are no kernels for qk_norm"
    slow = EngineTiming(step_s={"fused fp32": 0.4, "eager fp32": 0.1})
    with monkeypatch.context() as changed:
        changed.setattr(training_run, "choose_engine", lambda: slow)
        expected = "autograd's steps are faster here: fused fp32 400.0 ms, eager fp32 100.0 ms"
        assert backend_of(config) == ("eager", expected)
    _without_kernels(monkeypatch, "no C compiler (cc) was found")
    expected = "the kernels cannot be used: no C compiler (cc) was found"
    assert backend_of(config) == backend_of(forced) == ("eager", expected)


@pytest.mark.parametrize(("dtype", "word"), [(torch.float32, "float32"), (torch.bfloat16, "AVX-512")])
def test_kernels_without_a_tier_have_a_reason(dtype: torch.dtype, word: str) -> None:
    portable = SimpleNamespace(shared_constant=lambda name: 1)
    assert word in str(missing_speed(portable, dtype))  # type: ignore[arg-type]
    single = SimpleNamespace(shared_constant=lambda name: 0, attention=None)
    assert "one thread" in str(missing_speed(single, dtype))  # type: ignore[arg-type]
    whole = SimpleNamespace(shared_constant=lambda name: 1, attention=None)
    assert missing_speed(whole, dtype) is None  # type: ignore[arg-type]


def test_a_search_without_a_compiler_prints_why_once_and_stores_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _without_kernels(monkeypatch, "no C compiler (cc) was found")
    storage = f"sqlite:///{tmp_path}/runs/sizer.db"
    config = small_config(write_text(tmp_path))
    result, _ = runner.run(config, name="s", storage=storage, hook=quiet)
    reason = "the kernels cannot be used: no C compiler (cc) was found"
    assert capsys.readouterr().err.splitlines() == [f"slower training steps: {reason}"]
    assert len(result.trained) == 3
    settings = open_study("s", storage).settings
    assert (settings["engine"], settings["engine_reason"]) == ("eager", reason)
    runner.resume("s", storage=storage, trials=4, hook=quiet)
    assert capsys.readouterr().err.splitlines() == [f"slower training steps: {reason}"]
