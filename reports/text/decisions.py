"""Decisions of a study as lines, as a table and as a JSON document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.text.text_table import Column, TextTable
from sizer.errors import SizerError
from sizer.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from search.analysis.decisions.decisions import Decision, Decisions
    from search.store.results import SearchResult

SCHEMA = "sizer.decisions/1"
COLUMNS = ("decision", "files", "probability", "law alone", "runs alone", "basis", "to settle")

# With fewer trained models the first lines of a study name no decisions.
LEAST_MODELS = 4
# Decisions of each kind that the first lines of a frontier, a report or a page name.
_FIRST = 4
# Smaller changes of a probability are not named.
_LEAST_MOVED = 0.02


def decisions_document(found: Decisions) -> dict[str, Any]:
    """Return the decisions of a study in the layout of schema sizer.decisions/1."""
    return {
        "schema": SCHEMA,
        "runs": found.runs,
        "seed_sd": found.seed_sd,
        "target_tokens": found.target_tokens,
        "decisions": [
            {
                "question": d.question,
                "choice": d.choice,
                "probability": d.probability,
                "settled": d.settled,
                "basis": d.basis.value,
                "cost_to_settle_s": d.cost_to_settle_s,
                "axis": d.axis,
                "other": d.other,
                "smallest_bytes": d.smallest_bytes,
                "largest_bytes": d.largest_bytes,
                "prior_probability": d.prior_probability,
                "runs_probability": d.runs_probability,
            }
            for d in found.decisions
        ],
    }


def decision_lines(found: Decisions) -> tuple[str, ...]:
    """Return a line with the counts, then the surest settled decisions and the least sure of the others."""
    settled, open_ones = found.settled, [d for d in found.decisions if not d.settled]
    lines = [
        f"{len(settled)} of {len(found.decisions)} decisions settled, at a probability of 0.95 or more, "
        f"by {found.runs} runs"
    ]
    lines += [f"  {_text(d)}" for d in _varied(settled)]
    by_cost = sorted(open_ones, key=lambda d: (d.cost_to_settle_s is None, d.cost_to_settle_s or 0.0))
    return (*lines, *(f"  {_text(d)}" for d in _varied(by_cost)))


def change_lines(before: Decisions, after: Decisions) -> tuple[str, ...]:
    """Return what more runs changed: a line with the counts, then the probabilities that moved most."""
    known = {_key(d): d for d in before.decisions}
    moved = []
    for d in after.decisions:
        earlier = known.get(_key(d))
        if earlier is not None:
            was = earlier.probability if earlier.choice == d.choice else 1 - earlier.probability
            moved.append((abs(d.probability - was), was, d))
    moved = sorted((m for m in moved if m[0] >= _LEAST_MOVED), key=lambda m: -m[0])
    return (
        f"{after.runs - before.runs} more runs; decisions settled: {len(before.settled)} before, "
        f"{len(after.settled)} now",
        *(
            f"  {d.label}: {d.choice} over {d.other}, {_files(d)}: {_chance(was)} before, "
            f"{_chance(d.probability)} now"
            for _, was, d in moved[:_FIRST]
        ),
    )


def _key(d: Decision) -> tuple[object, ...]:
    return (d.axis, frozenset((d.choice, d.other)), d.smallest_bytes, d.largest_bytes)


def decisions_of(result: SearchResult) -> Decisions | None:
    """Return the decisions of a study; None before enough models are trained to say more than the law.

    None as well for a study from elsewhere that names a format or a runtime that is not known here.
    """
    if len(result.trained) < LEAST_MODELS or result.config is None:
        return None
    from search.analysis.decisions.decisions import decide  # loads more than a page without decisions needs

    try:
        return decide(result)
    except SizerError:
        return None


def _varied(found: tuple[Decision, ...] | list[Decision]) -> list[Decision]:
    """Return a few decisions, of each axis the first one before any second."""
    seen: dict[str, int] = {}
    places = []
    for place, one in enumerate(found):
        places.append((seen.get(one.axis, 0), place))
        seen[one.axis] = seen.get(one.axis, 0) + 1
    return [found[place] for _, place in sorted(places)[:_FIRST]]


def _text(d: Decision) -> str:
    if d.settled:
        return f"{d.label}: {d.choice} over {d.other}, {_files(d)}: probability {_chance(d.probability)}"
    would = (
        "runs of this length do not settle it"
        if d.cost_to_settle_s is None
        else f"about {format_seconds(d.cost_to_settle_s)} of more seeds would settle it"
    )
    published = f"by published models alone {_chance(d.prior_probability)}"
    if not d.known_to_law:
        published = "no published models"
    return (
        f"{d.label}: {d.choice} or {d.other}, {_files(d)}: not settled "
        f"({d.choice}: {_chance(d.probability)}, {published}); {would}"
    )


def _chance(probability: float) -> str:
    """Return a probability in two digits; nothing that was estimated is certain."""
    return "> 0.99" if probability > 0.99 else "< 0.01" if probability < 0.01 else f"{probability:.2f}"


def _files(d: Decision) -> str:
    """Return the sizes of files that a decision is about."""
    least, most = format_bytes(d.smallest_bytes), format_bytes(d.largest_bytes)
    return f"files of {most}" if least == most else f"files of {least} to {most}"


def decision_cells(found: Decisions) -> tuple[tuple[str, ...], ...]:
    """Return one row of text a decision, in the order of COLUMNS."""
    return tuple(
        (
            f"{d.label}: {d.choice} over {d.other}",
            _files(d).removeprefix("files of "),
            _chance(d.probability) + (" settled" if d.settled else ""),
            _chance(d.prior_probability) if d.known_to_law else "-",
            _chance(d.runs_probability),
            d.basis.value,
            "-" if d.cost_to_settle_s is None else format_seconds(d.cost_to_settle_s),
        )
        for d in found.decisions
    )


def decisions_table(found: Decisions, study: str) -> TextTable:
    """Return the decisions as a table, settled ones first; a narrow terminal leaves columns out."""
    dropped = {"basis": 1, "runs alone": 2, "law alone": 3}
    return TextTable(
        title=f"Decisions of study {study}",
        columns=tuple(
            Column(
                name=name,
                right=name not in ("decision", "basis"),
                is_key=name == "decision",
                drop=dropped.get(name, 0),
            )
            for name in COLUMNS
        ),
        rows=decision_cells(found),
        caption=noise_line(found),
    )


def noise_line(found: Decisions) -> str:
    """Return what one run is worth and what settled means: noise of seeds and scoring, measured coverage."""
    from search.analysis.decisions.coverage import coverage_from  # with numpy, which other pages do without
    from search.analysis.decisions.value import SETTLED

    replayed = coverage_from(SETTLED)
    return (
        f"one run differs by its seed by {100 * found.seed_sd:.1f} % of the loss; scoring adds "
        f"±{found.paired_sd:.3f} bits/byte to a difference (paired, chunk by chunk); settled: {SETTLED:g} or "
        f"more, right in {replayed.right:.0%} of {replayed.decisions:,} replayed decisions"
    )
