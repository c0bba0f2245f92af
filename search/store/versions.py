"""Versions of what decides a study's numbers: Python, torch, Optuna and this package, with its commit."""

from __future__ import annotations

import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import sizer

_GIT_LIMIT_S = 5.0


def versions() -> dict[str, str]:
    """Return names and versions of packages without loading them; missing packages are left out."""
    commit = commit_of(Path(sizer.__file__).parents[1])
    found = {"sizer": f"{sizer.__version__}{f', commit {commit}' if commit else ''}"}
    found["python"] = platform.python_version()
    for name in ("torch", "optuna"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def commit_of(root: Path) -> str | None:
    """Return the commit checked out at `root` and whether files differ from it; None without git."""
    if not (root / ".git").exists():  # an installed package may lie inside somebody else's checkout
        return None
    hash_, changes = (
        _git(root, "rev-parse", "--short=12", "HEAD"),
        _git(root, "status", "--porcelain", "-uno"),
    )
    if hash_ is None:
        return None
    return f"{hash_} with changes" if changes else hash_


def _git(root: Path, *arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_LIMIT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
