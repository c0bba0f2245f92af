"""How each cost of a study is put to people: titles, limits and ticks."""

from __future__ import annotations

from typing import NamedTuple

from search.config.objectives import Objective


class CostScale(NamedTuple):
    """How one cost is put to people."""

    title: str
    axis_title: str
    limit: str  # its key in a study's budget; empty: it has no such limit
    limit_name: str
    ticks: dict[str, str]


_BYTES = {"tickformat": "~s", "ticksuffix": "B"}
SCALES = {
    Objective.BYTES: CostScale(
        "Accuracy against file size", "deployed file size (bytes)", "max_size_bytes", "size budget", _BYTES
    ),
    Objective.MEMORY: CostScale(
        "Accuracy against memory",
        "memory while running (bytes)",
        "max_memory_bytes",
        "memory budget",
        _BYTES,
    ),
    Objective.DECODE: CostScale(
        "Accuracy against speed",
        "decode speed (tokens/s, higher is better)",
        "min_decode_tokens_per_s",
        "min speed",
        {"tickformat": "~s"},
    ),
    Objective.DOWNLOAD: CostScale("Accuracy against download", "first download (bytes)", "", "", _BYTES),
    Objective.TTFT: CostScale(
        "Accuracy against time to first token",
        "time to first token (s)",
        "",
        "",
        {"tickformat": "~s", "ticksuffix": "s"},
    ),
    Objective.ENERGY: CostScale(
        "Accuracy against energy",
        "energy per token (J)",
        "",
        "",
        {"tickformat": "~s", "ticksuffix": "J"},
    ),
}
