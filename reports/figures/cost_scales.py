"""How each cost of a study is put to people: titles, limits and ticks."""

from __future__ import annotations

from typing import Any, NamedTuple

from reports.figures.axes import byte_ticks
from search.config.objectives import Objective


class CostScale(NamedTuple):
    """How one cost is put to people."""

    title: str
    axis_title: str
    limit: str  # its key in a study's budget; empty: it has no such limit
    limit_name: str
    ticks: dict[str, str]  # of plotly; empty for bytes


SCALES = {
    Objective.BYTES: CostScale(
        "Bits per byte against file size", "deployed file size (bytes)", "max_size_bytes", "size budget", {}
    ),
    Objective.MEMORY: CostScale(
        "Bits per byte against memory",
        "memory while running (bytes)",
        "max_memory_bytes",
        "memory budget",
        {},
    ),
    Objective.DECODE: CostScale(
        "Bits per byte against speed",
        "decode speed (tokens/s, higher is better)",
        "min_decode_tokens_per_s",
        "min speed",
        {"tickformat": "~s"},
    ),
    Objective.DOWNLOAD: CostScale("Bits per byte against download", "first download (bytes)", "", "", {}),
    Objective.TTFT: CostScale(
        "Bits per byte against time to first token",
        "time to first token (s)",
        "",
        "",
        {"tickformat": "~s", "ticksuffix": "s"},
    ),
    Objective.ENERGY: CostScale(
        "Bits per byte against energy",
        "energy per token (J)",
        "",
        "",
        {"tickformat": "~s", "ticksuffix": "J"},
    ),
}


def cost_ticks(cost: Objective, low: float, high: float) -> dict[str, Any]:
    """Return the ticks of a cost's axis with these ends."""
    if cost in (Objective.BYTES, Objective.DOWNLOAD, Objective.MEMORY):
        # few and level: more would lie on one another on a phone
        ticks = byte_ticks(low, high, is_binary=cost is Objective.MEMORY, intervals=3)
        return {**ticks, "tickangle": 0}
    return dict(SCALES[cost].ticks)
