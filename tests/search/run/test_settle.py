"""Settling with real training: what is trained is stored with the study, stopped and killed runs go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from search.analysis.decisions.decisions import DecisionBasis, decide
from search.run import runner, settle
from search.run.settle import next_action
from search.store.results import ProxyResult, SearchResult
from search.store.study import load_result
from search.training import score
from search.training.training_run import StepReport
from sizer.errors import StudyError
from tests.search.run.small_searches import quiet, small_config, write_text


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/runs/sizer.db"


@pytest.fixture
def study(tmp_path: Path, storage: str) -> SearchResult:
    config = small_config(write_text(tmp_path), formats=("Q4_0", "Q8_0"), sharing=("none",), trials=2)
    torch.set_num_threads(1)
    return runner.run(config, name="s", storage=storage, hook=quiet)[0]


def _runs(result: SearchResult) -> int:
    return sum(len(record.runs) for record in result.trained)


def test_settling_adds_runs_that_the_study_keeps(study: SearchResult, storage: str) -> None:
    chosen = next_action(study, left_s=1e6)
    assert chosen is not None
    assert chosen.gain > 0
    reported: list[str] = []
    result, stopped = settle.settle(
        "s", storage=storage, seconds=600, report=lambda p: reported.append(p.text), most_actions=1
    )
    assert not stopped
    assert reported
    assert _runs(result) > _runs(study)
    assert load_result("s", storage) == result
    # every first run that the search had is there still, and every new one has gone to the final rung
    kept = {record.number: record.runs[0] for record in study.trained}
    assert all(kept[r.number] == r.runs[0] for r in result.trained if r.number in kept)
    assert all(run.steps == 6 for record in result.trained for run in record.runs)
    assert not list((Path(storage.removeprefix("sqlite:///")).parent / "s" / "settle").glob("*.npz"))


def test_a_run_that_was_stopped_goes_on(
    study: SearchResult, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = next_action(study, left_s=1e6)
    stopping = {"after": 3}

    def train(*args: Any, **named: Any) -> ProxyResult:
        calls = iter(range(10**6))
        named["should_stop"] = lambda: next(calls) >= stopping["after"]
        return score.train_proxy(*args, **named)

    monkeypatch.setattr(settle, "train_proxy", train)
    result, stopped = settle.settle("s", storage=storage, seconds=600, report=lambda p: None, most_actions=1)
    assert stopped
    assert _runs(result) == _runs(study)
    folder = Path(storage.removeprefix("sqlite:///")).parent / "s" / "settle"
    assert len(list(folder.glob("*.npz"))) == 1
    assert next_action(result, left_s=1e6) == first
    stopping["after"] = 10**6
    steps: list[int] = []
    monkeypatch.setattr(settle, "train_proxy", _noting(train, steps))
    result, stopped = settle.settle("s", storage=storage, seconds=600, report=lambda p: None, most_actions=1)
    assert not stopped
    assert steps[0] > 3, "the first run went on from its checkpoint"


def _noting(train: Callable[..., ProxyResult], steps: list[int]) -> Callable[..., ProxyResult]:
    def noting(*args: Any, **named: Any) -> ProxyResult:
        report = named["on_step"]

        def on_step(step: StepReport) -> None:
            steps.append(step.step)
            report(step)

        return train(*args, **{**named, "on_step": on_step})

    return noting


def test_no_time_trains_nothing(study: SearchResult) -> None:
    assert next_action(study, left_s=0.0) is None


def test_an_unknown_study_is_named(storage: str, study: SearchResult) -> None:
    with pytest.raises(StudyError, match="'t' does not exist"):
        settle.settle("t", storage=storage, seconds=1, report=lambda p: None)


def test_decisions_of_six_steps_are_the_laws_or_open(study: SearchResult) -> None:
    """Runs of 6 steps on 400 tokens say nothing of models trained for 20 tokens a weight."""
    found = decide(study)
    assert found.decisions
    assert found.runs == _runs(study)
    for one in found.decisions:
        assert 0.5 <= one.probability <= 1
        if one.basis is DecisionBasis.PRIOR:
            assert one.probability == one.prior_probability
