"""Time and size of `pip install .` into fresh environments: `python benchmarks/speed/install.py [TIMES]`.

The first installation fills pip's cache and is not counted; what is tracked is installed, from a copy.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

ROOT = Path(__file__).resolve().parents[2]


def installed(folder: Path, source: Path) -> tuple[float, int]:
    """Return the seconds of an installation and the bytes that it adds to a fresh environment."""
    venv.create(folder, with_pip=True)
    before = _bytes_in(folder)
    started = perf_counter()
    command = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*command, "install", str(source)], check=True)
    seconds = perf_counter() - started
    subprocess.run([str(folder / "bin" / "sizer"), "--help"], check=True, stdout=subprocess.DEVNULL)
    return seconds, _bytes_in(folder) - before


def _bytes_in(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with TemporaryDirectory() as temporary:
        source = Path(temporary) / "source"
        source.mkdir()
        tracked = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True)
        subprocess.run(["tar", "-x", "-C", str(source)], input=tracked.stdout, check=True)
        for number in range(times + 1):
            seconds, size = installed(Path(temporary) / f"fresh-{number}", source)
            label = "with an unknown cache" if number == 0 else "from a warm cache"
            print(f"{seconds:5.1f} s  {size / 1e6:5.1f} MB  {label}", flush=True)
