"""`sizer search status` and `report` on a study worked out by hand: rungs, files, notes, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import search.store.study
from reports.export import files as exports
from reports.export import images
from search.store.results import SearchResult


@pytest.fixture
def study(in_rungs: SearchResult, monkeypatch: pytest.MonkeyPatch) -> SearchResult:
    """The study that any name opens."""
    monkeypatch.setattr(search.store.study, "load_result", lambda name, storage: in_rungs)
    return in_rungs


def test_status_shows_rungs(sizer: Any, study: SearchResult) -> None:
    ran = sizer("search", "status", "by-hand")
    assert ran.code == 0
    shown = ran.out[ran.out.index("rung 1") :]
    assert shown.splitlines() == [
        "rung 1             100 steps: 6 models, 3 promoted",
        "                     shallowest of its size: trial 0",
        "                     best of its size: trial 1",
        "                     deepest of its size: trial 2",
        "rung 2             300 steps: 3 models, 1 promoted",
        "                     best of its size: trial 1",
        "rung 3             990 steps: 1 model",
        "                     trained to its end: trial 1",
    ]


def test_status_as_json(sizer: Any, study: SearchResult) -> None:
    document = sizer("search", "status", "by-hand", "--json").json
    assert (document["complete"], document["diverged"], document["trials_requested"]) == (5, 1, 6)
    assert [rung["steps"] for rung in document["rungs"]] == [100, 300, 990]
    assert document["rungs"][0] == {
        "rung": 0,
        "steps": 100,
        "models": 6,
        "scored": 5,
        "open": False,
        "went_on": [0, 1, 2],
        "reasons": {
            "shallowest of its size": [0],
            "best of its size": [1],
            "deepest of its size": [2],
        },
    }


def test_report_says_what_it_wrote(sizer: Any, study: SearchResult) -> None:
    ran = sizer("search", "report", "by-hand", "--out", "out", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["schema"] == "sizer.report/1"
    assert ran.json["html"] == "out/report.html"
    assert ran.json["notes"] == []
    written = {path for path in map(str, Path("out").iterdir())}
    assert written == {ran.json["html"], *ran.json["files"]}
    assert json.loads(Path("out/frontier.json").read_text(encoding="utf-8"))["study"] == "by-hand"
    assert sizer("search", "report", "by-hand").out == "runs/by-hand/report.html\n"


def test_what_could_not_be_written_is_said_on_stderr(
    sizer: Any, study: SearchResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "find_spec", lambda name: None)
    monkeypatch.setattr(images, "find_chromium", lambda: None)
    ran = sizer("search", "report", "by-hand", "--images", "--out", "out")
    assert (ran.code, ran.out) == (0, "out/report.html\n")
    assert ran.err == f"{exports.NO_PARQUET}\n{images.NO_BROWSER}\n"
