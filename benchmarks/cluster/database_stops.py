"""Stop the PostgreSQL server of a running search again and again, and compare its runs to others.

    python benchmarks/cluster/database_stops.py [--stops 5] [--seconds 60]

Needs the server's programs (Debian's package postgresql) and the extra `postgres`. The script starts a server
for itself, in a temporary folder.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.cluster.measured import add  # noqa: E402
from benchmarks.cluster.small_search import RUN, search_folder, start_search  # noqa: E402
from search.store.study import load_result  # noqa: E402
from tests.postgres import Server, programs  # noqa: E402  tests and benchmarks start one the same way

STEPS, WORKERS = 800, 2
Scores = list[tuple[int, int, int, float | None]]


def main() -> None:
    """Run a search twice, the second time with stops, and print both."""
    parser = argparse.ArgumentParser(description="Stop a search's database again and again.")
    parser.add_argument("--stops", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    if programs() is None:
        sys.exit("needs PostgreSQL's server and psycopg")
    with tempfile.TemporaryDirectory(prefix="sizer-stops-") as name, Server() as server:
        folder = search_folder(Path(name), steps=STEPS, workers=WORKERS)
        assert _start(folder, server, "undisturbed").wait() == 0, (folder / "log.txt").read_text()
        undisturbed = _scores("undisturbed", server)
        print(f"undisturbed: {len(undisturbed)} runs", flush=True)
        running, stops = _start(folder, server, "stopped"), 0
        while running.poll() is None and stops < given.stops:
            time.sleep(5)
            if not (folder / "runs" / "stopped" / "live.json").exists():
                continue
            server.stop()
            time.sleep(given.seconds)
            server.start()
            stops += 1
            print(f"stop {stops} of {given.seconds:g} s: search is {_state(running)}", flush=True)
        code = running.wait()
        same = _scores("stopped", server) == undisturbed
        add("database_stops", stops=stops, seconds=given.seconds, exit=code, same=same)


def _start(folder: Path, server: Server, study: str) -> subprocess.Popen[bytes]:
    return start_search(folder, *RUN, study, environment={"SIZER_STORAGE": server.storage})


def _state(running: subprocess.Popen[bytes]) -> str:
    return "running" if running.poll() is None else f"ended, exit {running.returncode}"


def _scores(study: str, server: Server) -> Scores:
    return [
        (record.number, run.rung, run.seed, run.val_bits_per_byte)
        for record in load_result(study, server.storage).records
        for run in record.runs
    ]


if __name__ == "__main__":
    main()
