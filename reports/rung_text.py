"""Rungs as texts: how many models came to each, who went on and why; the same in status and report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports.wording import NOT_KNOWN, shape_text
from search.store.results import SearchResult
from search.trust.rung_history import Rung

RUNG_COLUMNS = ("rung", "steps", "models", "with a score", "went on", "why")
OUTCOME_COLUMNS = ("trial", "shape", "rung", "steps", "bits per byte", "goes on", "why")


def rung_cells(history: Sequence[Rung]) -> tuple[tuple[str, ...], ...]:
    """A row for each rung, in the order of RUNG_COLUMNS."""
    return tuple(
        (
            str(rung.number + 1),
            f"{rung.steps:,}",
            str(len(rung.outcomes)),
            str(rung.scored),
            str(len(rung.went_on)),
            ("by now " if rung.open else "")
            + "; ".join(f"{why}: {_trials(numbers)}" for why, numbers in reasons(rung).items()),
        )
        for rung in history
    )


def rung_lines(history: Sequence[Rung]) -> tuple[str, ...]:
    """Lines for the terminal: each rung, then a line for each reason to go on from it."""
    lines = []
    for rung in history:
        verb = "would go on by now" if rung.open else "went on"
        on = f", {len(rung.went_on)} {verb}" if rung.went_on else ""
        models = "1 model" if len(rung.outcomes) == 1 else f"{len(rung.outcomes)} models"
        lines.append(f"{f'rung {rung.number + 1}':<18} {rung.steps:,} steps: {models}{on}")
        lines += [f"{'':<18}   {why}: {_trials(numbers)}" for why, numbers in reasons(rung).items()]
    return tuple(lines)


def reasons(rung: Rung) -> dict[str, tuple[int, ...]]:
    """Trials that went on from a rung, by why they did; where none did, by what became of them."""
    chosen = [o for o in rung.outcomes if o.goes_on] or list(rung.outcomes)
    whys = dict.fromkeys(outcome.why for outcome in chosen)
    return {why: tuple(o.trial for o in chosen if o.why == why) for why in whys}


def rung_document(history: Sequence[Rung]) -> list[dict[str, Any]]:
    """Rungs as plain JSON values."""
    return [
        {
            "rung": rung.number,
            "steps": rung.steps,
            "models": len(rung.outcomes),
            "scored": rung.scored,
            "open": rung.open,
            "went_on": list(rung.went_on),
            "reasons": {why: list(numbers) for why, numbers in reasons(rung).items()},
        }
        for rung in history
    ]


def outcome_cells(result: SearchResult, history: Sequence[Rung]) -> tuple[tuple[str, ...], ...]:
    """A row for each model at each rung, in the order of OUTCOME_COLUMNS."""
    shapes = {r.number: shape_text(r.candidate.architecture) for r in result.records}
    return tuple(
        (
            str(outcome.trial),
            shapes[outcome.trial],
            str(rung.number + 1),
            f"{rung.steps:,}",
            NOT_KNOWN if outcome.val_bits_per_byte is None else f"{outcome.val_bits_per_byte:.4f}",
            "yes" if outcome.goes_on else "no",
            outcome.why,
        )
        for rung in history
        for outcome in rung.outcomes
    )


def _trials(numbers: Sequence[int]) -> str:
    return f"trial {numbers[0]}" if len(numbers) == 1 else f"trials {', '.join(map(str, numbers))}"
