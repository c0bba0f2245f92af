"""Which process a trial belongs to, and whether it still runs."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any]:
    """This process, so that another can tell whether it still runs."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _process_start(os.getpid())}


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
    return owner["started"] is None or owner["started"] == _process_start(owner["pid"])
