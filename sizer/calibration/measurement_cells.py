"""The cells of data/measurements.csv as they are written, without the costs of their models."""

from __future__ import annotations

import csv
from pathlib import Path

MEASUREMENTS = Path(__file__).parent.parent / "data" / "measurements.csv"


def measurement_cells(path: Path = MEASUREMENTS) -> list[dict[str, str]]:
    """Return the cells of each row by column; lines that start with # are comments."""
    lines = [s for s in path.read_text(encoding="utf-8").splitlines() if not s.startswith("#")]
    return list(csv.DictReader(lines))


def number(text: str) -> float | None:
    """Return a cell's number, None if it is empty."""
    return float(text) if text else None


def backend_cell(cells: dict[str, str]) -> str:
    """Return a row's backend: the CPU if it names none."""
    return cells["backend"] or "cpu"


def format_cell(cells: dict[str, str]) -> str:
    """Return a row's format as printed, or the bits of its blocks."""
    return cells["format"] or f"{cells['block_bits']} bits"
