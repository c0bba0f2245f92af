"""A Dask cluster of a test's own: a scheduler and workers as processes, as `sizer cluster` prints them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from distributed import Client

ROOT = Path(__file__).resolve().parents[1]


class DaskCluster:
    """A scheduler on a free port, and workers of one thread each without a process that restarts them."""

    def __init__(
        self, folder: Path, *, workers: int, port: int | None = None, preload: Path | None = None
    ) -> None:
        self._folder, self._preload = folder, preload
        if port is None:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
        self.port, self.address = port, f"tcp://127.0.0.1:{port}"
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(port))
        self.workers = [self.add_worker() for _ in range(workers)]
        self._wait(workers)

    def add_worker(self) -> subprocess.Popen[bytes]:
        """Start one more worker."""
        options = ["--nthreads", "1", "--no-nanny", "--memory-limit", "0", "--death-timeout", "60"]
        if self._preload is not None:  # a program that the worker runs first
            options += ["--preload", str(self._preload)]
        return self._start("worker", self.address, "--local-directory", str(self._folder), *options)

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{program}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{program}", *arguments, "--no-dashboard"],
                cwd=self._folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _wait(self, workers: int) -> None:
        end = time.monotonic() + 120
        while True:
            try:
                with Client(self.address, timeout=10, set_as_default=False) as client:
                    client.wait_for_workers(workers, timeout=120)
                return
            except (OSError, TimeoutError):
                assert time.monotonic() < end, (self._folder / "scheduler.log").read_text()

    def __enter__(self) -> DaskCluster:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self.workers, self.scheduler):
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()
