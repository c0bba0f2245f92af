"""Which process a trial belongs to, and whether it still runs."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any]:
    """Describe this process, so that another can check whether it still runs."""
    return process(os.getpid())


def process(pid: int) -> dict[str, Any]:
    """Describe a process of this machine, so that any other can check whether it still runs."""
    return {"host": socket.gethostname(), "pid": pid, "started": _process_start(pid)}


def is_here(owner: Mapping[str, Any]) -> bool:
    """Return whether a process runs on this machine."""
    return bool(owner["host"] == socket.gethostname())


# What the kernel calls a process that has ended and whose parent has not asked how.
_ENDED = "Z"


def _process_start(pid: int) -> str | None:
    """Start time of a process in the kernel's ticks, so that a re-used number is not taken for it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        return None if fields[0] == _ENDED else fields[19]
    except (OSError, IndexError):
        return None


# Seconds after which a process of another machine that has written nothing counts as dead.
LEASE_S = 60.0


def is_alive(owner: dict[str, Any] | None, *, written_at_s: float | None = None) -> bool:
    """Return True if the owning process is still alive. None (no owner) counts as dead.

    Of a process under another host name only its last sign of life can be known, seconds since the epoch; the
    same machine may have had that name (a container, a requeued job).
    """
    if owner is None:
        return False
    if owner["host"] != socket.gethostname():
        return written_at_s is None or time.time() - written_at_s < LEASE_S
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    if _process_start(os.getpid()) is None:  # a system that does not record when a process started
        return True
    return owner["started"] is not None and owner["started"] == _process_start(owner["pid"])
