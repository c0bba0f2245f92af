"""Run a search under SLURM with two nodes on this machine, kill one, and compare the runs (Linux, root).

    python benchmarks/cluster/slurm.py [--keep FILE]

Needs Debian's packages slurmctld, slurmd, slurm-client and munge; the script starts all of them for itself,
in a temporary folder and on free ports. `--keep` writes what SLURM and the search printed to a file.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.cluster.measured import add  # noqa: E402
from benchmarks.cluster.small_search import RUN, scores, search_folder, start_search  # noqa: E402
from tests.search_runs import finished_runs  # noqa: E402

STEPS, WORKERS = 600, 2
NODES = ("n1", "n2")
_PATIENCE_S = 60.0
_CONF = """
ClusterName=sizer
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SlurmdTimeout=30
ReturnToService=2
MpiDefault=none
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


class Slurm:
    """A controller and two nodes, as processes of this script."""

    def __init__(self, folder: Path) -> None:
        for name in ("state", *(f"spool.{node}" for node in NODES)):
            (folder / name).mkdir()
        self.conf = folder / "slurm.conf"
        port = _free_port()
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={_free_port()} "
            "CPUs=1 RealMemory=8000 State=UNKNOWN"
            for node in NODES
        )
        text = _CONF.format(host=socket.gethostname(), port=port, folder=folder, nodes=nodes)
        self.conf.write_text(text, encoding="utf-8")
        self.environment = {"SLURM_CONF": str(self.conf)}
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        self._started = [
            self._start(
                "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket",
                f"--pid-file={folder}/munge.pid", f"--log-file={folder}/munge.log",
                f"--seed-file={folder}/munge.seed",
            )
        ]  # fmt: skip
        _wait_for(lambda: (folder / "munge.socket").exists())
        self._started.append(self._start("slurmctld", "-D", "-f", str(self.conf)))
        self.nodes = {node: self._start("slurmd", "-D", "-N", node, "-f", str(self.conf)) for node in NODES}
        _wait_for(lambda: self.ask("sinfo", "--noheader", "--format=%D %t").strip() == f"{len(NODES)} idle")

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def ask(self, *command: str) -> str:
        """Return what one of SLURM's commands prints."""
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def kill_node(self, node: str) -> int:
        """End a node and every process of its jobs at once; return how many processes that were."""
        self.nodes[node].kill()
        found = [pid for pid, name in _on_nodes() if name == node]
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    def close(self) -> None:
        """End all of it."""
        for pid, _ in _on_nodes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in (*self.nodes.values(), *reversed(self._started)):
            if process.poll() is None:
                process.kill()
            process.wait()


def _on_nodes() -> Iterator[tuple[int, str]]:
    """Yield the processes of jobs of the nodes of this script, with the node's name."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            environment = (folder / "environ").read_bytes().split(b"\0")
            for node in NODES:
                if f"SLURMD_NODENAME={node}".encode() in environment:
                    yield int(folder.name), node


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(done: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not done():
        assert time.monotonic() < end, "SLURM did not start"
        time.sleep(0.2)


@contextmanager
def _slurm() -> Iterator[tuple[Slurm, Path]]:
    with tempfile.TemporaryDirectory(prefix="sizer-slurm-") as name:
        slurm = Slurm(Path(name))
        try:
            yield slurm, Path(name)
        finally:
            slurm.close()


def missing() -> list[str]:
    """Return the programs of SLURM that this machine lacks."""
    return [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name) is None]


def search_with_a_node_killed(folder: Path, *, steps: int) -> tuple[dict[str, Any], str]:
    """Run a search locally and under SLURM with a node killed; return the outcome and what was printed."""
    local, work = (search_folder(folder / name, steps=steps, workers=WORKERS) for name in ("local", "slurm"))
    assert start_search(local, *RUN, "s").wait() == 0, (local / "log.txt").read_text()
    said = []
    with _slurm() as (slurm, _):
        began = time.monotonic()
        said.append(slurm.ask("sinfo", "-N", "-l"))
        running = start_search(
            work, *RUN, "s", "--cluster", "slurm:walltime=01:00:00,memory=4GB,interface=lo",
            environment=slurm.environment,
        )  # fmt: skip
        while running.poll() is None and len(finished_runs(work)) < 3:
            time.sleep(0.2)
        said.append(slurm.ask("squeue", "-l"))
        before, killed = len(finished_runs(work)), slurm.kill_node("n1")
        code = running.wait(timeout=1800)
        wall_s = time.monotonic() - began
        said += [slurm.ask("squeue", "-l"), slurm.ask("sinfo", "-N", "-l")]
        version = slurm.ask("sinfo", "--version").split()[-1]
    said.append((work / "log.txt").read_text(encoding="utf-8"))
    found = {
        "version": version, "killed": "node n1", "processes": killed, "runs_before": before, "exit": code,
        "same": scores(work) == scores(local), "runs": len(scores(work)), "wall_s": round(wall_s, 1),
    }  # fmt: skip
    return found, "\n".join(said)


def main() -> None:
    """Run a search locally and under SLURM with a node killed, and print both."""
    parser = argparse.ArgumentParser(description="Kill a node of SLURM under a search.")
    parser.add_argument("--keep", type=Path, default=None)
    given = parser.parse_args()
    if missing():
        sys.exit(f"needs {', '.join(missing())}: Debian's packages slurmctld, slurmd, slurm-client and munge")
    with tempfile.TemporaryDirectory(prefix="sizer-slurm-run-") as name:
        found, said = search_with_a_node_killed(Path(name), steps=STEPS)
    add("slurm", **found)
    print(said)
    if given.keep is not None:
        given.keep.write_text(said, encoding="utf-8")


if __name__ == "__main__":
    main()
