"""The live file: what another process reads of a search under way, and of one that is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search.run.learning_curves import read_curves
from search.run.live import FILE, LiveStatus, State, Watch, read_live
from search.run.progress import InTraining, SearchProgress
from search.store.process import is_alive, this_process
from sizer.errors import NoFit
from tests.search.records import record

RUN = InTraining(
    number=2, seed=0, rung=0, step=30, steps=100, loss=3.5, tokens_per_s=900.0, model="2x64", format="Q4_0"
)
PROGRESS = SearchProgress(
    study="s",
    trained=2,
    wanted=5,
    infeasible=1,
    candidate=None,
    rung=0,
    rungs=2,
    step=30,
    steps=100,
    done_steps=230,
    total_steps=700,
    tokens_per_s=900.0,
    best=record(1),
    in_training=(RUN,),
)


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sizer.db"


def told(storage: str) -> LiveStatus:
    live = read_live("s", storage)
    assert live is not None
    return live


def ignore(progress: SearchProgress) -> None:
    pass


def test_what_is_told_is_what_is_read(tmp_path: Path, storage: str) -> None:
    assert read_live("s", storage) is None
    heard: list[SearchProgress] = []
    Watch(tmp_path / "s", heard.append)(PROGRESS)
    assert heard == [PROGRESS]
    live = told(storage)
    assert live.is_running
    assert live.in_training == (RUN,)
    assert (live.trained, live.wanted, live.infeasible, live.rungs) == (2, 5, 1, 2)
    assert (live.done_steps, live.total_steps, live.best_trial) == (230, 700, 1)
    assert live.owner == this_process()
    assert not list((tmp_path / "s").glob("*.part"))


def test_steps_are_told_once_a_second_and_beginnings_at_once(
    tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("search.run.live.time.monotonic", lambda: now[0])
    watch = Watch(tmp_path / "s", ignore)
    watch(PROGRESS)
    now[0] += 0.9
    watch(replace(PROGRESS, in_training=(RUN._replace(step=40),), done_steps=240))
    assert told(storage).in_training[0].step == 30
    now[0] += 0.2
    watch(replace(PROGRESS, in_training=(RUN._replace(step=50),), done_steps=250))
    assert told(storage).in_training[0].step == 50
    # 20 steps in 1.1 s: 450 more take 24.75 s
    assert told(storage).eta_s == pytest.approx(24.75)
    watch(replace(PROGRESS, in_training=(RUN._replace(number=3, step=0),), done_steps=300))
    assert told(storage).in_training[0].number == 3


def test_curves_are_written_along(tmp_path: Path, storage: str) -> None:
    watch = Watch(tmp_path / "s", ignore)
    for step in (10, 20, 30):
        watch(replace(PROGRESS, in_training=(RUN._replace(step=step, loss=4.0 - step / 10),)))
    watch(replace(PROGRESS, in_training=(RUN._replace(number=3, step=0, loss=None),)))
    (curve,) = read_curves("s", storage)
    assert [(p.step, p.loss) for p in curve.points] == [(10, 3.0), (20, 2.0), (30, 1.0)]


@pytest.mark.parametrize("state", [State.DONE, State.STOPPED, State.EXHAUSTED])
def test_how_it_ended(tmp_path: Path, storage: str, state: State) -> None:
    with Watch(tmp_path / "s", ignore) as watch:
        watch(PROGRESS)
        watch.ended(state.value)
    assert told(storage).state is state
    assert told(storage).in_training == ()


def test_an_error_is_told(tmp_path: Path, storage: str) -> None:
    def fail() -> None:
        with Watch(tmp_path / "s", ignore) as watch:
            watch(PROGRESS)
            raise NoFit("budget: nothing\nfits")

    with pytest.raises(NoFit):
        fail()
    assert (told(storage).state, told(storage).reason) == (State.FAILED, "budget: nothing fits")


def test_a_killed_search_is_told_as_killed(tmp_path: Path, storage: str) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from tests.search.run.test_live import PROGRESS, Watch, ignore\n"
        "Watch(Path(sys.argv[1]), ignore)(PROGRESS); os._exit(9)"
    )
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "s")], cwd=root, check=False)
    live = told(storage)
    assert (live.state, live.is_running, live.in_training) == (State.KILLED, False, ())


def test_a_process_that_ended_and_was_not_asked_how_is_gone() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, cwd=os.sep
    )
    started = Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    owner: dict[str, Any] = {**this_process(), "pid": child.pid, "started": started}
    assert is_alive(owner)
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(owner)
    child.wait()
    assert not is_alive(owner)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", "other"),
        ("state", "dancing"),
        ("owner", None),
        ("owner", {"host": "x", "pid": -1, "started": None}),
        ("owner", {"host": "x", "pid": "1", "started": None}),
        ("eta_s", float("inf")),
        ("eta_s", "soon"),
        ("in_training", [{}]),
        ("in_training", 3),
        ("trained", None),
        ("tokens_per_s", float("nan")),
    ],
)
def test_a_file_of_something_else_tells_nothing(
    tmp_path: Path, storage: str, key: str, value: object
) -> None:
    Watch(tmp_path / "s", ignore)(PROGRESS)
    path = tmp_path / "s" / FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    assert read_live("s", storage) is None


def test_half_a_file_tells_nothing(tmp_path: Path, storage: str) -> None:
    Watch(tmp_path / "s", ignore)(PROGRESS)
    path = tmp_path / "s" / FILE
    path.write_bytes(path.read_bytes()[:100])
    assert read_live("s", storage) is None


def test_what_cannot_be_written_stops_nothing(tmp_path: Path, storage: str) -> None:
    (tmp_path / "s").write_text("a file where the folder should be")
    heard: list[SearchProgress] = []
    Watch(tmp_path / "s", heard.append)(PROGRESS)
    assert heard == [PROGRESS]
