"""Kill a worker, or the scheduler, at random moments of searches on a Dask cluster, and compare the models.

    python benchmarks/cluster/kills.py [--kills 10] [--seed 0] [--scheduler]

One search is trained with `--workers 2` on this machine. Then as many searches as kills are trained on a
scheduler and two workers, one of which is killed -9 at a random moment and not replaced; each must end with
the same runs, to the bit. With --scheduler the scheduler is killed last, and the search resumed on another.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.cluster.measured import add  # noqa: E402
from benchmarks.cluster.small_search import RUN, Scores, scores, search_folder, start_search  # noqa: E402
from tests.dask_cluster import DaskCluster  # noqa: E402  tests and benchmarks start one the same way
from tests.search_runs import finished_runs  # noqa: E402

STEPS, WORKERS = 600, 2


def main() -> None:
    """Run the kills and print what became of each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scheduler", action="store_true")
    given = parser.parse_args()
    moments = random.Random(given.seed)
    with tempfile.TemporaryDirectory(prefix="sizer-kills-") as folder:
        began = time.monotonic()
        local = _ended(_folder(Path(folder, "local")))
        print(f"local, --workers 2: {len(local)} runs in {time.monotonic() - began:.0f} s", flush=True)
        same = 0
        for number in range(given.kills):
            with DaskCluster(_folder(Path(folder, f"kill-{number}")), workers=2) as dask:
                after = moments.randint(0, len(local) - 1)
                work = _folder(Path(folder, f"kill-{number}"))
                running = _start(work, dask.address)
                when = _kill_after(running, work, after, moments.uniform(0.5, 4.0), dask.workers[0])
                code = running.wait(timeout=1800)
                runs = scores(work)
                same += code == 0 and runs == local
                add("kills", victim="worker", killed=when, exit=code, runs=len(runs), same=runs == local)
        print(f"{same} of {given.kills} searches ended with the runs of the local one", flush=True)
        if not given.scheduler:
            return
        work = _folder(Path(folder, "scheduler"))
        with DaskCluster(work, workers=2) as dask:
            running = _start(work, dask.address)
            when = _kill_after(running, work, len(local) // 2, 1.0, dask.scheduler)
            code = running.wait(timeout=1800)
            port = dask.port
        error = (work / "log.txt").read_text().strip().splitlines()[-1]
        with DaskCluster(work, workers=2, port=port) as dask:
            resumed = _start(work, dask.address, "resume", "s").wait(timeout=1800)
        same_runs = resumed == 0 and scores(work) == local
        add("kills", victim="scheduler", killed=when, exit=code, error=error, resumed=resumed, same=same_runs)


def _folder(path: Path) -> Path:
    return search_folder(path, steps=STEPS, workers=WORKERS)


def _start(folder: Path, cluster: str | None, *command: str) -> subprocess.Popen[bytes]:
    where = () if cluster is None else ("--cluster", cluster)
    return start_search(folder, *(command or (*RUN, "s")), *where)


def _ended(folder: Path) -> Scores:
    code = _start(folder, None).wait(timeout=1800)
    assert code == 0, (folder / "log.txt").read_text()
    return scores(folder)


def _kill_after(
    running: subprocess.Popen[bytes],
    folder: Path,
    runs: int,
    seconds: float,
    victim: subprocess.Popen[bytes],
) -> str:
    """Kill a process some seconds after a number of runs have ended; return when that was."""
    while running.poll() is None and len(finished_runs(folder)) < runs:
        time.sleep(0.1)
    time.sleep(seconds)
    if running.poll() is not None:
        return "after the search had ended"
    victim.send_signal(signal.SIGKILL)
    return f"{seconds:.1f} s after {len(finished_runs(folder))} runs had ended"


if __name__ == "__main__":
    main()
