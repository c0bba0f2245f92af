"""Searches replayed on the reference table: their decisions, and the regret of what they choose."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.reference.models import FORMATS
from benchmarks.reference.table import TABLE, Table, TableRow
from search.analysis.decisions.belief import LossModel, PlannedScore
from search.analysis.decisions.value import Action, gains
from search.stats.rank_correlation import kendall
from search.stats.ridge import Floats

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
WANTED = {0.7: 0.68, 0.9: 0.88}
MODELS_OF_A_STUDY = (8, 12, 16)
BUDGETS = (0.5, 1.0, 2.0, 4.0)  # minutes of one core
SETTLE_MINUTES = 1.0
SIZE_BINS = 4
AVERAGE_ORDERS_ALIKE = 0.9  # tau from which moving averages would do


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One decision of one replayed study."""

    pair: tuple[int, int]
    probability: float
    right: bool


def study_rows(table: Table, models: Sequence[str], seeds: Sequence[int]) -> list[TableRow]:
    """Return the rows of a study: all models at the first length, the better half at the last."""
    early = [r for r in table.rows if r.model in models and r.seed in seeds and r.steps < table.longest]
    scores: dict[str, float] = {}
    for row in early:
        scores[row.model] = min(scores.get(row.model, row.bits_per_byte), row.bits_per_byte)
    best = sorted(models, key=lambda name: scores[name])[: (len(models) + 1) // 2]
    late = [r for r in table.rows if r.model in best and r.seed in seeds and r.steps == table.longest]
    return [*early, *late]


def differences(table: Table, pairs: Sequence[tuple[int, int]]) -> Floats:
    """Return the weights of pairs over the table's points."""
    weights = np.zeros((len(pairs), len(table.points)))
    for row, (a, b) in zip(weights, pairs, strict=True):
        row[a], row[b] = 1.0, -1.0
    return weights


Chances = Callable[[LossModel, Floats, Sequence[TableRow]], Floats]


def cases_of(table: Table, studies: int, seeds_seen: int, chances: Chances) -> list[Case]:
    """Return the decisions of replayed studies, each with its likelier answer."""
    pairs, model = table.duels(), LossModel(table.points, target_tokens=table.target_tokens)
    weights, found = differences(table, pairs), []
    every = sorted({row.seed for row in table.rows})
    for number in range(studies):
        draw = random.Random(number)
        seen = draw.sample(every, seeds_seen)
        names = draw.sample(table.names, min(draw.choice(MODELS_OF_A_STUDY), len(table.names)))
        truth = table.truth([seed for seed in every if seed not in seen])
        for pair, p in zip(pairs, chances(model, weights, study_rows(table, names, seen)), strict=True):
            is_first = truth[pair[0]] < truth[pair[1]]
            found.append(Case(pair=pair, probability=max(p, 1 - p), right=is_first == (p >= 0.5)))
    return found


def both(table: Table) -> Chances:
    """Return chances from the law and the runs."""
    return lambda model, weights, rows: model.believe(weights, table.observations(rows)).chances


def runs_alone(table: Table) -> Chances:
    """Return chances from the runs without the law's opinion."""
    return lambda model, weights, rows: (
        model.believe(weights, table.observations(rows), with_law=False).chances
    )


def prior_alone(table: Table) -> Chances:
    """Return chances from the law alone."""
    return lambda model, weights, rows: model.believe(weights, ()).chances


def coverage(cases: Sequence[Case], level: float) -> tuple[float, int, int]:
    """Return the share of decisions at a probability or more that are right, their number, and of pairs."""
    some = [case for case in cases if case.probability >= level]
    share = float(np.mean([case.right for case in some])) if some else float("nan")
    return share, len(some), len({case.pair for case in some})


def skill(cases: Sequence[Case]) -> tuple[float, float]:
    """Return the share of all decisions that are right, and their mean logarithmic score in bits."""
    right = float(np.mean([case.right for case in cases]))
    said = np.array([case.probability if case.right else 1 - case.probability for case in cases])
    return right, float(np.log2(np.clip(said, 1e-6, 1)).mean()) + 1


def settled_rows(
    table: Table, models: Sequence[str], seed: int, seconds: float, *, by_value: bool
) -> list[TableRow]:
    """Return a study's rows, and more runs to the last length for that time of one core, in seconds.

    Runs are of any model, with any seed but the last one. `by_value`: as `sizer search settle` chooses them;
    else at random.
    """
    model, pairs = LossModel(table.points, target_tokens=table.target_tokens), table.duels()
    rows, weights, draw = study_rows(table, models, [seed]), differences(table, pairs), random.Random(seed)
    left = seconds
    while True:
        have = {(row.model, row.seed) for row in rows if row.steps == table.longest}
        options = [
            row
            for row in table.rows
            if row.steps == table.longest
            and row.format == FORMATS[0]
            and (row.model, row.seed) not in have
            and row.seed != table.spared_seed
            and row.cpu_s <= left
        ]
        if not options:
            return rows
        chosen = draw.choice(options)
        if by_value:
            planned = [PlannedScore(point=table.place(o), tokens=o.tokens) for o in options]
            belief = model.believe(weights, table.observations(rows), planned=planned)
            gain = gains(
                belief, len(pairs), [Action(runs=(n,), seconds=o.cpu_s) for n, o in enumerate(options)]
            )
            chosen = options[int(np.argmax(gain / np.array([o.cpu_s for o in options])))]
        rows += [
            row
            for row in table.rows
            if (row.model, row.seed, row.steps) == (chosen.model, chosen.seed, chosen.steps)
        ]
        left -= chosen.cpu_s


def cases_after(table: Table, studies: int, seconds: float, *, by_value: bool) -> list[Case]:
    """Return the decisions of studies that spend a time, in seconds, on more runs; one seed is the truth."""
    pairs, model = table.duels(), LossModel(table.points, target_tokens=table.target_tokens)
    weights, truth, found = differences(table, pairs), table.truth([table.spared_seed]), []
    for number in range(studies):
        names = random.Random(number).sample(table.names, min(12, len(table.names)))
        rows = settled_rows(table, names, number % table.spared_seed, seconds, by_value=by_value)
        chances = model.believe(weights, table.observations(rows)).chances
        for pair, p in zip(pairs, chances, strict=True):
            is_first = truth[pair[0]] < truth[pair[1]]
            found.append(Case(pair=pair, probability=max(p, 1 - p), right=is_first == (p >= 0.5)))
    return found


# Ways of choosing the best model of each size after some minutes of training.
SAMPLERS = ("random", "the law alone", "decisions")


def regret(table: Table, minutes: float, sampler: str, number: int) -> float:
    """Return by what share the loss of the models chosen is above the best there are, mean over sizes.

    Models are trained in a random order until the time is up. *Random* chooses the best score of each size,
    *the law alone* what the law expects without any run, *decisions* what both expect, trained or not.
    """
    draw, points = random.Random(number), table.points
    seed = draw.choice(sorted({row.seed for row in table.rows}))
    others = [s for s in {row.seed for row in table.rows} if s != seed]
    truth, left, names = table.truth(others), 60 * minutes, list(table.names)
    draw.shuffle(names)
    rows: list[TableRow] = []
    for name in names:
        run = [r for r in table.rows if r.model == name and r.seed == seed and r.steps == table.longest]
        if run[0].cpu_s <= left:
            rows += run
            left -= run[0].cpu_s
    size = np.log([p.size_bytes for p in points])
    bins = np.minimum(
        (SIZE_BINS * (size - size.min()) / (size.max() - size.min())).astype(int), SIZE_BINS - 1
    )
    model, lost = LossModel(points, target_tokens=table.target_tokens), []
    to_mean = np.eye(len(points)) - 1 / len(points)
    expected = model.believe(to_mean, () if sampler == "the law alone" else table.observations(rows)).mean
    trained = {table.place(row): row.bits_per_byte for row in rows}
    for one in range(SIZE_BINS):
        inside = [int(i) for i in np.flatnonzero(bins == one)]
        scored = [i for i in inside if i in trained]
        if sampler == "random":
            chosen = min(scored, key=trained.__getitem__) if scored else draw.choice(inside)
        else:
            chosen = min(inside, key=lambda i: float(expected[i]))
        lost.append(truth[chosen] - min(truth[i] for i in inside))
    return float(np.mean(lost))


def averaged_tau() -> tuple[float, float, int]:
    """Return Kendall's tau of moving averages with cooled copies at both lengths, and the models' number."""
    lines = [json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]
    taus, models = [], 0
    for steps in sorted({line["steps"] for line in lines}):
        some = [line for line in lines if line["steps"] == steps and line.get("averaged")]
        models = len(some)
        cooled, averaged = [line["scores"]["F16"] for line in some], [line["averaged"] for line in some]
        taus.append(kendall(cooled, averaged) or 0.0)
    return taus[0], taus[-1], models
