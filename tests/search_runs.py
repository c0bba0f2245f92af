"""Text for searches in tests, and their finished runs, read from the database while a search writes to it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

# easy to learn: a few steps already tell models apart
TEXT = "\n".join(f"def function_{i}(value): return value * {i} + {i % 7}" for i in range(6000))


def finished_runs(folder: Path) -> dict[tuple[int, int, int], dict[str, Any]]:
    """Every finished run by trial, rung and seed, as the database has it."""
    path = folder / "runs" / "sizer.db"
    if not path.is_file():
        return {}
    found = {}
    database = sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=30)
    try:
        query = "SELECT key, value_json FROM study_user_attributes WHERE key LIKE 'sizer_run/%'"
        for key, text in database.execute(query):
            number, rung, seed = map(int, key.split("/")[1:])
            found[number, rung, seed] = json.loads(json.loads(text))
        query = "SELECT value_json FROM trial_user_attributes WHERE key = 'sizer_record'"
        for (text,) in database.execute(query):
            record = json.loads(json.loads(text))
            if record["proxy"] is not None and record["repeats"] is None:
                found[record["number"], 0, record["proxy"]["seed"]] = record["proxy"]
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):  # the database is being made
            raise
    finally:
        database.close()
    return found
