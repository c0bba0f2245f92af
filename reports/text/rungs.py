"""Rungs as texts: how many models reached each, which were promoted, and why."""

from __future__ import annotations

from collections.abc import Sequence

from reports.text.wording import NOT_KNOWN, shape_text
from search.analysis.rung_history import Rung
from search.store.results import SearchResult

RUNG_COLUMNS = ("rung", "steps", "models", "with a score", "promoted", "why")
OUTCOME_COLUMNS = ("trial", "shape", "rung", "steps", "bits per byte", "promoted", "why")


def rung_cells(history: Sequence[Rung]) -> tuple[tuple[str, ...], ...]:
    """Return a row for each rung, in the order of RUNG_COLUMNS."""
    return tuple(
        (
            str(rung.number + 1),
            f"{rung.steps:,}",
            str(len(rung.outcomes)),
            str(rung.scored),
            str(len(rung.promoted_trials)),
            ("so far " if rung.open else "")
            + "; ".join(f"{why}: {_trials(numbers)}" for why, numbers in reasons(rung).items()),
        )
        for rung in history
    )


def rung_lines(history: Sequence[Rung]) -> tuple[str, ...]:
    """Return lines for the terminal: each rung, then a line for each reason for promotion."""
    lines = []
    for rung in history:
        verb = "promoted so far" if rung.open else "promoted"
        on = f", {len(rung.promoted_trials)} {verb}" if rung.promoted_trials else ""
        models = "1 model" if len(rung.outcomes) == 1 else f"{len(rung.outcomes)} models"
        lines.append(f"{f'rung {rung.number + 1}':<18} {rung.steps:,} steps: {models}{on}")
        lines += [f"{'':<18}   {why}: {_trials(numbers)}" for why, numbers in reasons(rung).items()]
    return tuple(lines)


def reasons(rung: Rung) -> dict[str, tuple[int, ...]]:
    """Return promoted trials of a rung by the reason; if none was promoted, all trials by their outcome."""
    chosen = [o for o in rung.outcomes if o.promoted] or list(rung.outcomes)
    whys = dict.fromkeys(outcome.why for outcome in chosen)
    return {why: tuple(o.trial for o in chosen if o.why == why) for why in whys}


def outcome_cells(result: SearchResult, history: Sequence[Rung]) -> tuple[tuple[str, ...], ...]:
    """Return a row for each model at each rung, in the order of OUTCOME_COLUMNS."""
    shapes = {r.number: shape_text(r.candidate.architecture) for r in result.records}
    return tuple(
        (
            str(outcome.trial),
            shapes[outcome.trial],
            str(rung.number + 1),
            f"{rung.steps:,}",
            NOT_KNOWN if outcome.val_bits_per_byte is None else f"{outcome.val_bits_per_byte:.4f}",
            "yes" if outcome.promoted else "no",
            outcome.why,
        )
        for rung in history
        for outcome in rung.outcomes
    )


def _trials(numbers: Sequence[int]) -> str:
    return f"trial {numbers[0]}" if len(numbers) == 1 else f"trials {', '.join(map(str, numbers))}"
