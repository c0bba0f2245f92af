"""Searches over vocabularies, devices, energy and KV caches for ExecuTorch and llama.cpp: killed, resumed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.search_runs import TEXT, finished_runs

ROOT = Path(__file__).resolve().parents[1]
KILLS = int(os.environ.get("SIZER_KILLS", "3"))  # 20 is the full measure
TRIALS = 4 if KILLS < 10 else 12
DEVICES = ("raspberry-pi-5", "pixel-8")
OPTIONS = (
    *("--runtime", "executorch", "--device", DEVICES[0], "--device", DEVICES[1]),
    *("--objective", "energy", "--max-size", "1200KB", "--tokenizer", "bpe", "--vocab-size", "256,512"),
    *(
        "--sharing",
        "none,middle",
        "--sharing-repeats",
        "2",
        "--layers",
        ":5",
        "--head-dim",
        "32",
        "--trials",
        str(TRIALS),
        "--steps",
        "30",
        "--final-seeds",
        "1",
    ),
    *("--batch-size", "4", "--seq-len", "64", "--val-chunks", "8", "--corpus", "text.py"),
    *("--sampler", "random"),  # the others' first shapes are all of the first vocabulary
)
# llama.cpp has the quantized types of KV cache
CACHES = (
    *(
        "--cache-type",
        "F16,Q4_0",
        "--ffn-growth",
        "1,3",
        "--objective",
        "memory",
        "--objective",
        "bytes",
        "--max-size",
        "150KB",
    ),
    *("--layers", ":4", "--head-dim", "32", "--trials", "4", "--steps", "30", "--final-seeds", "1"),
    *("--batch-size", "4", "--seq-len", "64", "--val-chunks", "8", "--corpus", "text.py"),
    *("--sampler", "random"),
)

pytestmark = pytest.mark.slow


def _start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    with (folder / "log.txt").open("ab") as log:
        command = [sys.executable, str(ROOT / "cli.py"), "search", *arguments]
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)


def _folder(path: Path) -> Path:
    path.mkdir()
    (path / "text.py").write_text(TEXT, encoding="utf-8")
    return path


def _document(folder: Path) -> dict[str, Any]:
    command = [sys.executable, str(ROOT / "cli.py"), "search", "frontier", "s", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_everything_on_two_devices_runs_to_its_report_and_survives_kills(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    straight, broken = _folder(tmp_path / "straight"), _folder(tmp_path / "broken")
    assert _start(straight, "run", *OPTIONS, "--study", "s").wait(timeout=900) == 0, (
        straight / "log.txt"
    ).read_text()
    moments, kills = random.Random(0), 0
    while kills < KILLS:
        again = (broken / "runs" / "sizer.db").is_file()
        before = len(finished_runs(broken))
        running = _start(broken, *(("resume", "s") if again else ("run", *OPTIONS, "--study", "s")))
        wanted = before + moments.randint(0, 1)
        while running.poll() is None and len(finished_runs(broken)) < wanted:
            time.sleep(0.1)
        try:
            code = running.wait(timeout=moments.uniform(0.0, 4.0))
        except subprocess.TimeoutExpired:
            os.kill(running.pid, signal.SIGKILL)
            running.wait()
            kills += 1
            continue
        if code == 2 and not finished_runs(broken):  # killed before there was a study
            (broken / "runs" / "sizer.db").unlink(missing_ok=True)
            continue
        assert code == 0, (broken / "log.txt").read_text()
        break
    assert _start(broken, "resume", "s").wait(timeout=900) == 0, (broken / "log.txt").read_text()
    scores = [
        {key: (run["steps"], run["val_bits_per_byte"]) for key, run in finished_runs(folder).items()}
        for folder in (straight, broken)
    ]
    assert scores[0] == scores[1]
    assert len(scores[0]) >= TRIALS
    document = _document(broken)
    assert document["objectives"] == ["joules_per_token", "val_bits_per_byte"]
    assert document["devices"] == list(DEVICES)
    for point in document["points"]:
        joules = [one["joules_per_token"] for one in point["devices"]]
        assert [one["device"] for one in point["devices"]] == list(DEVICES)
        assert point["joules_per_token"] == max(joules)
    page = (broken / "runs" / "s" / "report.html").read_text(encoding="utf-8")
    assert "Bits per byte against energy" in page
    stored = optuna.load_study(study_name="s", storage=f"sqlite:///{broken / 'runs' / 'sizer.db'}")
    assert stored.metric_names == ["joules_per_token", "val_bits_per_byte"]
    asked = {trial.params.get("vocab_size") for trial in stored.trials}
    assert asked == {256, 512}
    assert {trial.params.get("sharing") for trial in stored.trials} == {"none", "middle ends 1"}


def test_types_of_kv_cache_are_searched_for_memory(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "caches")
    assert _start(folder, "run", *CACHES, "--study", "s").wait(timeout=900) == 0, (
        folder / "log.txt"
    ).read_text()
    document = _document(folder)
    assert document["objectives"] == ["memory_bytes", "file_bytes", "val_bits_per_byte"]
    stored = optuna.load_study(study_name="s", storage=f"sqlite:///{folder / 'runs' / 'sizer.db'}")
    records = [json.loads(trial.user_attrs["sizer_record"]) for trial in stored.trials]
    assert {record["cache_type"] for record in records} == {None, "Q4_0"}
    assert {bool(record["config"].get("layer_intermediate_sizes")) for record in records} == {True, False}
