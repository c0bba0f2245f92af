"""Published facts in tests/data, read as rows."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

FACTS = Path(__file__).parent / "data"


def json_lines(name: str) -> list[dict[str, Any]]:
    """Return the rows of a JSON-lines file."""
    text = (FACTS / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def csv_rows(name: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file by its column names."""
    with (FACTS / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
