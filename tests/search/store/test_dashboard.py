"""optuna-dashboard, started on a stored study: objectives, parameters and states as it serves them."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from search.store.results import TrialStatus
from tests.search.records import proxy, record
from tests.search.store.studies import asked, new

pytest.importorskip("optuna_dashboard")
_PATIENCE_S = 60.0


@pytest.fixture
def served(storage: str) -> Iterator[str]:
    """Address of a dashboard of one study: two trials scored, two failed, one running."""
    study = new(storage)
    for told in (record(0, bits=2.0), record(1, bits=1.5, layers=3)):
        asked(study)
        study.tell(told)
    asked(study)
    study.tell(replace(record(2, layers=4), proxy=None, violations=("file 3 MB > 2 MB",)))
    asked(study)
    study.tell(replace(record(3, layers=5), proxy=proxy(status=TrialStatus.DIVERGED)))
    asked(study)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    program = Path(sys.executable).with_name("optuna-dashboard")
    command = [str(program), storage, "--host", "127.0.0.1", "--port", str(port)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        running.kill()
        running.wait()


def _answer(address: str) -> Any:
    """The JSON at an address, once the server answers."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with urlopen(address, timeout=5) as answer:
                return json.load(answer)
        except (URLError, ConnectionError):
            assert time.monotonic() < until, f"no answer from {address}"
            time.sleep(0.1)


def test_a_dashboard_shows_objectives_parameters_and_states(served: str) -> None:
    (summary,) = _answer(f"{served}/api/studies")["study_summaries"]
    assert summary["study_name"] == "s"
    assert summary["directions"] == ["minimize", "minimize"]
    study = _answer(f"{served}/api/studies/{summary['study_id']}?after=0")
    assert study["objective_names"] == ["file_bytes", "val_bits_per_byte"]
    states = [trial["state"] for trial in study["trials"]]
    assert states == ["Complete", "Complete", "Fail", "Fail", "Running"]
    assert [trial["values"] for trial in study["trials"][:2]] == [[100_000, 2.0], [100_000, 1.5]]
    names = {one["name"] for one in study["trials"][0]["params"]}
    assert {"format", "executed_layers", "ffn_ratio", "sharing", "size_fraction"} <= names
    assert {one["name"] for one in study["union_search_space"]} == names
    best = {trial["number"] for trial in study["best_trials"]}
    assert best == {1}  # of equal bytes the lower loss
    with urlopen(f"{served}/dashboard", timeout=10) as page:
        assert "Optuna Dashboard" in page.read().decode()
