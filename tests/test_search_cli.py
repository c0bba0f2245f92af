"""Whole searches through the command line: killed, interrupted and out of disk half-way, then resumed."""

from __future__ import annotations

import csv
import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.search_runs import TEXT, finished_runs

ROOT = Path(__file__).resolve().parents[1]
CONFIG = """
max_size_bytes = "150KB"
trials = 5
steps = 600
final_seeds = 1
batch_size = 4
seq_len = 64
val_chunks = 8
corpus = "text.py"
max_executed_layers = 4
min_hidden_size = 32
head_dims = [32]
"""

pytestmark = pytest.mark.slow


def _command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "cli.py"), *arguments]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty working directory with a text and a configuration."""
    (tmp_path / "text.py").write_text(TEXT, encoding="utf-8")
    (tmp_path / "space.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def _sizer(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(_command(*arguments), cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def _start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        _command("search", "run", "--config", "space.toml", "--study", "s"),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _trained(folder: Path) -> int:
    """Models with a score; from the database, as a command would take longer than some models."""
    return sum(rung == 0 for _, rung, _ in finished_runs(folder))


def _wait(folder: Path, running: subprocess.Popen[str], until: Callable[[int], bool]) -> None:
    end = time.monotonic() + 240
    while not until(_trained(folder)):
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < end, "no trial finished in four minutes"
        time.sleep(0.02)


def _in_training(folder: Path) -> bool:
    """Whether a trial has all its parameters, so that the next write is its result."""
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{folder}/runs/sizer.db")
    running = study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
    return any("size_fraction" in trial.params for trial in running)


def _points(folder: Path) -> dict[int, Any]:
    document = json.loads(_sizer(folder, "search", "frontier", "s", "--json").stdout)
    assert document["schema"] == "sizer.frontier/1"
    return {point["trial"]: point for point in document["points"]}


def _scores(folder: Path) -> dict[str, str]:
    """Score by trial number of every model trained, from the report's table of all trials."""
    with (folder / "runs" / "s" / "trials.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if not row["repeats_trial"]]
    return {row["trial"]: row["val_bits_per_byte"] for row in rows}


def test_a_search_ends_with_a_frontier_and_a_report(folder: Path) -> None:
    done = _sizer(folder, "search", "run", "--config", "space.toml", "--study", "s")
    assert "Frontier of study s" in done.stdout
    assert "runs/s/report.html" in done.stdout
    assert "5/5" in done.stderr
    page = (folder / "runs" / "s" / "report.html").read_text(encoding="utf-8")
    assert "plotly" in page
    assert _points(folder)
    status = json.loads(_sizer(folder, "search", "status", "s", "--json").stdout)
    assert status["complete"] + status["diverged"] == 5


def test_a_killed_search_resumes_without_repeating_finished_trials(folder: Path) -> None:
    running = _start(folder)
    _wait(folder, running, lambda trained: trained >= 2)
    running.kill()
    running.communicate()
    _sizer(folder, "search", "report", "s")
    before = _scores(folder)
    assert 1 <= len(before) < 5  # the second may be stored and not yet told; resume takes it in
    _sizer(folder, "search", "resume", "s")
    after = _scores(folder)
    assert len(after) == 5
    assert {number: after[number] for number in before} == before


def test_ctrl_c_stops_cleanly_and_resume_goes_on(folder: Path) -> None:
    running = _start(folder)
    _wait(folder, running, lambda trained: trained >= 1)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert errors.strip().endswith("stopped; continue with: sizer search resume s")
    assert "Traceback" not in errors
    _sizer(folder, "search", "resume", "s")
    assert len(_scores(folder)) == 5


def test_a_full_disk_loses_no_trained_model(folder: Path) -> None:
    running = _start(folder)
    _wait(folder, running, lambda trained: trained >= 1)
    while not _in_training(folder):
        time.sleep(0.05)
    # From here on the process can write no file beyond 8 KiB: its database fails as on a full disk.
    resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (8192, 8192))
    _, errors = running.communicate(timeout=240)
    assert running.returncode == 2, errors
    last = errors.strip().splitlines()[-1]
    assert last.startswith("error: storage: ")
    assert "is kept in" in last
    assert "Traceback" not in errors
    kept = sorted((folder / "runs").glob("sizer-s-*.json"))
    assert len(kept) == 1
    number = str(json.loads(kept[0].read_text(encoding="utf-8"))["number"])
    score = json.loads(kept[0].read_text(encoding="utf-8"))["proxy"]["val_bits_per_byte"]
    _sizer(folder, "search", "resume", "s")
    assert not kept[0].exists()
    assert float(_scores(folder)[number]) == pytest.approx(score, abs=1e-4)
