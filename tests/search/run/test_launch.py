"""Searches in the background: begun, found, stopped and gone on with; nothing else is ever signalled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from search.config.config import SearchConfig
from search.run import launch as launching
from search.run.launch import (
    Forecasting,
    activity,
    forget,
    launch,
    launched_studies,
    log_file,
    log_tail,
    read_launch,
    stop,
)
from search.run.live import State, Watch, read_live
from search.store.folders import check_new_name
from search.store.process import is_alive, process, this_process
from search.store.study import create_study, load_result
from sizer.errors import StudyError
from tests.search.run.test_live import PROGRESS, ignore

ROOT = Path(__file__).resolve().parents[3]
STORAGE = "sqlite:///runs/sizer.db"
SMALL = ("--max-size=100kB", "--trials=2", "--steps=20")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; what was begun in it is ended."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in launched_studies(STORAGE):
        begun = read_launch(name, STORAGE)
        if begun is not None and is_alive(dict(begun.owner)):
            os.kill(begun.owner["pid"], signal.SIGKILL)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a few lines of Python in the command line's place."""

    def put(code: str) -> None:
        monkeypatch.setattr(launching, "_program", lambda: (sys.executable, "-c", code))

    return put


def wait_until(done: Callable[[], Any], limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


SLEEPS = "import time; print('begun', flush=True); time.sleep(600)"
FAILS = "import sys; sys.exit('warning: x\\nerror: budget: nothing fits\\n')"


def test_it_is_a_session_of_its_own_and_prints_into_the_log(
    folder: Path, program: Callable[[str], None]
) -> None:
    program("import os, sys; print(os.getsid(0), os.getpid(), sys.argv[1:], os.environ['SIZER_STORAGE'])")
    begun = launch("s", ["run", "--study=s"], STORAGE)
    wait_until(lambda: not is_alive(dict(begun.owner)))
    pid = begun.owner["pid"]
    assert log_tail("s", STORAGE) == f"{pid} {pid} ['search', 'run', '--study=s'] {STORAGE}\n"
    assert begun.arguments == ("search", "run", "--study=s")
    assert launched_studies(STORAGE) == ("s",)
    assert read_launch("s", STORAGE) == begun


@pytest.mark.parametrize("name", ["<b>x</b>", "a/b.c", "a b"])
def test_a_stored_study_of_an_odd_name_is_gone_on_with(
    folder: Path, program: Callable[[str], None], name: str
) -> None:
    """The form takes no such names, the command line does: a slash in one is a folder more."""
    program("print('begun')")
    begun = launch(name, ["resume", name], STORAGE)
    assert read_launch(name, STORAGE) == begun
    wait_until(lambda: not is_alive(dict(begun.owner)))
    assert log_tail(name, STORAGE) == "begun\n"
    assert activity(name, STORAGE).state is State.FAILED


def test_one_that_has_told_nothing_is_starting_and_can_be_stopped(
    folder: Path, program: Callable[[str], None]
) -> None:
    program(SLEEPS)
    begun = launch("s", ["run"], STORAGE)
    assert activity("s", STORAGE).is_starting
    assert activity("s", STORAGE).owner == begun.owner
    with pytest.raises(StudyError, match=f"is being run by process {begun.owner['pid']}"):
        launch("s", ["run"], STORAGE)
    wait_until(lambda: log_tail("s", STORAGE))
    stop("s", STORAGE)
    wait_until(lambda: activity("s", STORAGE).owner is None)
    assert activity("s", STORAGE).state is State.FAILED
    with pytest.raises(StudyError, match="'s' is not running"):
        stop("s", STORAGE)


def test_why_it_ended_is_the_last_error_it_printed(folder: Path, program: Callable[[str], None]) -> None:
    program(FAILS)
    launch("s", ["run"], STORAGE)
    wait_until(lambda: activity("s", STORAGE).owner is None)
    now = activity("s", STORAGE)
    assert (now.state, now.reason) == (State.FAILED, "budget: nothing fits")
    program("pass")  # the log of the time before is kept, and not looked at again
    launch("s", ["run"], STORAGE)
    wait_until(lambda: activity("s", STORAGE).owner is None)
    assert activity("s", STORAGE).reason == "ended before it trained anything"
    assert "nothing fits" in log_file("s", STORAGE).read_text()


def test_an_ended_one_leaves_no_process_behind(folder: Path, program: Callable[[str], None]) -> None:
    program("pass")
    pid = launch("s", ["run"], STORAGE).owner["pid"]
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SLEEPS], stdout=subprocess.DEVNULL)


def tell(folder: Path, owner: dict[str, Any], *, lock: str) -> None:
    """A live file of a running study that names this owner, and a lock that names that process."""
    Watch(folder / "runs" / "s", ignore)(PROGRESS)
    path = folder / "runs" / "s" / "live.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "owner": owner}))
    (path.parent / "lock.pid").write_text(lock)


def test_another_process_is_never_signalled(folder: Path) -> None:
    other = sleeper()
    try:
        told = process(other.pid)
        assert told["started"] is not None
        # its number, but begun at another time: the number was given anew
        tell(folder, {**told, "started": "1"}, lock=str(other.pid))
        assert activity("s", STORAGE).state is State.KILLED
        with pytest.raises(StudyError, match="'s' is not running"):
            stop("s", STORAGE)
        # a live file that names it, but the study's lock does not
        tell(folder, told, lock="1")
        with pytest.raises(StudyError, match=f"process {other.pid} does not hold the lock of 's'"):
            stop("s", STORAGE)
        # one of another machine
        tell(folder, {**told, "host": "elsewhere"}, lock=str(other.pid))
        with pytest.raises(StudyError, match="'s' runs on elsewhere; stop it there"):
            stop("s", STORAGE)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=0.3)
        # and the one that is meant
        tell(folder, told, lock=str(other.pid))
        stop("s", STORAGE)
        assert other.wait(timeout=30) != 0
    finally:
        with suppress(ProcessLookupError):
            other.kill()
        other.wait()


def test_a_number_given_anew_between_looking_and_signalling_is_spared(folder: Path) -> None:
    other = sleeper()
    try:
        with pytest.raises(StudyError, match="has ended already"):
            launching._interrupt({**process(other.pid), "started": "1"})
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=0.3)
    finally:
        other.kill()
        other.wait()
    with pytest.raises(StudyError, match="has ended already"):
        launching._interrupt({**this_process(), "pid": other.pid})


@pytest.mark.parametrize(
    "name", ["", "-x", "a/b", "../x", "a b", "<script>", "x" * 65, "logs", "Corpora", "a\0b", ".x", "é"]
)
def test_names_that_a_new_study_cannot_have(name: str) -> None:
    with pytest.raises(StudyError, match="cannot be a name; accepted: up to 64 letters"):
        check_new_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "../s", "a/../../s", "/etc/s", "a\0b"])
def test_no_study_writes_or_reads_outside_of_its_storages_folder(folder: Path, name: str) -> None:
    """Whatever name a storage holds: a search of it cannot be begun, seen or stopped."""
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(StudyError, match="cannot be the name of a folder"):
        launch(name, ["resume", "--", name], STORAGE)
    with pytest.raises(StudyError, match="cannot be the name of a folder"):
        log_file(name, STORAGE)
    assert (read_launch(name, STORAGE), log_tail(name, STORAGE)) == (None, "")
    with pytest.raises(StudyError):
        stop(name, STORAGE)
    assert sorted(folder.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["search-1", "A.b_c-9", "x" * 64])
def test_names_that_it_can_have(name: str) -> None:
    check_new_name(name)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"owner": {"pid": -1}}', '{"owner": 3}', "[" * 100_000])
def test_a_record_of_something_else_is_none(folder: Path, text: str) -> None:
    log_file("s", STORAGE).parent.mkdir(parents=True)
    log_file("s", STORAGE).with_suffix(".json").write_text(text)
    assert read_launch("s", STORAGE) is None
    assert activity("s", STORAGE).state is None


def logs(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "runs" / "logs").iterdir())


def test_one_that_never_became_a_study_is_forgotten_and_nothing_else(
    folder: Path, program: Callable[[str], None]
) -> None:
    program(FAILS)
    for name in ("s", "s.2"):
        launch(name, ["run"], STORAGE)
    wait_until(lambda: all(activity(name, STORAGE).owner is None for name in ("s", "s.2")))
    forget("s", STORAGE)
    assert launched_studies(STORAGE) == ("s.2",)
    assert logs(folder) == ["s.2.json", "s.2.log"]
    with pytest.raises(StudyError, match="'s' was not started in the background"):
        forget("s", STORAGE)
    log_file("s.2", STORAGE).unlink()
    forget("s.2", STORAGE)
    assert logs(folder) == []


def test_one_at_work_is_not_forgotten(folder: Path, program: Callable[[str], None]) -> None:
    program(SLEEPS)
    begun = launch("s", ["run"], STORAGE)
    with pytest.raises(StudyError, match=f"is being run by process {begun.owner['pid']}"):
        forget("s", STORAGE)
    assert logs(folder) == ["s.json", "s.log"]


def test_a_study_that_is_stored_is_not_forgotten(folder: Path, program: Callable[[str], None]) -> None:
    program(FAILS)
    launch("s", ["run"], STORAGE)
    wait_until(lambda: activity("s", STORAGE).owner is None)
    create_study(SearchConfig(), name="s", storage=STORAGE, settings={}, corpus={})
    with pytest.raises(StudyError, match="'s' is stored"):
        forget("s", STORAGE)
    (folder / "runs" / "sizer.db").write_bytes(b"no database" * 100)  # nor where that cannot be known
    with pytest.raises(StudyError, match="cannot be used"):
        forget("s", STORAGE)
    assert logs(folder) == ["s.json", "s.log"]


@pytest.mark.parametrize("name", ["../s", "", "..", "/etc/hosts", "t/s", "s.json", "*", "a\0b"])
def test_nothing_is_removed_by_a_name_that_is_not_in_the_list(folder: Path, name: str) -> None:
    log = log_file("t", STORAGE)
    (log.parent / "t").mkdir(parents=True)
    files = [log.parent / "t" / "s", log.parents[1] / "s", log.parent / "t"]
    kept = [path.with_name(f"{path.name}{end}") for path in files for end in (".json", ".log")]
    for path in kept:
        path.write_text("{}")
    with pytest.raises(StudyError, match="was not started in the background"):
        forget(name, STORAGE)
    assert all(path.is_file() for path in kept)


def forecast_of(*options: str) -> Forecasting:
    made = Forecasting(options, STORAGE)
    wait_until(lambda: made.is_done, 300)
    return made


def test_a_forecast_that_fails_says_why(folder: Path, program: Callable[[str], None]) -> None:
    program(FAILS)
    assert forecast_of().error == "budget: nothing fits"
    program("import sys; sys.exit(3)")
    assert forecast_of().error == "forecast: ended with exit code 3"


WAITS = "import time; time.sleep(600)"


def test_only_one_forecast_is_made_at_a_time(folder: Path, program: Callable[[str], None]) -> None:
    program(WAITS)
    first = Forecasting((), STORAGE)
    second = Forecasting((), STORAGE)
    wait_until(lambda: first.is_done, 60)
    assert first.error == "forecast: another forecast was started"
    assert not second.is_done
    second.cancel()
    wait_until(lambda: second.is_done, 60)
    assert second.error == "forecast: cancelled"
    for ended in (first, second):
        with pytest.raises(ProcessLookupError):
            os.kill(ended.pid, 0)


def test_a_forecast_ends_when_its_page_no_longer_asks_for_it(
    folder: Path, program: Callable[[str], None]
) -> None:
    program(WAITS)
    made = Forecasting((), STORAGE, unasked_s=0.5)
    end = time.monotonic() + 60
    while not made.error:  # `is_done` would keep it alive
        assert time.monotonic() < end
        time.sleep(0.05)
    assert made.error == "forecast: its page was closed"


def test_a_forecast_shows_which_model_it_times(folder: Path, program: Callable[[str], None]) -> None:
    program(f"import sys, time; print('timing model 2 of 7  eta 3 s', file=sys.stderr, flush=True); {WAITS}")
    made = Forecasting((), STORAGE)
    wait_until(lambda: made.at_model == (2, 7), 60)
    made.cancel()


@pytest.mark.slow
def test_forecast_of_a_real_search(folder: Path) -> None:
    made = forecast_of(*SMALL)
    assert made.at_model[0] == made.at_model[1] > 0
    # they are a pair of one size: each is trained from two seeds, 8 x 128 tokens a step
    assert made.line.startswith("2 models for 20 steps, 81.92K tokens, about ")
    assert not (folder / "runs").exists()
    refused = forecast_of("--max-size=3kB")
    assert refused.error.startswith("max_size_bytes: must be a whole number from 10000")


@pytest.mark.slow
def test_a_real_search_runs_stops_and_goes_on(folder: Path) -> None:
    options = ("--max-size=100kB", "--trials=3", "--steps=3000", "--rungs=1", "--study=s")
    launch("s", ["run", *options], STORAGE)

    def trains() -> bool:
        now = activity("s", STORAGE)
        assert now.owner is not None, log_tail("s", STORAGE)
        return bool(now.live and any(run.step >= 50 for run in now.live.in_training))

    wait_until(trains, 600)
    live = read_live("s", STORAGE)
    assert live is not None
    begun = read_launch("s", STORAGE)
    assert begun is not None
    assert live.owner == begun.owner
    stop("s", STORAGE)
    wait_until(lambda: activity("s", STORAGE).owner is None, 120)
    assert activity("s", STORAGE).state is State.STOPPED
    assert log_tail("s", STORAGE).strip().endswith("stopped; continue with: sizer search resume s")
    from search.run.learning_curves import read_curves

    def points_of() -> dict[int, Any]:
        return {curve.number: curve.points for curve in read_curves("s", STORAGE)}

    before = points_of()
    assert before
    # fewer steps would take another study: what is under way is killed here, which tells nothing itself
    launch("s", ["resume", "--", "s"], STORAGE)
    wait_until(lambda: all(len(points_of()[n]) > len(points) for n, points in before.items()), 600)
    again = activity("s", STORAGE)
    assert again.owner is not None
    os.kill(again.owner["pid"], signal.SIGKILL)
    wait_until(lambda: activity("s", STORAGE).owner is None, 60)
    assert activity("s", STORAGE).state is State.KILLED
    after = points_of()
    for number, points in before.items():
        # it went on from its checkpoint, not from the start
        assert after[number][: len(points) - 1] == points[:-1]
        assert len(after[number]) > len(points)


@pytest.mark.slow
def test_a_short_search_ends_by_itself(folder: Path) -> None:
    launch("s", ["run", *SMALL, "--study=s"], STORAGE)
    wait_until(lambda: activity("s", STORAGE).owner is None, 300)
    now = activity("s", STORAGE)
    assert now.state is State.DONE, log_tail("s", STORAGE)
    assert now.live is not None
    assert (now.live.trained, now.live.done_steps, now.live.total_steps) == (
        2,
        80,
        80,
    )  # a pair, from two seeds
    result = load_result("s", STORAGE)
    assert len(result.trained) == 2
    assert (folder / "runs" / "s" / "report.html").is_file()
