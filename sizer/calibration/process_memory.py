"""Memory of this process as Linux reports it, for the workers that load a model."""

from __future__ import annotations

from pathlib import Path


def resident_bytes() -> dict[str, int] | None:
    """Return this process's share of memory (PSS), total and anonymous; None without such a report."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    sizes = {key: value.split() for key, _, value in (line.partition(":") for line in lines[1:])}
    try:
        return {
            name: int(sizes[key][0]) * 1024 for name, key in (("total", "Pss"), ("anonymous", "Pss_Anon"))
        }
    except (KeyError, IndexError, ValueError):
        return None
