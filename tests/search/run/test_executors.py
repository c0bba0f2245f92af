"""Workers: cores divided, a dead one replaced, and the same result as in this process."""

from __future__ import annotations

import doctest
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from search.config.config import SearchConfig
from search.run import executors
from search.run.executors import InProcess, WorkerPool, divided
from search.run.places import load_same, with_a_worker_for_each_card
from search.run.tasks import TrainingTask
from search.store.results import Candidate, ProxyResult, TrialStatus
from search.text.corpus import Corpus, load_corpus
from search.training import accelerator
from search.training.accelerator import VISIBLE_CARDS
from search.training.train_step import ProductPrecision
from search.training.training_run import StepReport, TrainConfig
from sizer.errors import StudyError
from tests.search.records import TINY
from tests.search_runs import TEXT

TRAINING = TrainConfig(
    steps=30,
    batch_size=2,
    seq_len=32,
    val_chunks=4,
    warmup_steps=2,
    cooldown_steps=0,
    dtype=ProductPrecision.FP32,
    fused=False,
)


def _task(number: int, folder: Path, *, steps: int = 30) -> TrainingTask:
    return TrainingTask(
        number=number,
        rung=0,
        candidate=Candidate(architecture=replace(TINY, num_layers=1 + number), format="Q4_0"),
        training=replace(TRAINING, steps=steps),
        checkpoint=folder / f"{number}-0.npz",
    )


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "text.py"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


def test_the_examples() -> None:
    assert doctest.testmod(executors).failed == 0


@given(st.lists(st.integers(0, 200), unique=True, min_size=1, max_size=64), st.integers(1, 80))
def test_every_worker_has_cores_and_every_core_one_worker(cores: list[int], workers: int) -> None:
    shares = divided(cores, workers)
    assert len(shares) == workers
    assert all(shares)
    if workers <= len(cores):
        assert [core for share in shares for core in share] == cores
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    else:
        assert {core for share in shares for core in share} == set(cores)


@pytest.mark.slow
def test_workers_train_as_this_process_does(text: str, tmp_path: Path) -> None:
    heard: list[tuple[int, StepReport]] = []
    pool = WorkerPool(
        2,
        partial(load_corpus, text),
        on_step=lambda task, step: heard.append((task.number, step)),
        should_stop=lambda: False,
    )
    results: dict[int, ProxyResult] = {}
    try:
        for number in range(2):
            pool.start(_task(number, tmp_path / "pool"))
        assert pool.free == 0
        while len(results) < 2:
            results |= {task.number: result for task, result in pool.finished()}
    finally:
        pool.close()
    assert {(number, step.step) for number, step in heard} >= {(n, s) for n in (0, 1) for s in (10, 30)}
    here = InProcess(load_corpus(text), on_step=lambda task, step: None, should_stop=lambda: False)
    for number in range(2):
        here.start(_task(number, tmp_path / "here"))
        ((_, alone),) = here.finished()
        # sums are divided among other numbers of threads
        assert results[number].val_bits_per_byte == pytest.approx(alone.val_bits_per_byte, abs=0.02)
        assert results[number].steps == alone.steps == 30


def _note_card(folder: Path) -> Corpus:
    """What a worker loads first: here it notes the cards that it sees, and ends."""
    (folder / str(os.getpid())).write_text(os.environ.get(VISIBLE_CARDS, "all"), encoding="utf-8")
    raise StudyError("noted")


@pytest.mark.parametrize(
    ("cards", "seen"), [(("3", "GPU-7"), ["3", "3", "GPU-7"]), ((), ["0,1", "0,1", "0,1"])]
)
def test_workers_take_the_cards_in_turn_before_torch_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cards: tuple[str, ...], seen: list[str]
) -> None:
    monkeypatch.setenv(VISIBLE_CARDS, "0,1")
    pool = WorkerPool(
        3,
        partial(_note_card, tmp_path),
        on_step=lambda task, step: None,
        should_stop=lambda: False,
        cards=cards,
    )
    for worker in pool._workers:
        worker.process.join(timeout=120)
    pool.close()
    assert sorted(path.read_text(encoding="utf-8") for path in tmp_path.iterdir()) == seen
    assert os.environ[VISIBLE_CARDS] == "0,1"


def test_a_search_on_cards_has_a_worker_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    on_cards, here = SearchConfig.build(train_on="cuda"), SearchConfig.build()
    assert with_a_worker_for_each_card(on_cards) == on_cards  # this machine's torch drives none
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv(VISIBLE_CARDS, raising=False)
    assert with_a_worker_for_each_card(on_cards).training.workers == 4
    assert with_a_worker_for_each_card(here) == here
    monkeypatch.setenv(VISIBLE_CARDS, "2,5")
    assert accelerator.cards("cuda") == ("2", "5")


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_once(text: str, tmp_path: Path) -> None:
    deaths = 0

    def kill(task: TrainingTask, step: StepReport) -> None:
        nonlocal deaths
        if step.step == 10 and deaths < limit:
            deaths += 1
            os.kill(pool._workers[0].process.pid or 0, signal.SIGKILL)

    limit = 1
    pool = WorkerPool(1, partial(load_corpus, text), on_step=kill, should_stop=lambda: False)
    try:
        pool.start(_task(0, tmp_path, steps=2000))
        ((_, result),) = pool.finished()
        assert (result.status, result.steps, deaths) == (TrialStatus.COMPLETE, 2000, 1)
        limit = 3
        pool.start(_task(1, tmp_path, steps=2000))
        with pytest.raises(StudyError, match=r"process that trained trial 1 died 2 times \(exit -9"):
            pool.finished()
    finally:
        pool.close()


@pytest.mark.slow
def test_asked_to_stop_before_a_worker_has_begun(text: str, tmp_path: Path) -> None:
    pool = WorkerPool(
        1, partial(load_corpus, text), on_step=lambda task, step: None, should_stop=lambda: True
    )
    try:
        pool.start(_task(0, tmp_path))
        ((_, result),) = pool.finished()
    finally:
        pool.close()
    assert result.status is TrialStatus.STOPPED
    assert result.steps < 30


@pytest.mark.slow
def test_asked_to_stop_a_worker_leaves_its_checkpoint(text: str, tmp_path: Path) -> None:
    steps: list[int] = []
    pool = WorkerPool(
        1,
        partial(load_corpus, text),
        on_step=lambda task, step: steps.append(step.step),
        should_stop=lambda: bool(steps),
    )
    try:
        pool.start(_task(0, tmp_path, steps=100_000))
        ((task, result),) = pool.finished()
    finally:
        pool.close()
    assert result.status is TrialStatus.STOPPED
    assert 0 < result.steps < 100_000
    assert task.checkpoint is not None
    assert task.checkpoint.is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal at a parent's death is Linux's")
def test_a_worker_ends_with_its_parent() -> None:
    script = (
        "import os, time; from search.run.executors import end_with_parent\n"
        "parent = os.getpid(); child = os.fork()\n"
        "if not child: end_with_parent(parent); os.write(1, b'up\\n'); time.sleep(600)\n"
        "os.write(1, b'%d\\n' % child); time.sleep(600)"  # lines of two processes: one write each
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        printed = {parent.stdout.readline().strip(), parent.stdout.readline().strip()}
        (child,) = printed - {"up"}
        parent.kill()
    end = time.monotonic() + 5
    while _runs(child) and time.monotonic() < end:
        time.sleep(0.02)
    assert not _runs(child)


def _runs(process: str) -> bool:
    """Return whether a process has not ended; one that has stays in /proc until its new parent looks."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_worker_with_another_text_refuses(text: str) -> None:
    load = partial(load_corpus, text)
    assert load_same(load, load().digest).name == "text.py"
    with pytest.raises(StudyError, match=r"corpus: 'text.py' is another text on .* \(digest"):
        load_same(load, "0" * 64)
