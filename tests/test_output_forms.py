"""Tables as CSV and Markdown: rows of the JSON document, one line each."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

COMMANDS = {
    "models": ("models",),
    "devices": ("devices", "raspberry-pi-5"),
    "formats": ("formats",),
    "solve": ("solve", "--device", "raspberry-pi-5", "--max-size", "60MB", "--top", "2"),
    "compare": ("compare", "SmolLM2-135M", "--device", "pixel-8a", "--device", "raspberry-pi-5"),
    "curve": ("quality", "curve", "--params", "350M"),
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


def test_json_is_the_json_option(sizer: Any) -> None:
    assert sizer("formats", "-o", "json").json == sizer("formats", "--json").json


def test_another_form_is_refused(sizer: Any) -> None:
    ran = sizer("models", "-o", "xml")
    assert ran.code == 2
    assert "'xml'" in ran.err
    assert "csv" in ran.err
