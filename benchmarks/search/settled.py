"""Count the decisions that searches settle after so many models; writes docs/settled.md.

python benchmarks/search/settled.py
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from search.analysis.decisions.decisions import Decision, decide
from search.config.axes import AXES
from search.store.results import SearchResult
from search.store.study import load_result

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "settled.md"
STUDIES = ("guided-0", "random-0")  # of docs/studies.db
MODELS = (8, 12, 16, 20, 27)
HALF_HOURS = ("pi5-0", "pi5-1", "pi5-2")  # of docs/half_hours.db

_HEAD = """\
# How many decisions a search settles

Made by `python benchmarks/search/settled.py`; not to be edited.

Two searches of `docs/studies.db` (1 MB on a Raspberry Pi 5, rungs of 150, 450 and 1,350 steps;
`random-0` draws its models at random), cut off after their first models. *Minutes*: training and
scoring as the studies recorded it, on two cores. Their runs are shorter than the product's own; the
probabilities allow for that. Decisions are counted as `sizer search decisions` lists them: an option
that is better than nine others makes nine.

"""
_COLUMNS = """\
| study | models | runs | minutes | settled | of | settled, by axis | open, by axis |
|---|---|---|---|---|---|---|---|
"""
_HALF_HOURS = """
## Half an hour at the product's defaults

Searches of `docs/half_hours.db`: what `sizer search run --device raspberry-pi-5 --max-size 1MB --minutes 30
--workers 2` chose on two cores, which is `--trials 15 --steps 1000`, with seeds 0, 1 and 2. *Minutes* are
training and scoring of both workers together; other programs ran beside the first two.

"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledCount:
    """Decisions of the first models of a study."""

    study: str
    models: int
    runs: int
    minutes: float
    decisions: tuple[Decision, ...]

    @property
    def settled(self) -> tuple[Decision, ...]:
        """Those at 0.95 or more."""
        return tuple(d for d in self.decisions if d.settled)


@cache
def _study(name: str) -> SearchResult:
    storage = "half_hours.db" if name in HALF_HOURS else "studies.db"
    return load_result(name, f"sqlite:///{ROOT / 'docs' / storage}")


def count_settled(study: str, models: int | None = None) -> SettledCount:
    """Return the decisions of a study as if it had ended after its first models, with all their runs."""
    whole = _study(study)
    kept = {record.number for record in whole.trained[:models]}
    result = replace(whole, records=tuple(r for r in whole.records if r.number in kept))
    found = decide(result)
    seconds = sum(run.wall_s for record in result.trained for run in record.runs)
    return SettledCount(
        study=study, models=len(kept), runs=found.runs, minutes=seconds / 60, decisions=found.decisions
    )


def row(found: SettledCount) -> str:
    """Return a line of the table."""
    still_open = [d for d in found.decisions if not d.settled]
    return (
        f"| {found.study} | {found.models} | {found.runs} | {found.minutes:.1f} | {len(found.settled)} | "
        f"{len(found.decisions)} | {_by_axis(found.settled)} | {_by_axis(still_open)} |"
    )


def _by_axis(decisions: Iterable[Decision]) -> str:
    counts = Counter(d.axis for d in decisions)
    return ", ".join(f"{AXES[axis].label} {counts[axis]}" for axis in AXES if axis in counts)


def _settled_choices(every: Sequence[SettledCount]) -> dict[tuple[str, frozenset[str]], set[str]]:
    """Return what was chosen of each pair of options that some row settles."""
    choices: dict[tuple[str, frozenset[str]], set[str]] = {}
    for found in every:
        for d in found.settled:
            choices.setdefault((d.axis, frozenset((d.choice, d.other))), set()).add(d.choice)
    return choices


def opened_again(every: Sequence[SettledCount], study: str) -> int:
    """Return how many pairs of options a study settles at some cut, and not with all its models."""
    rows = [found for found in every if found.study == study]
    return len(_settled_choices(rows).keys() - _settled_choices(rows[-1:]).keys())


def same_question(one: Decision, other: Decision) -> bool:
    """Return whether two decisions are about the same options in files of sizes that overlap."""
    sizes = one.smallest_bytes <= other.largest_bytes and other.smallest_bytes <= one.largest_bytes
    return one.axis == other.axis and {one.choice, one.other} == {other.choice, other.other} and sizes


def agreement(every: Sequence[SettledCount]) -> tuple[int, int, int]:
    """Return how many settled decisions there are, and answers to them in other studies: alike, otherwise."""
    answers = [
        answer.choice == mine.choice
        for found in every
        for mine in found.settled
        for other in every
        if other is not found
        for answer in other.decisions
        if same_question(mine, answer)
    ]
    return sum(len(found.settled) for found in every), sum(answers), len(answers) - sum(answers)


def half_hours(every: Sequence[SettledCount]) -> str:
    """Return the part of docs/settled.md about searches of one budget with other seeds."""
    settled, alike, otherwise = agreement(every)
    last = (
        f"Of {settled} settled decisions, the same question is asked {alike + otherwise} times in the other "
        f"studies: {alike} times with the same choice, {otherwise} times with the other one, settled or not."
    )
    return "\n".join([_HALF_HOURS + _COLUMNS + "\n".join(map(row, every)), "", last]) + "\n"


def page(every: Sequence[SettledCount]) -> str:
    """Return the part of docs/settled.md about searches that are cut off."""
    choices = _settled_choices(every)
    both_ways = sum(len(chosen) > 1 for chosen in choices.values())
    never = [
        AXES[axis].label
        for axis in AXES
        if any(d.axis == axis for found in every for d in found.decisions)
        and not any(d.axis == axis for found in every for d in found.settled)
    ]
    lines = [
        *map(row, every),
        "",
        f"{len(choices)} pairs of options are settled in some row, {both_ways} of them in both directions. "
        "With more runs a settled one can open again: "
        + ", ".join(f"{opened_again(every, study)} of {study}" for study in STUDIES)
        + f" by its last model. Never settled: {', '.join(never)}; `sizer search decisions` shows for each "
        "what more seeds would cost, or that runs of this length do not settle it.",
    ]
    return _HEAD + _COLUMNS + "\n".join(lines) + "\n"


def main() -> None:
    """Write the page."""
    every = [count_settled(study, models) for study in STUDIES for models in MODELS]
    whole = [count_settled(study) for study in HALF_HOURS]
    PAGE.write_text(page(every) + half_hours(whole), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
