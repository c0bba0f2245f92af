"""A search in rungs, with real training of tiny models: counts, kills, stops half-way, workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from search.analysis.frontier import frontier
from search.config.config import SearchConfig
from search.run import runner
from search.run.executors import InProcess
from search.run.loop import LoopEnding
from search.run.places import Here
from search.run.progress import SearchProgress
from search.run.tasks import StepHook, TrainingTask
from search.store.results import ProxyResult, SearchResult
from search.store.study import OpenStudy, load_result
from search.text.corpus import Corpus
from search.training.checkpoint import load_checkpoint
from search.training.score import train_proxy
from search.training.training_run import TrainingRun
from tests.search.run.small_searches import quiet, small_config, write_text


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_text(tmp_path)


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/runs/sizer.db"


def _rungs(corpus: Path, **changes: object) -> SearchConfig:
    """Six models to 2 steps, some of them to 4 and 8, finalists cooled down; ties get a second seed."""
    ladder = {
        "trials": 6,
        "steps": 8,
        "eta": 2.0,
        "lowest_rung_steps": 1,
        "final_seeds": 2,
        "audit_pairs": 0,
        "size_bins": 2,
    }
    return small_config(corpus, **{**ladder, **changes})


def _scores(result: SearchResult) -> dict[int, list[tuple[int, int, int, float | None]]]:
    """Of every trained trial: rung, seed, steps and score of each of its runs."""
    return {
        r.number: [(run.rung, run.seed, run.steps, run.val_bits_per_byte) for run in r.runs]
        for r in result.records
        if r.runs
    }


def test_a_search_in_rungs_trains_fewer_for_longer(
    corpus: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[tuple[int, int, int]] = []
    real = TrainingRun.advance

    def advance(self: TrainingRun, *rest: Any) -> Any:
        starts.append((self.config.seed, self.step, self.config.steps))
        return real(self, *rest)

    monkeypatch.setattr(TrainingRun, "advance", advance)
    seen: list[SearchProgress] = []
    config = _rungs(corpus).changed(formats=("Q4_0", "Q6_K", "Q8_0"))  # no cool-downs aside
    result, ending = runner.run(config, name="s", storage=storage, hook=seen.append)
    assert ending is LoopEnding.DONE
    runs = [run for r in result.records for run in r.runs]
    by_rung = {rung: sum(run.rung == rung and run.seed == 0 for run in runs) for rung in range(3)}
    assert by_rung[0] == 6
    assert 6 > by_rung[1] >= by_rung[2] >= 1
    # each rung goes on where the one before ended, and the last gets a tenth more steps of falling rate
    assert {(first, last) for seed, first, last in starts if seed == 0} == {(0, 2), (2, 4), (4, 9)}
    assert all(first == 0 and last == 9 for seed, first, last in starts if seed == 1)
    assert len(starts) == len(runs)
    assert {r.number for r in frontier(result)} <= {r.number for r in result.records if len(r.runs) >= 3}
    assert all(r.proxy and r.proxy.rung == 2 for r in frontier(result))
    assert not list(Path(storage.removeprefix("sqlite:///")).parent.rglob("*.npz"))
    tokens = sum((last - first) * 2 * 32 for _, first, last in starts)
    assert sum(r.proxy.trained_tokens for r in result.trained if r.proxy) == tokens
    assert seen[-1].done_steps == tokens // 64
    # finalists' other seeds, of which nobody knew at the start, count as steps to go
    assert {p.total_steps for p in seen if any(run.seed for run in p.in_training)} == {seen[-1].done_steps}
    assert load_result("s", storage) == result


def test_every_rung_survives_a_kill(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight, _ = runner.run(
        _rungs(corpus), name="s", storage=f"sqlite:///{tmp_path}/whole/sizer.db", hook=quiet
    )
    storage = f"sqlite:///{tmp_path}/broken/sizer.db"
    real, calls, total = train_proxy, 0, 0

    def killed(*rest: Any, **named: Any) -> Any:
        nonlocal calls, total
        calls += 1
        if calls % 2 == 0:
            raise KeyboardInterrupt
        total += 1
        return real(*rest, **named)

    monkeypatch.setattr("search.run.executors.train_proxy", killed)
    with pytest.raises(KeyboardInterrupt):
        runner.run(_rungs(corpus), name="s", storage=storage, hook=quiet)
    for _ in range(60):
        try:
            result, ending = runner.resume("s", storage=storage, trials=None, hook=quiet)
            break
        except KeyboardInterrupt:
            continue
    assert ending is LoopEnding.DONE
    assert _scores(result) == _scores(straight)
    assert total == sum(len(r.runs) for r in result.records)


def test_stopping_half_way_through_a_run_goes_on_from_its_checkpoint(
    corpus: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = False

    def hook(progress: SearchProgress) -> None:
        nonlocal stop
        stop = progress.rung == 2 and progress.step > 0

    @contextmanager
    def signals() -> Iterator[Callable[[], bool]]:
        yield lambda: stop

    monkeypatch.setattr("search.training.training_run.REPORT_EVERY", 1)
    monkeypatch.setattr(runner, "stop_on_signal", signals)
    _, ending = runner.run(_rungs(corpus, steps=40), name="s", storage=storage, hook=hook)
    assert ending is LoopEnding.STOPPED
    folder = Path(storage.removeprefix("sqlite:///")).parent
    (kept,) = [path for path in folder.rglob("*.npz") if _step_of(path) not in (10, 20)]
    assert 20 < _step_of(kept) < 40
    firsts: list[int] = []
    real = TrainingRun.advance

    def advance(self: TrainingRun, *rest: Any) -> Any:
        firsts.append(self.step)
        return real(self, *rest)

    monkeypatch.setattr(TrainingRun, "advance", advance)
    step, stop = _step_of(kept), False
    runner.resume("s", storage=storage, trials=None, hook=quiet)
    assert firsts[0] == step


def test_stopping_while_a_run_is_scored_aside_stores_nothing(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked to stop after the rung's own steps, before its score: nothing is known yet, nothing failed."""
    stop = False
    real = TrainingRun.cool_down_copy

    def cool_down_copy(self: TrainingRun, *rest: Any) -> Any:
        nonlocal stop
        stop = True
        return real(self, *rest)

    @contextmanager
    def signals() -> Iterator[Callable[[], bool]]:
        yield lambda: stop

    config = _rungs(corpus, formats=("Q8_0", "TQ1_0"), trials=2)
    straight, _ = runner.run(config, name="s", storage=f"sqlite:///{tmp_path}/whole/sizer.db", hook=quiet)
    monkeypatch.setattr(TrainingRun, "cool_down_copy", cool_down_copy)
    monkeypatch.setattr(runner, "stop_on_signal", signals)
    storage = f"sqlite:///{tmp_path}/stopped/sizer.db"
    result, ending = runner.run(config, name="s", storage=storage, hook=quiet)
    assert ending is LoopEnding.STOPPED
    assert not result.records
    monkeypatch.undo()
    result, ending = runner.resume("s", storage=storage, trials=None, hook=quiet)
    assert ending is LoopEnding.DONE
    assert _scores(result) == _scores(straight)


def _step_of(path: Path) -> int:
    return int(load_checkpoint(path)[1]["step"])


@pytest.mark.slow
def test_two_workers_train_the_same_whatever_ends_first(corpus: Path, tmp_path: Path) -> None:
    config = _rungs(corpus, workers=2, trials=12)
    results = [
        runner.run(config, name="s", storage=f"sqlite:///{tmp_path}/{name}/sizer.db", hook=quiet)[0]
        for name in ("a", "b")
    ]
    assert len(results[0].trained) == 12
    assert _scores(results[0]) == _scores(results[1])


def test_a_full_disk_loses_the_weights_and_no_score(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *rest: Any) -> None:
        raise OSError(28, "No space left on device")

    config = _rungs(corpus, trials=2, final_seeds=1, lowest_rung_steps=8)  # one rung: nothing to resume from
    straight, _ = runner.run(config, name="s", storage=f"sqlite:///{tmp_path}/room/sizer.db", hook=quiet)
    monkeypatch.setattr("search.training.training_run.save_checkpoint", full)
    result, ending = runner.run(config, name="s", storage=f"sqlite:///{tmp_path}/full/sizer.db", hook=quiet)
    assert ending is LoopEnding.DONE
    assert _scores(result) == _scores(straight)
    assert list(tmp_path.glob("room/s/finalists/*/model.safetensors"))
    assert not list(tmp_path.glob("full/s/finalists/*"))


class _TwoAtATime(InProcess):
    """Two tasks at a time, trained in turn; each makes its checkpoints' folder as it starts."""

    def __init__(self, *rest: Any, **named: Any) -> None:
        super().__init__(*rest, **named)
        self.waiting: list[TrainingTask] = []
        self.removed: list[TrainingTask] = []

    @property
    def free(self) -> int:
        return 2 - len(self.waiting)

    def start(self, task: TrainingTask) -> None:
        assert task.checkpoint is not None
        task.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        self.waiting.append(task)

    def finished(self) -> list[tuple[TrainingTask, ProxyResult]]:
        task = self.waiting.pop(0)
        assert task.checkpoint is not None
        if not task.checkpoint.parent.is_dir():
            self.removed.append(task)
        super().start(task)
        return super().finished()


def test_the_checkpoints_folder_stays_while_a_worker_may_write_into_it(
    corpus: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[_TwoAtATime] = []

    def executor(
        here: Here, study: OpenStudy, text: Corpus, *, on_step: StepHook, should_stop: Callable[[], bool]
    ) -> _TwoAtATime:
        used.append(_TwoAtATime(text, on_step=on_step, should_stop=should_stop))
        return used[0]

    monkeypatch.setattr(Here, "executor", executor)
    result, ending = runner.run(_rungs(corpus, workers=2, trials=12), name="s", storage=storage, hook=quiet)
    assert ending is LoopEnding.DONE
    assert any(run.seed for record in result.records for run in record.runs)  # ties got their second seed
    assert used[0].removed == []
    assert not list(Path(storage.removeprefix("sqlite:///")).parent.rglob("checkpoints"))
