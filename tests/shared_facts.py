"""The fact files beside the project (../shared); tests that need them skip where they are absent."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"

needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="no ../shared with published facts beside the project"
)


def json_lines(name: str) -> list[dict[str, Any]]:
    """Rows of a JSON-lines file; empty where it is absent (its tests skip)."""
    path = SHARED / name
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def csv_rows(name: str) -> list[dict[str, str]]:
    """Rows of a CSV file; empty where it is absent."""
    path = SHARED / name
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
