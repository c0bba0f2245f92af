"""Replay searches on the reference table: are decisions at a probability right that often, and what helps?

    python benchmarks/reference/calibration.py [--seeds 3] [--studies 30] [--out docs/decisions.md]

A study is some of the table's models, all trained to the first length and half of them to the last, with one
seed. Its decisions are about all pairs of models of one file size. They are right if the mean of the seeds
that the study has not seen orders the pair so.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from benchmarks.reference.models import FORMATS
from benchmarks.reference.replay import (
    AVERAGE_ORDERS_ALIKE,
    BUDGETS,
    LEVELS,
    SAMPLERS,
    SETTLE_MINUTES,
    WANTED,
    Case,
    averaged_tau,
    both,
    cases_after,
    cases_of,
    coverage,
    prior_alone,
    regret,
    runs_alone,
    skill,
)
from benchmarks.reference.table import Table, read_table

DATA = Path(__file__).resolve().parents[2] / "search" / "data" / "decision_coverage.toml"


def main() -> None:
    """Replay, print the page, write it and what the product reads where asked."""
    arguments = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--studies", type=int, default=30)
    arguments.add_argument("--out", type=Path)
    given = arguments.parse_args()
    table = read_table(given.seeds)
    cases = cases_of(table, given.studies, 1, both(table))
    text = page(table, given.studies, cases)
    print(text)
    if given.out is not None:
        given.out.write_text(text, encoding="utf-8")
        DATA.write_text(coverage_data(cases), encoding="utf-8")


def coverage_data(cases: Sequence[Case]) -> str:
    """Return what the product reads of how often decisions are right, as TOML."""
    lines = ["# Written by benchmarks/reference/calibration.py --out docs/decisions.md; not to be edited."]
    for level in LEVELS:
        share, count, _ = coverage(cases, level)
        lines += ["", "[[levels]]", f"probability = {level}", f"right = {share:.3f}", f"decisions = {count}"]
    return "\n".join([*lines, ""])


def page(table: Table, studies: int, cases: Sequence[Case]) -> str:
    """Return the page as Markdown; `cases` are decisions of law and runs."""
    ways = {
        "law and runs": list(cases),
        "runs without the law": cases_of(table, studies, 1, runs_alone(table)),
        "law without runs": cases_of(table, studies, 1, prior_alone(table)),
    }
    if table.spared_seed > 1:
        ways["law and runs, two seeds of every model"] = cases_of(table, studies, 2, both(table))
    main_cases = ways["law and runs"]
    lines = [
        "# Decisions: are they right as often as they say?",
        "",
        "Made by `python benchmarks/reference/calibration.py`; not to be edited.",
        "",
        f"Searches replayed on the [reference table](reference_table.md): the {len(table.names)} models of "
        "it "
        f"that have {table.spared_seed + 1} seeds, in {len(FORMATS)} formats. A study is 8, 12 or 16 of "
        "them, "
        "all trained to the first length and the better half to the last, with one seed; "
        f"{studies} studies. Its decisions are about all {len(table.duels())} pairs of deployed models whose "
        "files differ by less than 12 %, whether the study has trained them or not. A decision is right if "
        "the "
        "mean of the seeds that the study has not seen orders the pair so. Pairs recur from study to "
        "study: the "
        "last column counts different ones.",
        "",
        "| probability given | right | decisions | pairs |",
        "|---|---|---|---|",
    ]
    for level in LEVELS:
        share, count, pairs = coverage(main_cases, level)
        lines.append(f"| at least {level:g} | {share:.3f} | {count:,} | {pairs} |")
    lines.append("")
    for level, wanted in WANTED.items():
        share, count, _ = coverage(main_cases, level)
        verdict = "reached" if share >= wanted and count >= 200 else "missed"
        lines.append(
            f"- Wanted at {level:g}: {wanted:g} of at least 200; {share:.3f} of {count:,}: {verdict}."
        )
    lines += [
        "",
        "## What the law, the runs and replicates bring",
        "",
        "*Right*: share of all decisions. *Score*: mean logarithmic score over a coin, in bits. *Settled*: "
        "share "
        "of decisions at 0.95 or more, and of those the share that is right.",
        "",
        "| | right | score | settled | right of those |",
        "|---|---|---|---|---|",
    ]
    for name, cases in ways.items():
        lines.append(_ablation(name, cases))
    budget = 60.0 * SETTLE_MINUTES
    lines += [
        "",
        "## More runs: chosen by value, or at random",
        "",
        f"Studies of 12 models that spend {SETTLE_MINUTES:g} min of one core on more runs to the "
        "last "
        "length, of any model and seed; right by one seed that none of them trains, which is noisier than "
        "above.",
        "",
        "| | right | score | settled | right of those |",
        "|---|---|---|---|---|",
        _ablation("nothing more", cases_after(table, studies // 2, 0.0, by_value=False)),
        _ablation("runs at random", cases_after(table, studies // 2, budget, by_value=False)),
        _ablation("as `settle` chooses", cases_after(table, studies // 2, budget, by_value=True)),
    ]
    lines += [
        "",
        "## Regret",
        "",
        "By what share the loss of the models chosen is above that of the best, mean over four bins of file "
        f"size and {studies} draws, by minutes of one core. Models are trained to the last "
        "length in "
        "a random order. *Random* takes the best score of each size; *the law alone* trains nothing; "
        "*decisions* takes what is expected from law and runs, trained or not.",
        "",
        "| minutes | " + " | ".join(SAMPLERS) + " |",
        "|---|" + "---|" * len(SAMPLERS),
    ]
    for minutes in BUDGETS:
        cells = [
            f"{100 * np.mean([regret(table, minutes, name, n) for n in range(studies)]):.2f} %"
            for name in SAMPLERS
        ]
        lines.append(f"| {minutes:g} | " + " | ".join(cells) + " |")
    early, late, models = averaged_tau()
    lines += [
        "",
        "## A moving average in place of the cool-down copy",
        "",
        f"The average of the weights (time constant 5 % of the steps) against the cooled copy, {models} "
        "models "
        f"with one seed: Kendall's tau {early:.2f} at the first length, {late:.2f} at the last. "
        + (
            "The copy could be dropped."
            if min(early, late) >= AVERAGE_ORDERS_ALIKE
            else f"Below {AVERAGE_ORDERS_ALIKE:g}: the copy stays."
        ),
        "",
        "## What this does not show",
        "",
        "The table's runs are short (2 x 128 bytes a step), and its longest are what decisions here are "
        "about. "
        "Decisions of a search are about models trained for 20 tokens a weight, which no run of this table "
        "reaches: how far effects change beyond it rests on Gemstones' learning curves alone. Few-bit "
        "formats "
        "that are trained rounded (TQ1_0, Q2_K) are not in the table.",
    ]
    return "\n".join([*lines, ""])


def _ablation(name: str, cases: Sequence[Case]) -> str:
    right, score = skill(cases)
    share, count, _ = coverage(cases, LEVELS[-1])
    of_those = f"{share:.3f}" if count else "-"
    return f"| {name} | {right:.3f} | {score:.3f} | {count / len(cases):.3f} | {of_those} |"


if __name__ == "__main__":
    main()
