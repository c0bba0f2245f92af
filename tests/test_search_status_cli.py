"""`sizer search status`: what it says of a search under way in any process; and how to go on with one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from reports.text.scaled_proxies import frontier_notes
from search.run import runner
from search.run.live import State, Watch
from search.run.loop import LoopEnding
from search.store.results import SearchResult
from tests.explorer.studies import store
from tests.search.run.test_live import PROGRESS, ignore
from tests.worked_study import CARRIED_FRONT, study_of_proxies

STORAGE = "sqlite:///runs/sizer.db"


@pytest.fixture
def study(sizer: Any, result: SearchResult, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line in a directory with a stored study."""
    monkeypatch.delenv("SIZER_STORAGE", raising=False)
    store(result, STORAGE)
    return sizer


def test_a_study_that_nothing_was_told_of(study: Any) -> None:
    told = study("search", "status", "pi5-6mb", "--json").json
    assert (told["complete"], told["diverged"], told["infeasible"]) == (11, 1, 2)
    assert (told["state"], told["process"], told["live"]) == (None, None, None)
    assert "state              unknown" in study("search", "status", "pi5-6mb").out


def test_a_search_under_way(study: Any) -> None:
    watch = Watch(Path("runs") / "pi5-6mb", ignore)
    watch(PROGRESS)
    told = study("search", "status", "pi5-6mb", "--json").json
    assert (told["state"], told["process"]) == ("running", os.getpid())
    assert (told["live"]["done_steps"], told["live"]["total_steps"]) == (230, 700)
    (run,) = told["live"]["in_training"]
    assert (run["number"], run["step"], run["steps"], run["loss"]) == (2, 30, 100, 3.5)
    lines = study("search", "status", "pi5-6mb").out
    assert f"state              running, process {os.getpid()}\n" in lines
    assert "trial 2            2x64 Q4_0, rung 1, step 30 of 100, 3.500 nats/token\n" in lines
    watch.ended(State.DONE.value)
    told = study("search", "status", "pi5-6mb", "--json").json
    assert (told["state"], told["process"], told["live"]) == ("done", None, None)


@pytest.mark.parametrize("options", [(), ("--trials", "30")])
def test_a_search_that_was_stopped_says_how_to_go_on(
    sizer: Any, result: SearchResult, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """The study remembers how many models were asked for last, so that nobody has to."""
    monkeypatch.setattr(runner, "resume", lambda *_, **__: (result, LoopEnding.STOPPED))
    ran = sizer("search", "resume", "pi5-6mb", *options)
    assert ran.code == 130
    assert ran.err.splitlines()[-1] == "stopped; continue with: sizer search resume pi5-6mb"


def test_proxies_are_ranked_by_what_is_carried_over(study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    proxies, found = study_of_proxies()
    monkeypatch.setattr("search.analysis.extrapolation.extrapolate_study", lambda _: found)
    store(proxies, STORAGE)
    told = study("search", "status", proxies.study, "--json").json
    assert told["on_frontier"] == len(CARRIED_FRONT)
    assert told["best_model_itself"] == "2.400 (2.272 to 2.528)"
    points = study("search", "frontier", proxies.study, "--json").json["points"]
    assert [point["trial"] for point in points] == CARRIED_FRONT
    table, *notes = study("search", "frontier", proxies.study).out.split("\nproxies:  ")
    assert "extrapolated" in table
    assert [note.splitlines()[0] for note in notes] == list(frontier_notes(proxies))
    trust = " ".join(notes[-1].split("trust:")[1].split("report:")[0].split())
    assert trust.endswith("of the proxies' own scores, which are not the ranking here")
