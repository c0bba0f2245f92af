"""The search that the scripts of this room disturb: six models in three rungs, some minutes of two cores."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.search_runs import TEXT, finished_runs  # noqa: E402  tests read them the same way

RUN = ("run", "--config", "space.toml", "--study")
# Of a run, by trial, rung and seed: steps, bits per byte.
Scores = dict[tuple[int, int, int], tuple[int, float | None]]


def search_folder(path: Path, *, steps: int, workers: int = 1) -> Path:
    """Return a folder with the text and the configuration of a search."""
    path.mkdir(exist_ok=True)
    (path / "text.py").write_text(TEXT, encoding="utf-8")
    (path / "space.toml").write_text(
        f"""
max_size_bytes = "150KB"
trials = 6
steps = {steps}
eta = 2.0
lowest_rung_steps = {steps // 4}
final_seeds = 2
workers = {workers}
batch_size = 4
seq_len = 64
val_chunks = 8
corpus = "text.py"
max_executed_layers = 4
min_hidden_size = 32
head_dims = [32]
""",
        encoding="utf-8",
    )
    return path


def start_search(
    folder: Path,
    *arguments: str,
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `sizer search` with arguments in a folder; `before` is a command that runs it."""
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [*before, sys.executable, str(ROOT / "cli.py"), "search", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
            stdout=log,
            stderr=log,
        )


def scores(folder: Path) -> Scores:
    """Return the runs that study `s` of a folder has stored."""
    return {key: (run["steps"], run["val_bits_per_byte"]) for key, run in finished_runs(folder).items()}
