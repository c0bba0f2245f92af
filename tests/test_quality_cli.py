"""`sizer quality`: one JSON document, a table, one line and exit 2 for bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import cli
import search.store.study
from search.store.results import SearchResult

_RUNS = """model,params_nonembedding,tokens,loss_nats
a,2e7,1e9,3.9
b,4e7,2e9,3.6
c,8e7,4e9,3.35
"""
_ASKED = "model,params_nonembedding,tokens\nbig,8e8,4e10\n"


def _files(tmp_path: Path, runs: str = _RUNS) -> list[str]:
    (tmp_path / "runs.csv").write_text(runs, encoding="utf-8")
    (tmp_path / "asked.csv").write_text(_ASKED, encoding="utf-8")
    return ["quality", "fit", str(tmp_path / "runs.csv"), "--ask", str(tmp_path / "asked.csv")]


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*_files(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "sizer.quality/1"
    (row,) = document["predictions"]
    assert set(row) == {"model", "loss_nats", "accuracy", "basis"}
    assert row["model"] == "big"
    assert row["accuracy"] is None
    assert row["loss_nats"]["low"] < row["loss_nats"]["value"] < row["loss_nats"]["high"] < 3.35


def test_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(_files(tmp_path)) == 0
    assert "law calibrated on 3 of your runs" in capsys.readouterr().out


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(_files(tmp_path, "params_total,tokens,loss_nats\n1e8,1e9,low\n")) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "row 2, loss_nats: must be a number above 0 or empty, got 'low'" in error


def test_curve(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["quality", "curve", "MobileLLM-600M", "--anchor", "MobileLLM-125M=46.3", "--target", "52"]
    assert cli.main(asked) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "52.0 % needs" in printed
    assert "H100-hours" in printed
    assert cli.main([*asked, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "sizer.quality.curve/1"
    last = document["target"]
    assert last["accuracy_8"]["low"] < 52 < last["accuracy_8"]["high"]
    assert {cost["card"] for cost in last["training"]} == {"A100", "H100"}
    assert all(cost["source"] for cost in last["training"])


def test_a_curve_needs_one_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["quality", "curve"]) == 2
    assert capsys.readouterr().err == "error: model: give one of MODEL and --params\n"
    assert cli.main(["quality", "curve", "--params", "50M", "--target", "70"]) == 1


def test_a_study_s_frontier_after_a_full_training(
    sizer: Any, in_rungs: SearchResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search.store.study, "load_result", lambda name, storage: in_rungs)
    document = sizer("quality", "study", "by-hand", "--tokens", "300B", "--json").json
    assert document["schema"] == "sizer.quality.study/1"
    assert document["points"]
    for point in document["points"]:
        record = in_rungs.records[point["trial"]]
        assert point["file_bytes"] == record.file_bytes
        assert point["quality"]["tokens"] == 300 * 10**9
    shown = sizer("quality", "study", "by-hand")
    assert "After 1T training tokens" in shown.out
