"""A PostgreSQL server of a test's own: made in a temporary folder, started, stopped and started again."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

_USER = "postgres"  # the server refuses to run as root; Debian's package makes this user


def programs() -> Path | None:
    """The folder of the server's programs, the newest there is; None without a server or a driver."""
    if importlib.util.find_spec("psycopg") is None:
        return None
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda p: int(p.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("pg_ctl")
    return Path(on_path).parent if on_path else None


class Server:
    """A server on a free port of this machine."""

    def __init__(self) -> None:
        there = programs()
        assert there is not None
        self._programs = there
        # not in pytest's folder, which only its owner may enter
        self._folder = Path(tempfile.mkdtemp(prefix="sizer-postgres-"))
        self._data = self._folder / "data"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        if os.geteuid() == 0:
            shutil.chown(self._folder, _USER)
        self._run("initdb", "--auth=trust", f"--username={_USER}", "--no-sync")
        self.start()

    @property
    def storage(self) -> str:
        """Address of a storage in it."""
        return f"postgresql+psycopg://{_USER}:s3cret@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, and come back when it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self._run("pg_ctl", "--wait", "--log", str(self._data / "log"), "-o", options, "start")

    def stop(self) -> None:
        """Stop it at once: whoever is connected is cut off."""
        self._run("pg_ctl", "--wait", "--mode=immediate", "stop")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: str) -> None:
        root = os.geteuid() == 0
        done = subprocess.run(
            [str(self._programs / program), "--pgdata", str(self._data), *arguments],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            user=_USER if root else None,
            extra_groups=[] if root else None,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, (program, done.stdout)
