"""Replays the search on tables of models that others trained; writes docs/replay.md (`make replay`)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from math import log
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.quality.learn import stored_prior_without
from benchmarks.replay.model_tables import TOKENS_PER_STEP, gemstones, gemstones_step, gemstones_steps, lts
from search.analysis.reliability import TrustReport, trust
from search.quality.acquisition import propose
from search.quality.baselines import by_size_law
from search.quality.features import LawRow
from search.quality.law import PROPOSALS, LawSettings, fit_law
from search.schedule.rungs import RungEntry, RungSettings, survivors
from search.stats.hypervolume import reference_point, regret
from search.stats.pareto import front
from search.stats.rank_correlation import kendall, tau_of_one_size
from sizer.quality.posterior import Prior

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "replay.md"
FIGURE = ROOT / "docs" / "images" / "replay-regret.svg"

SMALL, LARGE = 150e6, 900e6  # weights: fitted to those below the one, asked of those above the other
START, TRIALS = 8, 40  # random models before the proposer is asked, and all in all
SEEDS = 20


def final_front() -> frozenset[int]:
    """Gemstones shapes that no other beats on weights and loss at the end of training."""
    rows = gemstones(gemstones_steps()[-1])
    return frozenset(front([(row.size_bytes, row.loss) for row in rows]))


def rung_entries(step: int) -> list[RungEntry]:
    """All Gemstones shapes as they stand at a step."""
    return [
        RungEntry(id=i, costs=(row.size_bytes,), depth=int(row.features.depth), loss=row.loss)
        for i, row in enumerate(gemstones(step))
    ]


def kept_of_front(tokens: float, *, bins: int, first_rung: bool = False) -> tuple[int, int]:
    """Members of the final front that halving at so many tokens keeps, and how many models it keeps."""
    kept = survivors(
        rung_entries(gemstones_step(tokens)), RungSettings(eta=2, bins=bins), first_rung=first_rung
    )
    return len(final_front() & set(kept)), len(kept)


def kept_by_loss(tokens: float) -> int:
    """The same for halving by loss alone."""
    entries = sorted(rung_entries(gemstones_step(tokens)), key=lambda entry: entry.loss)
    return len(final_front() & {entry.id for entry in entries[: len(entries) // 2]})


class Ladder(NamedTuple):
    """One replayed search by rungs: what it kept of the front, and its tokens as a share of training all."""

    rungs: tuple[float, ...]  # tokens
    finalists: int
    of_front: int
    cost: float


def climb(rungs: Sequence[float], settings: RungSettings) -> Ladder:
    """Gemstones through several rungs; the last is the end of training, which nobody leaves."""
    alive = {entry.id for entry in rung_entries(gemstones_step(rungs[0]))}
    everyone, spent, before = len(alive), 0.0, 0.0
    for number, tokens in enumerate(rungs):
        spent += len(alive) * (tokens - before)
        before = tokens
        if number < len(rungs) - 1:
            entries = [e for e in rung_entries(gemstones_step(tokens)) if e.id in alive]
            alive = set(survivors(entries, settings, first_rung=number == 0))
    return Ladder(tuple(rungs), len(alive), len(final_front() & alive), spent / (everyone * rungs[-1]))


class LawScore(NamedTuple):
    """The quality law fitted to some LTS models, over several draws of them."""

    shapes: int
    left_out_tau: float  # 10 %-pairs among the drawn, left out one at a time, all draws together
    left_out_pairs: int
    tau: float  # of models not drawn, matched on deployed size; mean over draws
    tau_non_embedding: float  # the same, matched on weights without the embedding
    worst_tau: float
    error: float  # root mean square, nats
    coverage: float  # of 80 % intervals, models not drawn


def law_on_lts(
    shapes: int, *, seeds: int, settings: LawSettings | None = None, prior: Prior | None = None
) -> LawScore:
    """Fit to `shapes` models drawn at random, ask of the others; repeated over seeds."""
    models, prior = lts(), prior or stored_prior_without("LTS")
    scores, agreed, decided = [], 0.0, 0
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(models))
        drawn = [models[i].row for i in order[:shapes]]
        others = [models[i] for i in order[shapes:]]
        law = fit_law(drawn, settings=settings, prior=prior)
        pairs = _decided(drawn)
        agreed += pairs * (_tau([p.value for p in law.leave_one_out], drawn) or 0.0)
        decided += pairs
        means, sds = law.predict_arrays([m.row.features for m in others])
        losses = np.array([m.row.loss for m in others])
        tau = tau_of_one_size(means.tolist(), losses.tolist(), [m.row.size_bytes for m in others])
        plain = tau_of_one_size(means.tolist(), losses.tolist(), [m.non_embedding for m in others])
        inside = np.abs(losses - means) <= 1.2815515655446004 * sds
        scores.append((tau or 0.0, plain or 0.0, float(np.mean((losses - means) ** 2)), float(inside.mean())))
    tau, plain, square, coverage = np.mean(scores, axis=0)
    return LawScore(
        shapes=shapes,
        left_out_tau=agreed / decided,
        left_out_pairs=decided,
        tau=float(tau),
        tau_non_embedding=float(plain),
        worst_tau=float(np.min(scores, axis=0)[0]),
        error=float(square) ** 0.5,
        coverage=float(coverage),
    )


def _tau(values: Sequence[float], rows: Sequence[LawRow]) -> float | None:
    return tau_of_one_size(values, [r.loss for r in rows], [r.size_bytes for r in rows])


def _decided(rows: Sequence[LawRow]) -> int:
    """Pairs of one size with different losses."""
    losses, sizes = np.array([r.loss for r in rows]), np.array([r.size_bytes for r in rows])
    i, j = np.triu_indices(len(rows), 1)
    same = np.abs(sizes[i] - sizes[j]) < 0.1 * np.maximum(sizes[i], sizes[j])
    return int((same & (losses[i] != losses[j])).sum())


def counter_taus(counter: Callable[[LawRow], float]) -> tuple[float | None, float | None]:
    """10 %-pairs tau of a count over all LTS models, matched on deployed size and without the embedding."""
    models = lts()
    counts, losses = [-counter(m.row) for m in models], [m.row.loss for m in models]
    return (
        tau_of_one_size(counts, losses, [m.row.size_bytes for m in models]),
        tau_of_one_size(counts, losses, [m.non_embedding for m in models]),
    )


class Extrapolation(NamedTuple):
    """Gemstones of 1B and 2B weights predicted from those below 150M, all at one number of tokens."""

    tokens: float
    tau: float
    bias: float  # nats
    error: float
    sd: float  # that the law gave, mean
    inside: int  # of the large models, in their 80 % interval
    large: int
    size_law_error: float


def extrapolate(tokens: float, settings: LawSettings | None = None) -> Extrapolation:
    """Fit to small models, ask of large ones."""
    rows = gemstones(gemstones_step(tokens))
    small = [r for r in rows if r.features.parameters < SMALL]
    large = [r for r in rows if r.features.parameters > LARGE]
    law = fit_law(small, prior=stored_prior_without("Gemstones"), settings=settings)
    predicted = law.predict([r.features for r in large])
    losses = [r.loss for r in large]
    errors = np.array([p.value - loss for p, loss in zip(predicted, losses, strict=True)])
    by_size = []
    for one in large:  # the size law speaks of rows without them: of each large one beside the small
        by_size.append(by_size_law([*small, one])[-1] - one.loss)
    return Extrapolation(
        tokens=tokens,
        tau=kendall([p.value for p in predicted], losses) or 0.0,
        bias=float(errors.mean()),
        error=float(np.sqrt(np.mean(errors**2))),
        sd=float(np.mean([p.sd for p in predicted])),
        inside=sum(p.low <= loss <= p.high for p, loss in zip(predicted, losses, strict=True)),
        large=len(large),
        size_law_error=float(np.sqrt(np.mean(np.square(by_size)))),
    )


class Curve(NamedTuple):
    """Hypervolume regret after each trial of one search."""

    guided: tuple[float, ...]
    random: tuple[float, ...]


@cache
def regret_curve(seed: int, *, trials: int = TRIALS) -> Curve:
    """LTS searched by the proposer from START random models on, and at random from the same start."""
    rows = [m.row for m in lts()]
    points = [(log(r.size_bytes), r.loss) for r in rows]
    reference = reference_point(points)
    order = [int(i) for i in np.random.default_rng(seed).permutation(len(rows))]
    chosen = order[:START]
    while len(chosen) < trials:
        pool = [i for i in range(len(rows)) if i not in chosen]
        taught = [rows[i] for i in chosen]
        law = fit_law(taught, prior=stored_prior_without("LTS"), settings=PROPOSALS)
        (best,) = propose([rows[i].features for i in pool], [rows[i].size_bytes for i in pool], law)
        chosen.append(pool[best])

    def curve(tried: Sequence[int]) -> tuple[float, ...]:
        return tuple(regret([points[i] for i in tried[:n]], points, reference) for n in range(1, trials + 1))

    return Curve(guided=curve(chosen), random=curve(order[:trials]))


def mean_regrets(seeds: Iterable[int], after: int, *, trials: int = TRIALS) -> tuple[float, float, int]:
    """Mean regret after so many trials, guided and random, and in how many searches guided is the lower."""
    curves = [regret_curve(seed, trials=trials) for seed in seeds]
    guided = np.array([c.guided[after - 1] for c in curves])
    at_random = np.array([c.random[after - 1] for c in curves])
    return float(guided.mean()), float(at_random.mean()), int((guided < at_random).sum())


def trust_at(tokens: float) -> TrustReport:
    """How far Gemstones' order after so many tokens can be believed, by their final losses."""
    early, late = (gemstones(step) for step in (gemstones_step(tokens), gemstones_steps()[-1]))
    return trust([row.loss for row in early], late, prior=stored_prior_without("Gemstones"))


def billions(tokens: float) -> str:
    """Tokens as the table names them."""
    return f"{gemstones_step(tokens) * TOKENS_PER_STEP / 1e9:.0f}B"


if __name__ == "__main__":
    from benchmarks.replay.page import document, regret_figure

    for target, text in ((TARGET, document()), (FIGURE, regret_figure())):
        target.write_text(text, encoding="utf-8")
        print(f"wrote {target.relative_to(ROOT)}")
