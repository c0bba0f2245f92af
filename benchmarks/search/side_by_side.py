"""How long a search takes alone and beside another on the same cores, by how long OpenMP's threads spin.

    python benchmarks/search/side_by_side.py [--rounds 2]

Threads of one step wait for each other by turning in place. Beside another program they turn on cores that
it, and the thread they wait for, would need. `sizer` sets GOMP_SPINCOUNT (cli.py); here it is each in turn.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
# 300,000: what GNU's OpenMP does unless told otherwise
SPINS = ("300000", "10000", "1000", "100")


def seconds(together: int, spins: str) -> float:
    """Seconds until the last of so many searches, begun at once, has ended."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "GOMP_SPINCOUNT": spins, "SIZER_STORAGE": f"sqlite:///{folder}/sizer.db"}
        begun = time.perf_counter()
        searches = [
            subprocess.Popen(
                [
                    *(sys.executable, str(ROOT / "cli.py"), "search", "run", "--device", "raspberry-pi-5"),
                    *("--max-size", "1MB", "--trials", "1", "--steps", "300", "--study", f"search-{number}"),
                ],
                cwd=folder,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for number in range(together)
        ]
        for search in searches:
            if search.wait():
                raise SystemExit(f"a search ended with exit code {search.returncode}")
        return time.perf_counter() - begun


def main() -> None:
    """Measure in turns and print."""
    arguments = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=2)
    given = arguments.parse_args()
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(given.rounds):
        for spins in SPINS:
            for together in (1, 2):
                found.setdefault((spins, together), []).append(seconds(together, spins))
                print(spins, together, f"{found[spins, together][-1]:.1f} s", file=sys.stderr, flush=True)
    print("| GOMP_SPINCOUNT | one search, s | two at once, s |")
    print("|---:|---:|---:|")
    for spins in SPINS:
        print(f"| {spins} | {median(found[spins, 1]):.1f} | {median(found[spins, 2]):.1f} |")


if __name__ == "__main__":
    main()
