"""Tables as CSV and Markdown: rows of the JSON document, one line each."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sizer.families.hf_config import config_from_architecture
from sizer.registry import models
from tests.sizer.readers.handmade import write_gguf

ROOT = Path(__file__).resolve().parents[1]

COMMANDS = {
    "models": ("models",),
    "devices": ("devices", "raspberry-pi-5"),
    "formats": ("formats",),
    "solve": ("solve", "--device", "raspberry-pi-5", "--max-size", "60MB", "--top", "2"),
    "compare": ("compare", "SmolLM2-135M", "--device", "pixel-8a", "--device", "raspberry-pi-5"),
    "curve": ("quality", "curve", "--params", "350M"),
    "trust": ("search", "trust", "guided-0", "--storage", f"sqlite:///{ROOT}/docs/studies.db"),
    "list": ("search", "list", "--storage", f"sqlite:///{ROOT}/docs/studies.db"),
    "frontier": ("search", "frontier", "guided-0", "--storage", f"sqlite:///{ROOT}/docs/studies.db"),
}


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_csv_and_markdown_have_the_same_rows(sizer: Any, command: tuple[str, ...]) -> None:
    rows = rows_of(sizer(*command, "-o", "csv").out)
    lines = sizer(*command, "-o", "md").out.splitlines()
    assert len(rows) >= 1
    assert len(lines) == len(rows) + 2
    assert lines[0] == "| " + " | ".join(rows[0]) + " |"


def test_numbers_are_those_of_the_json_document(sizer: Any) -> None:
    command = COMMANDS["compare"]
    estimates = sizer(*command, "--json").json["estimates"]
    rows = rows_of(sizer(*command, "-o", "csv").out)
    assert [row["device"] for row in rows] == ["pixel-8a", "raspberry-pi-5"]
    for row, sized in zip(rows, estimates, strict=True):
        assert int(row["weights.file_bytes"]) == sized["weights"]["file_bytes"]
        assert float(row["latency.decode_tokens_per_s.low"]) == sized["latency"]["decode_tokens_per_s"]["low"]


def test_solve_has_the_law_in_each_row(sizer: Any) -> None:
    command = ("solve", "--device", "raspberry-pi-5", "--max-size", "20MB", "--rank", "law", "--top", "2")
    law = sizer(*command, "--json").json["law"]
    rows = rows_of(sizer(*command, "--output", "csv").out)
    assert [float(row["law.loss_above"]) for row in rows] == [row["loss_above"] for row in law]


def test_inspect_lists_types_or_tensors(sizer: Any) -> None:
    shape = replace(models()["SmolLM2-135M"].architecture, vocab_size=96, hidden_size=64, num_layers=2)
    write_gguf(Path("tiny.gguf"), shape)
    document = sizer("inspect", "tiny.gguf", "--tensors", "--json").json["tensors"]
    types = rows_of(sizer("inspect", "tiny.gguf", "-o", "csv").out)
    assert [row["type"] for row in types] == [row["type"] for row in document["by_type"]]
    tensors = rows_of(sizer("inspect", "tiny.gguf", "--tensors", "-o", "csv").out)
    assert len(tensors) == document["count"] == len(document["list"])
    assert [int(row["num_bytes"]) for row in tensors] == [row["num_bytes"] for row in document["list"]]
    # a config.json has no tensors: nothing is printed, not even a heading
    Path("config.json").write_text(json.dumps(config_from_architecture(shape)), encoding="utf-8")
    assert sizer("inspect", "config.json", "-o", "csv").out == ""


def test_a_report_lists_its_files(sizer: Any) -> None:
    studies = ("--storage", f"sqlite:///{ROOT}/docs/studies.db")
    ran = sizer("search", "report", "guided-0", *studies, "--out", "out", "-o", "csv")
    files = [Path(row["file"]) for row in rows_of(ran.out)]
    assert files[0].name == "report.html"
    assert sorted(file.name for file in files) == sorted(file.name for file in Path("out").iterdir())
    assert all(file.is_file() for file in files)


def test_json_is_the_json_option(sizer: Any) -> None:
    assert sizer("formats", "-o", "json").json == sizer("formats", "--json").json


def test_another_form_is_refused(sizer: Any) -> None:
    ran = sizer("models", "-o", "xml")
    assert ran.code == 2
    assert "'xml'" in ran.err
    assert "csv" in ran.err
