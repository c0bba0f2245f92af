"""Which process a trial belongs to, and whether it still runs."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any]:
    """This process, so that another can tell whether it still runs."""
    return process(os.getpid())


def process(pid: int) -> dict[str, Any]:
    """A process of this machine, so that any can tell whether it still runs."""
    return {"host": socket.gethostname(), "pid": pid, "started": _process_start(pid)}


def is_here(owner: Mapping[str, Any]) -> bool:
    """Whether a process is one of this machine."""
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


def is_alive(owner: dict[str, Any] | None) -> bool:
    """Whether the process that `this_process` described still runs; nobody does not."""
    if owner is None:
        return False
    if owner["host"] != socket.gethostname():
        return True  # cannot be known from here: leave another machine's trial alone
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    if _process_start(os.getpid()) is None:  # a system that does not say when a process started
        return True
    return owner["started"] is not None and owner["started"] == _process_start(owner["pid"])
