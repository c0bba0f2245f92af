"""Figures of this room's scripts: each adds lines to measured.jsonl; this module writes docs/cluster.md.

python benchmarks/cluster/measured.py
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RECORD = Path(__file__).parent / "measured.jsonl"
PAGE = ROOT / "docs" / "cluster.md"
_HEADING = "## Measured\n"

Line = dict[str, Any]


def add(script: str, **values: Any) -> None:
    """Print what a script measured and add it to the record."""
    line = {
        "script": script,
        **values,
        "load": round(os.getloadavg()[0], 1),
        "day": time.strftime("%Y-%m-%d"),
        "machine": f"{len(os.sched_getaffinity(0))} cores, {platform.machine()} {platform.system()}",
    }
    print(json.dumps(line), flush=True)
    with RECORD.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def recorded(script: str) -> list[Line]:
    """Return the lines of a script, in the order in which they were measured."""
    if not RECORD.is_file():
        return []
    lines = [json.loads(line) for line in RECORD.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["script"] == script]


def _kills(lines: Sequence[Line]) -> str:
    workers = [line for line in lines if line["victim"] == "worker"]
    same = sum(line["same"] and line["exit"] == 0 for line in workers)
    text = f"a worker of two killed at a random moment: {same} of {len(workers)} searches ended "
    text += "with the local runs"
    heads = [line for line in lines if line["victim"] == "scheduler"]
    if heads:
        codes = " and ".join(sorted({str(line["exit"]) for line in heads}))
        text += f"; the scheduler killed, {len(heads)} times: one line, exit {codes}, resumed on another: "
        text += "same runs" if all(line["same"] for line in heads) else "OTHER RUNS"
    return text


def _host_names(lines: Sequence[Line]) -> str:
    same = all(line["same"] for line in lines)
    slowest = max(line["seconds_until_killed"] for line in lines)
    return (
        f"{sum(line['kills'] for line in lines)} kills in {len(lines)} searches, each resumed under a new "
        f"host name: {'same runs, to the bit' if same else 'OTHER RUNS'}; `status` said killed after at most "
        f"{slowest:.0f} s"
    )


def _database(lines: Sequence[Line]) -> str:
    stops, ends = sum(line["stops"] for line in lines), sum(line["exit"] != 0 for line in lines)
    same = all(line["same"] for line in lines)
    return (
        f"PostgreSQL stopped {stops} times for {lines[0]['seconds']:g} s: {ends} searches ended early; "
        f"{'same models' if same else 'OTHER MODELS'}"
    )


def _overhead(lines: Sequence[Line]) -> str:
    last = lines[-1]
    return (
        f"{last['tasks']} tasks of {last['task_s']:g} s on {last['slots']} slots: {last['wall_s']:.1f} s, "
        f"{100 * last['overhead']:.1f} % more than without a cluster"
    )


def _slurm(lines: Sequence[Line]) -> str:
    last = lines[-1]
    runs = "the local runs" if last["same"] else "OTHER RUNS"
    return (
        f"SLURM {last['version']}, two nodes on one machine, the {last['killed']} killed in the middle: exit "
        f"{last['exit']}, {runs}, {last['wall_s']:.0f} s"
    )


def _checkpoints(lines: Sequence[Line]) -> str:
    worst = max(lines, key=lambda line: float(line["share"]))
    return (
        f"checkpoints took at most {100 * worst['share']:.1f} % of a run's wall time "
        f"({', '.join(format(line['parameters'], ',') for line in lines)} parameters)"
    )


_SAID: dict[str, Callable[[Sequence[Line]], str]] = {
    "kills": _kills,
    "host_names": _host_names,
    "database_stops": _database,
    "overhead": _overhead,
    "slurm": _slurm,
    "checkpoint_time": _checkpoints,
}


def section() -> str:
    """Return the page's section of figures."""
    rows = [
        f"- `python benchmarks/cluster/{script}.py`: {said(lines)} (load {lines[-1]['load']} on "
        f"{lines[-1]['machine']}, {lines[-1]['day']})."
        for script, said in _SAID.items()
        if (lines := recorded(script))
    ]
    return "\n".join([_HEADING, "Written by `python benchmarks/cluster/measured.py`.", "", *rows, ""])


def main() -> None:
    """Write the section to the end of the page."""
    before = PAGE.read_text(encoding="utf-8").partition(_HEADING)[0].rstrip()
    PAGE.write_text(f"{before}\n\n{section()}", encoding="utf-8")
    print(section())


if __name__ == "__main__":
    main()
