"""Kill a search and resume it under another host name, again and again, and compare the runs (Linux, root).

    python benchmarks/cluster/host_names.py [--kills 10] [--seed 0]

Each process runs in a separate UTS namespace with a new host name, as in a container or a requeued job.
After the first kill the state that `sizer search status` prints is watched from this host: it must be killed
within 90 s. In the end the runs must be those of a search that nobody killed, to the bit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.cluster.measured import add  # noqa: E402
from benchmarks.cluster.small_search import RUN, scores, search_folder, start_search  # noqa: E402
from tests.search_runs import finished_runs  # noqa: E402

STEPS = 800
STATUS_LIMIT_S = 90.0


def main() -> None:
    """Run the kills and print what became of them."""
    parser = argparse.ArgumentParser(description="Kill and resume under new host names.")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    moments = random.Random(given.seed)
    with tempfile.TemporaryDirectory(prefix="sizer-hosts-") as folder:
        straight, broken = (search_folder(Path(folder, name), steps=STEPS) for name in ("straight", "broken"))
        assert _start(straight, "node0", *RUN, "s").wait() == 0
        print(f"undisturbed: {len(finished_runs(straight))} runs", flush=True)
        kills, seconds = 0, 0.0
        command: tuple[str, ...] = (*RUN, "s")
        while kills < given.kills:
            before = len(finished_runs(broken))
            running = _start(broken, f"node{kills + 1}", *command)
            wanted = before + moments.randint(0, 1)
            while running.poll() is None:
                if _is_training(broken) and len(finished_runs(broken)) >= wanted:
                    break
                time.sleep(0.1)
            time.sleep(moments.uniform(0.0, 2.0))
            if running.poll() is not None:
                break
            running.kill()
            running.wait()
            if kills == 0:
                seconds = _seconds_until_killed(broken)
                print(f"status says killed after {seconds:.0f} s", flush=True)
            kills += 1
            command = ("resume", "s")
            print(f"kill {kills} on node{kills}: {len(finished_runs(broken))} runs had ended", flush=True)
        code = _start(broken, "node99", "resume", "s").wait()
        same = scores(broken) == scores(straight)
        add("host_names", kills=kills, exit=code, same=same and code == 0, seconds_until_killed=seconds)


def _start(folder: Path, host: str, *arguments: str) -> subprocess.Popen[bytes]:
    named = ("unshare", "--uts", "sh", "-c", f'hostname {host}; exec "$@"', "sh")
    return start_search(folder, *arguments, before=named)


def _is_training(folder: Path) -> bool:
    try:
        live = json.loads((folder / "runs" / "s" / "live.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return time.time() - live["written_at_s"] < 3 and any(run["step"] for run in live["in_training"])


def _seconds_until_killed(folder: Path) -> float:
    began = time.monotonic()
    command = [sys.executable, str(ROOT / "cli.py"), "search", "status", "s", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    while time.monotonic() - began < STATUS_LIMIT_S:
        printed = subprocess.check_output(command, cwd=folder, env=environment)
        if json.loads(printed)["state"] == "killed":
            break
        time.sleep(2)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
