"""A clock that is set back while a search runs does not make its status another search's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from search.run import launch as launching
from search.run.launch import Launch, activity
from search.run.live import LiveStatus, State

BEGAN_S = 1_000_000.0
OURS = {"pid": 2**22 + 1, "started": "5", "host": "here"}  # a number that no process has
OTHERS = {"pid": 2**22 + 2, "started": "3", "host": "here"}


def _status(owner: Mapping[str, Any], written_at_s: float) -> LiveStatus:
    return LiveStatus(
        state=State.DONE,
        reason="",
        owner=owner,
        written_at_s=written_at_s,
        trained=2,
        wanted=2,
        infeasible=0,
        rungs=1,
        done_steps=40,
        total_steps=40,
        eta_s=0.0,
        tokens_per_s=1.0,
        best_trial=0,
        in_training=(),
    )


@pytest.mark.parametrize(
    ("owner", "written_at_s", "state"),
    [
        (OURS, BEGAN_S - 3600, State.DONE),  # set back by an hour: still the status of this search
        (OTHERS, BEGAN_S + 3600, State.DONE),  # resumed in a terminal since
        (OTHERS, BEGAN_S - 3600, State.FAILED),  # of the search before it: this one wrote none
    ],
)
def test_a_status_is_its_owners_whatever_the_clock_says(
    monkeypatch: pytest.MonkeyPatch, owner: Mapping[str, Any], written_at_s: float, state: State
) -> None:
    started = Launch(study="s", owner=OURS, arguments=(), began_at_s=BEGAN_S, log_begins_bytes=0)
    monkeypatch.setattr(launching, "read_launch", lambda study, storage: started)
    monkeypatch.setattr(launching, "read_live", lambda study, storage: _status(owner, written_at_s))
    monkeypatch.setattr(launching, "log_tail", lambda study, storage: "")
    assert activity("s", "sqlite:///runs/none.db").state is state
