"""A search with two workers, killed again and again at random moments: nothing is lost or trained twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.search_runs import TEXT, finished_runs

ROOT = Path(__file__).resolve().parents[1]
# `make test` kills a few times; SIZER_KILLS=20 is the full measure (about ten minutes).
KILLS = int(os.environ.get("SIZER_KILLS", "4"))
TRIALS, STEPS = (16, 1500) if KILLS > 4 else (8, 1000)
CONFIG = f"""
max_size_bytes = "150KB"
trials = {TRIALS}
steps = {STEPS}
eta = 2.0
lowest_rung_steps = {STEPS // 4}
final_seeds = 2
audit_pairs = 1
workers = 2
batch_size = 4
seq_len = 64
val_chunks = 8
corpus = "text.py"
max_executed_layers = 4
min_hidden_size = 32
head_dims = [32]
"""
# About how long imports, the corpus, the timing of ways to train and the workers take.
START_S = 3.5

pytestmark = pytest.mark.slow


def _start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "cli.py"), "search", *arguments],
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _wait_for(running: subprocess.Popen[bytes], folder: Path, runs: int) -> None:
    """Come back when so many runs are finished, or the search is."""
    while running.poll() is None and len(finished_runs(folder)) < runs:
        time.sleep(0.1)


def _workers_are_gone(folder: Path) -> bool:
    """Whether no process works in the folder any more: workers notice that their parent has died."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").resolve() == folder and "multiprocessing" in (
                    entry / "cmdline"
                ).read_text():
                    return False
            except OSError:
                continue
    return True


def _folder(path: Path) -> Path:
    path.mkdir()
    (path / "text.py").write_text(TEXT, encoding="utf-8")
    (path / "space.toml").write_text(CONFIG, encoding="utf-8")
    return path


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes through /proc")
def test_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    straight, broken = _folder(tmp_path / "straight"), _folder(tmp_path / "broken")
    whole = _start(straight, "run", "--config", "space.toml", "--study", "s")
    assert whole.wait(timeout=600) == 0, (straight / "log.txt").read_text()
    moments = random.Random(0)
    seen: dict[tuple[int, int, int], dict[str, Any]] = {}
    kills = moved = 0
    while kills < KILLS:
        again = bool(seen) or (broken / "runs" / "sizer.db").is_file()
        command = ("resume", "s") if again else ("run", "--config", "space.toml", "--study", "s")
        running = _start(broken, *command)
        # from before the first import to well into training; over all kills more than half of the search
        new = moments.randint(0, max(1, TRIALS // KILLS))
        if new:
            _wait_for(running, broken, len(seen) + new)
        try:
            code = running.wait(timeout=moments.uniform(0.0, 1.0 if new else START_S))
        except subprocess.TimeoutExpired:
            os.kill(running.pid, signal.SIGKILL)  # the parent alone: its workers must notice
            running.wait()
            kills += 1
        else:
            if code == 2 and not seen:  # killed before there was a study: begin again
                (broken / "runs" / "sizer.db").unlink(missing_ok=True)
                continue
            assert code == 0, (broken / "log.txt").read_text()
            break
        now = finished_runs(broken)
        assert seen.items() <= now.items()  # still there, and not trained anew: even the seconds are the same
        moved += len(now) > len(seen)
        seen = now
        end = time.monotonic() + 5
        while not _workers_are_gone(broken):
            assert time.monotonic() < end, "workers outlive their parent"
            time.sleep(0.1)
    last = _start(broken, "resume", "s")
    assert last.wait(timeout=600) == 0, (broken / "log.txt").read_text()
    done = finished_runs(broken)
    assert seen.items() <= done.items()
    assert _scores(done) == _scores(finished_runs(straight))
    print(f"{kills} kills, {moved} of them after something new was finished, {len(done)} runs")
    assert kills >= KILLS / 2, "the search ended before it could be killed"
    assert moved, "every kill came before anything was finished"


def _scores(runs: dict[tuple[int, int, int], dict[str, Any]]) -> dict[tuple[int, int, int], tuple[Any, Any]]:
    return {key: (run["steps"], run["val_bits_per_byte"]) for key, run in runs.items()}
