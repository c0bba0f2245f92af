"""Replay studies on tables of longer runs: how often are the words of `sizer search trust` right?

    python benchmarks/replay/verdicts.py [--studies 60]

Writes docs/verdicts.md, and search/data/verdict_coverage.toml, from which the product takes its words.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from benchmarks.reference.models import MODELS
from benchmarks.reference.table import TABLE
from benchmarks.reference.train_table import LONG_TABLE
from benchmarks.replay.model_tables import gemstones, gemstones_step, gemstones_steps
from search.analysis.verdict import (
    LEAST_STUDIES,
    MIN_PAIRS,
    MOST_WRONGLY,
    PROMISED,
    WELL,
    ClaimCoverage,
    Support,
    VerdictClaim,
    stated_at,
    support,
)
from search.stats.rank_correlation import (
    pairs_of_one_size,
    tau_gain_resamples,
    tau_of_one_size,
    tau_resamples,
)

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "verdicts.md"
DATA = ROOT / "search" / "data" / "verdict_coverage.toml"

STUDIES = 60  # of each population
SUPPORTS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
MODELS_OF_A_STUDY = (8, 12, 16)
GEMSTONES_TOKENS = (2e9, 4e9, 8e9, 16e9, 32e9, 64e9)
RUNG_RATIOS = (3, 9)  # of a later rung's length over the first's, as a search has them


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Models with three losses each: of a study's short run, its longer run, and the table's longest."""

    name: str
    early: tuple[float, ...]
    late: tuple[float, ...]
    longest: tuple[float, ...]
    counting: tuple[float, ...]  # less is better: weights, negative
    sizes: tuple[float, ...]

    @property
    def tau(self) -> float:
        """Tau of the short runs with the longest ones, pairs of one size."""
        return tau_of_one_size(self.early, self.longest, self.sizes) or 0.0

    @property
    def gain(self) -> float:
        """By how much that is above the tau of counting parameters."""
        return self.tau - (tau_of_one_size(self.counting, self.longest, self.sizes) or 0.0)

    def is_true(self, claim: VerdictClaim) -> bool:
        """Return whether a claim holds for all of its models."""
        return bool(claim.holds(np.array([self.tau]), np.array([self.gain]))[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedStudy:
    """One study: of which models, how far it supports each claim, its tau of short with longer runs."""

    population: Population
    supports: Support
    tau: float


def populations(
    *, table_rows: int | None = None, long_table_rows: int | None = None
) -> tuple[Population, ...]:
    """Return the populations, of the first rows of the reference table's two files, or of all."""
    short, long = _scores(TABLE, table_rows), _scores(LONG_TABLE, long_table_rows)
    longest: dict[str, list[float]] = {}
    top = max(steps for _, _, steps in long)
    for (model, _, steps), bits in long.items():
        if steps == top:
            longest.setdefault(model, []).append(bits)
    truth = {model: fmean(bits) for model, bits in longest.items()}
    found = []
    for scores in (short, long):
        lengths = sorted({steps for _, _, steps in scores})
        for seed in sorted({seed for _, seed, _ in scores}):
            population = _reference(scores, seed, lengths[0], lengths[1], truth)
            if pairs_of_one_size(population.sizes) >= MIN_PAIRS:
                found.append(population)
    last = gemstones_steps()[-1]
    for tokens in GEMSTONES_TOKENS:
        for ratio in RUNG_RATIOS:
            if gemstones_step(ratio * tokens) < last:
                found.append(_gemstones(tokens, ratio))
    return tuple(found)


def _scores(path: Path, rows: int | None) -> dict[tuple[str, int, int], float]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:rows]]
    return {(r["model"], r["seed"], r["steps"]): r["scores"]["F16"] for r in lines if "scores" in r}


def _reference(
    scores: dict[tuple[str, int, int], float], seed: int, early: int, late: int, truth: dict[str, float]
) -> Population:
    models = [
        m
        for m in MODELS
        if m.name in truth and {(m.name, seed, early), (m.name, seed, late)} <= scores.keys()
    ]
    return Population(
        name=f"reference table, {early:,} to {late:,} steps, seed {seed}",
        early=tuple(scores[m.name, seed, early] for m in models),
        late=tuple(scores[m.name, seed, late] for m in models),
        longest=tuple(truth[m.name] for m in models),
        counting=tuple(-float(m.num_parameters) for m in models),
        sizes=tuple(float(m.file_bytes("F16")) for m in models),
    )


def _gemstones(tokens: float, ratio: int) -> Population:
    early, late = gemstones(gemstones_step(tokens)), gemstones(gemstones_step(ratio * tokens))
    longest = gemstones(gemstones_steps()[-1])
    return Population(
        name=f"Gemstones, {tokens / 1e9:.0f}B to {ratio * tokens / 1e9:.0f}B tokens",
        early=tuple(row.loss for row in early),
        late=tuple(row.loss for row in late),
        longest=tuple(row.loss for row in longest),
        counting=tuple(-row.features.parameters for row in longest),
        sizes=tuple(row.size_bytes for row in longest),
    )


def replayed(population: Population, studies: int) -> tuple[ReplayedStudy, ...]:
    """Return studies of some of the models, drawn at random, that have enough pairs of one size."""
    found = []
    sizes = [n for n in MODELS_OF_A_STUDY if n < len(population.sizes)]
    for number in range(studies):
        draw = random.Random(number)
        chosen = sorted(draw.sample(range(len(population.sizes)), draw.choice(sizes)))
        early, late, counting, bytes_of = (
            [values[i] for i in chosen]
            for values in (population.early, population.late, population.counting, population.sizes)
        )
        if pairs_of_one_size(bytes_of) < MIN_PAIRS:
            continue
        supports = support(
            tau_resamples(early, late, bytes_of), tau_gain_resamples(early, counting, late, bytes_of)
        )
        tau = tau_of_one_size(early, late, bytes_of) or 0.0
        found.append(ReplayedStudy(population=population, supports=supports, tau=tau))
    return tuple(found)


def coverage(studies: Sequence[ReplayedStudy]) -> tuple[ClaimCoverage, ...]:
    """Return how often each claim is right and how often it is given where it is false, by support."""
    found = []
    for claim in VerdictClaim:
        true = [study.population.is_true(claim) for study in studies]
        for least in SUPPORTS:
            given = [study.supports[claim] >= least for study in studies]
            right = [t for t, g in zip(true, given, strict=True) if g]
            wrongly = [g for t, g in zip(true, given, strict=True) if not t]
            found.append(
                ClaimCoverage(
                    claim=claim,
                    support=least,
                    right=_share(right),
                    studies=len(right),
                    wrongly=_share(wrongly),
                    false_studies=len(wrongly),
                )
            )
    return tuple(found)


def _share(of: Sequence[bool]) -> float:
    return round(sum(of) / len(of), 3) if of else 0.0


def data(found: Sequence[ClaimCoverage], rows: tuple[int, int]) -> str:
    """Return what the product reads, as TOML, with the rows of the reference table that it was made of."""
    lines = [
        "# Written by benchmarks/replay/verdicts.py; not to be edited. Sources: the reference table",
        "# (benchmarks/reference/), as many of its rows as stated here, and Gemstones (docs/replay.md).",
        f"table_rows = {rows[0]}",
        f"long_table_rows = {rows[1]}",
    ]
    for level in found:
        lines += [
            "",
            "[[levels]]",
            f'claim = "{level.claim.value}"',
            f"support = {level.support}",
            f"right = {level.right}",
            f"studies = {level.studies}",
            f"wrongly = {level.wrongly}",
            f"false_studies = {level.false_studies}",
        ]
    return "\n".join([*lines, ""])


_HEAD = """\
# Words of trust: are they right?

Made by `python benchmarks/replay/verdicts.py`; not to be edited.

`sizer search trust` compares the order of short runs with that of longer ones of the same study and puts it
into words. The words are claims about models of one size (files within 10 %) after the training that matters,
which no study has. Here studies are replayed on tables that do have it: each is 8, 12 or 16 models drawn at
random, with at least {pairs} pairs of one size; {studies:,} studies of {populations} populations. A claim
is right if it is true of all models of the population, by the table's longest runs.

A word promises to be right in {promised:.0%} of the studies that get it, and to be given to at most
{wrongly:.0%} of the studies of populations where it is false; at least {least} studies of either kind measure
that. *Support* is the share of a study's 1,000 resamples of its models in which the claim holds. A word needs
a support of {promised:g}, and has to keep the promise at the highest support that was measured and is
reached. Where it does not, the words are *cannot tell*.
"""
_WELL = """\
That short runs agree *well* (tau of at least {well:g}) is what a study cannot know: of {studies} studies
whose short and longer runs had such a tau, {share:.0%} were of populations in which short runs have it with
the longest ones. Short and longer runs of one study agree more than they should.
"""
_POPULATIONS = """\
## Populations

Of the reference table, models with both lengths, by their scores in F16; of Gemstones all 22 shapes. Tau with
the table's longest runs (9,000 steps; 350B tokens), pairs of one size.
"""
_LIMITS = """\
## What this does not show

Studies of one population overlap, so there are fewer independent cases than studies. Only after Gemstones'
first 2B tokens do short runs rank against the longest ones, and only there is counting better: where most
populations make a claim true, it is mostly right whoever states it. The column *given where false* does not
depend on that, but rests on those shapes alone. The reference table's longest runs have one seed, for most
models that of the short runs. A search compares the models that it promoted, which are more alike than models
drawn at random.
"""


def page(every: Sequence[Population], studies: Sequence[ReplayedStudy]) -> str:
    """Return docs/verdicts.md."""
    found = coverage(studies)
    stated = [(claim.value, *_stated(claim, found)) for claim in VerdictClaim]
    levels = [(level.claim.value, f"{level.support:g}", *_cells(level)) for level in found]
    by_point = [s.population.is_true(VerdictClaim.WELL) for s in studies if s.tau >= WELL]
    about = [
        (
            one.name,
            str(len(one.sizes)),
            str(sum(study.population is one for study in studies)),
            f"{one.tau:.2f}",
            f"{one.tau - one.gain:.2f}",
        )
        for one in every
    ]
    measured = ("right", "studies", "given where false", "studies")
    parts = [
        _HEAD.format(
            pairs=MIN_PAIRS,
            studies=len(studies),
            populations=len(every),
            promised=PROMISED,
            wrongly=MOST_WRONGLY,
            least=LEAST_STUDIES,
        ),
        _table(("claim of short runs", "stated from a support of", "measured from", *measured), stated),
        _WELL.format(well=WELL, studies=len(by_point), share=_share(by_point)),
        "## By support\n",
        _table(("claim", "support of at least", *measured), levels),
        _POPULATIONS,
        _table(("population", "models", "studies", "tau of the short runs", "tau of counting"), about),
        _LIMITS,
    ]
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _stated(claim: VerdictClaim, found: Sequence[ClaimCoverage]) -> tuple[str, ...]:
    for least in SUPPORTS:
        level = stated_at(claim, least, found)
        if level is not None:
            return (f"{least:g}", f"{level.support:g}", *_cells(level))
    return ("never", "", "", "", "", "")


def _cells(level: ClaimCoverage) -> tuple[str, ...]:
    return (
        f"{level.right:.3f}" if level.studies else "-",
        str(level.studies),
        f"{level.wrongly:.3f}" if level.false_studies else "-",
        str(level.false_studies),
    )


def rows_of_tables() -> tuple[int, int]:
    """Return the number of rows of the reference table's two files."""
    short, long = (len(path.read_text(encoding="utf-8").splitlines()) for path in (TABLE, LONG_TABLE))
    return short, long


def main() -> None:
    """Replay, write the page and what the product reads."""
    arguments = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    arguments.add_argument("--studies", type=int, default=STUDIES)
    given = arguments.parse_args()
    every = populations()
    studies = [study for one in every for study in replayed(one, given.studies)]
    for target, text in ((DATA, data(coverage(studies), rows_of_tables())), (PAGE, page(every, studies))):
        target.write_text(text, encoding="utf-8")
        print(f"wrote {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
