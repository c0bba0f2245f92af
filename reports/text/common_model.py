"""What one model for several devices gives up on each, in one line."""

from __future__ import annotations

from search.analysis.common_model import common_model
from search.store.results import SearchResult


def common_model_text(result: SearchResult) -> str:
    """Return the best model for all devices and what it lacks on each; empty for a study of one device."""
    found = common_model(result)
    if found is None:
        return ""
    parts = [
        f"on {choice.device} {choice.regret:.0%} below the best there (trial {choice.best})"
        if choice.best != found.trial
        else f"on {choice.device} the best"
        for choice in found.choices
    ]
    return f"one model for all devices: trial {found.trial}, {'; '.join(parts)}, in volume dominated"
