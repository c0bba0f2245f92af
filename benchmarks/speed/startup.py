"""Time to start `sizer estimate` against `import typer`, in pairs: `benchmarks/speed/startup.py [PAIRS]`."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.test_startup import ESTIMATE, ratios

if __name__ == "__main__":
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    for extra in ([], ["--json"], ["--device", "raspberry-pi-5"], ["--help"]):
        with TemporaryDirectory() as compiled:
            found = sorted(ratios([*ESTIMATE, *extra], pairs, Path(compiled)))
        name = " ".join(extra) or "table"
        print(f"{name:24} min {found[0]:.2f}  median {median(found):.2f}  max {found[-1]:.2f}")
