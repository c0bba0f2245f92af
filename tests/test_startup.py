"""`sizer estimate` starts in at most twice the time of importing typer, measured side by side.

As a user has it: modules are compiled once, typer's when it is installed, ours at the first start.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import pytest

ROOT = Path(__file__).resolve().parents[1]
TYPER = [sys.executable, "-c", "import typer"]
ESTIMATE = [sys.executable, "cli.py", "estimate", "--params", "125M", "--bits", "4"]


def _seconds(command: list[str], compiled: Path) -> float:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(compiled)
    start = perf_counter()
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=60)
    return perf_counter() - start


def ratios(command: list[str], pairs: int, compiled: Path) -> list[float]:
    """Time of the command over that of importing typer, in pairs run one after the other."""
    for warm in (TYPER, command):
        _seconds(warm, compiled)
    return [_seconds(command, compiled) / _seconds(TYPER, compiled) for _ in range(pairs)]


@pytest.mark.timing
@pytest.mark.parametrize(
    "extra", [[], ["--json"], ["--device", "raspberry-pi-5"]], ids=["table", "json", "device"]
)
def test_an_estimate_takes_at_most_twice_the_import_of_typer(extra: list[str], tmp_path: Path) -> None:
    found = ratios([*ESTIMATE, *extra], pairs=25, compiled=tmp_path)
    assert median(found) <= 2.0, sorted(round(r, 2) for r in found)
