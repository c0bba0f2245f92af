"""Time to start `sizer estimate` against `import typer`, in pairs: `python benchmarks/startup.py [PAIRS]`."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.test_startup import ESTIMATE, ratios

if __name__ == "__main__":
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    for extra in ([], ["--json"], ["--device", "raspberry-pi-5"], ["--help"]):
        found = sorted(ratios([*ESTIMATE, *extra], pairs))
        name = " ".join(extra) or "table"
        print(f"{name:24} min {found[0]:.2f}  median {median(found):.2f}  max {found[-1]:.2f}")
