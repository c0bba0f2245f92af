"""Decisions of a study: for each question its likelier answer, from the law and the study's runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from functools import lru_cache

import numpy as np

from search.analysis.decisions.belief import UNKNOWN_TO_LAW, LossModel, LossPosterior, PlannedScore
from search.analysis.decisions.costs import RunCosts, run_costs
from search.analysis.decisions.evidence import Evidence, evidence
from search.analysis.decisions.points import ModelPoint, model_point
from search.analysis.decisions.questions import Question, questions
from search.analysis.decisions.value import SETTLED, seeds_to_settle
from search.config.axes import AXES
from search.space.formats import file_bytes
from search.stats.ridge import Floats
from search.store.results import Candidate, SearchResult

# Runs that change a probability by less than this add nothing.
ADDS = 0.02
# Between these a prior has no opinion.
_NO_OPINION = (0.4, 0.6)


@unique
class DecisionBasis(StrEnum):
    """Where a decision's probability comes from."""

    RUNS = "runs"  # the law has no opinion, or knows nothing of what is asked
    PRIOR = "prior"  # the runs add nothing: the probability is the law's
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """An answer to questions of neighbouring sizes: which of two options is better, and how surely."""

    axis: str
    choice: str
    other: str
    smallest_bytes: float
    largest_bytes: float
    probability: float  # that the choice is better: the least of the sizes'
    prior_probability: float  # by the law alone, without any run
    runs_probability: float  # by the runs alone, without the law's opinion
    basis: DecisionBasis
    cost_to_settle_s: float | None  # of more seeds; None: settled, or runs of this length cannot

    @property
    def settled(self) -> bool:
        """True if the choice is better at 0.95 or more."""
        return self.probability >= SETTLED

    @property
    def known_to_law(self) -> bool:
        """True if models that the law was fitted to differ in what is asked about."""
        return self.axis not in UNKNOWN_TO_LAW

    @property
    def question(self) -> str:
        """The question, in words."""
        return f"{self.label}: {self.choice} or {self.other}?"

    @property
    def label(self) -> str:
        """The axis, in words."""
        return AXES[self.axis].label


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """All decisions of a study, and what they rest on."""

    decisions: tuple[Decision, ...]  # settled ones first, surest first
    runs: int
    target_tokens: float  # training that the decisions are about
    seed_sd: float  # deviation of one run by its seed, as a share of the loss
    paired_sd: float  # scoring's error of a difference, bits per byte

    @property
    def settled(self) -> tuple[Decision, ...]:
        """Those at 0.95 or more."""
        return tuple(d for d in self.decisions if d.settled)


def decide(result: SearchResult) -> Decisions:
    """Return the decisions of a study; by the law alone where nothing is trained yet."""
    assert result.config is not None, "a stored study has its configuration"
    return _decide(_Key(result))


class _Key:
    """A study as a key of the cache: the same records are the same study."""

    def __init__(self, result: SearchResult) -> None:
        self.result = result

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Key)
            and other.result.records == self.result.records
            and (other.result.config == self.result.config)
        )

    def __hash__(self) -> int:
        return hash((self.result.study, len(self.result.records)))


@lru_cache(maxsize=4)
def _decide(key: _Key) -> Decisions:
    result = key.result
    assert result.config is not None
    asked = questions(result.config)
    known, costs = evidence(result), run_costs(result)
    points, places = with_questions(known.points, asked, result.runtime)
    answered = answers(points, places, asked, known, costs)
    return Decisions(
        decisions=tuple(sorted(_merged(answered), key=lambda d: -d.probability)),
        runs=len(known.observations),
        target_tokens=answered.target_tokens,
        seed_sd=answered.seed_sd,
        paired_sd=known.paired_sd,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Probabilities of every question, in their order."""

    asked: tuple[Question, ...]
    both: Floats  # that the first option is better
    prior: Floats
    runs: Floats
    costs_s: tuple[float | None, ...]
    target_tokens: float
    seed_sd: float


def with_questions(
    trained: Sequence[ModelPoint], asked: Sequence[Question], runtime: str
) -> tuple[tuple[ModelPoint, ...], dict[Candidate, int]]:
    """Return trained points followed by those that questions compare, and the places of the latter."""
    points, places = list(trained), {}
    for question in asked:
        for pair in question.pairs:
            for candidate in pair:
                if candidate not in places:
                    places[candidate] = len(points)
                    size = file_bytes(candidate.architecture, candidate.format, runtime)
                    points.append(model_point(candidate, size_bytes=size, runtime=runtime))
    return tuple(points), places


def differences(asked: Sequence[Question], places: dict[Candidate, int], count: int) -> Floats:
    """Return the weights over points of each question: the first option's mean loss less the second's."""
    weights = np.zeros((len(asked), count))
    for row, question in zip(weights, asked, strict=True):
        for first, second in question.pairs:
            row[places[first]] += 1 / len(question.pairs)
            row[places[second]] -= 1 / len(question.pairs)
    return weights


def answers(
    points: Sequence[ModelPoint],
    places: dict[Candidate, int],
    asked: tuple[Question, ...],
    known: Evidence,
    costs: RunCosts,
) -> Answers:
    """Return the probability of every question, with and without the runs and the law."""
    model = LossModel(points)
    weights = differences(asked, places, len(points))
    planned = [PlannedScore(point=place, tokens=costs.tokens) for place in places.values()]
    belief = model.believe(weights, known.observations, planned=planned)
    count = len(asked)
    runs = model.believe(weights, known.observations, with_law=False).chances
    unknown = np.array([question.axis in UNKNOWN_TO_LAW for question in asked], bool)
    both = np.where(unknown, runs, belief.chances[:count])
    prior = np.where(unknown, 0.5, model.believe(weights, ()).chances)
    at = {candidate: count + n for n, candidate in enumerate(places)}
    return Answers(
        asked=asked,
        both=both,
        prior=prior,
        runs=runs,
        costs_s=tuple(
            _cost(belief.likeliest, n, question, at, costs) if max(p, 1 - p) < SETTLED else None
            for n, (question, p) in enumerate(zip(asked, both, strict=True))
        ),
        target_tokens=model.target_tokens,
        seed_sd=belief.seed_sd,
    )


def _cost(
    posterior: LossPosterior, number: int, question: Question, at: dict[Candidate, int], costs: RunCosts
) -> float | None:
    """Return the seconds of the seeds that would settle a question; None if no number of them does."""
    models = tuple(dict.fromkeys(candidate for pair in question.pairs for candidate in pair))
    seeds = seeds_to_settle(posterior, number, [at[m] for m in models])
    return None if seeds is None else seeds * sum(costs.seconds(m.architecture) for m in models)


def _merged(found: Answers) -> list[Decision]:
    """Return each axis's best option against every other, sizes with one answer as one decision."""
    by_size: dict[tuple[str, float], list[int]] = {}
    for n, question in enumerate(found.asked):
        by_size.setdefault((question.axis, question.size_bytes), []).append(n)
    single: dict[tuple[str, str, str, bool], list[tuple[float, int, bool]]] = {}
    for (axis, size), numbers in by_size.items():
        best = _best(found, numbers)
        for n in numbers:
            question, p = found.asked[n], found.both[n]
            if best not in (question.first, question.second):
                continue
            first = bool(p >= 0.5)
            choice, other = (question.first, question.second) if first else (question.second, question.first)
            key = (axis, choice, other, max(p, 1 - p) >= SETTLED)
            single.setdefault(key, []).append((size, n, first))
    return [_decision(key, rows, found) for key, rows in single.items()]


def _best(found: Answers, numbers: Sequence[int]) -> str:
    """Return the option that is likeliest to be better than the others, on average."""
    chances: dict[str, list[float]] = {}
    for n in numbers:
        chances.setdefault(found.asked[n].first, []).append(float(found.both[n]))
        chances.setdefault(found.asked[n].second, []).append(1 - float(found.both[n]))
    return max(chances, key=lambda option: sum(chances[option]) / len(chances[option]))


def _decision(
    key: tuple[str, str, str, bool], rows: Sequence[tuple[float, int, bool]], found: Answers
) -> Decision:
    axis, choice, other, _ = key

    def chosen(chances: Floats) -> list[float]:
        return [float(chances[n] if first else 1 - chances[n]) for _, n, first in rows]

    both, prior, runs = chosen(found.both), chosen(found.prior), chosen(found.runs)
    least = int(np.argmin(both))
    basis = DecisionBasis.RUNS if axis in UNKNOWN_TO_LAW else _basis(both[least], prior[least])
    costs = [found.costs_s[n] for _, n, _ in rows]
    known = [cost for cost in costs if cost is not None]
    return Decision(
        axis=axis,
        choice=choice,
        other=other,
        smallest_bytes=min(size for size, _, _ in rows),
        largest_bytes=max(size for size, _, _ in rows),
        probability=prior[least] if basis is DecisionBasis.PRIOR else both[least],
        prior_probability=prior[least],
        runs_probability=runs[least],
        basis=basis,
        cost_to_settle_s=max(known) if known and len(known) == len(costs) else None,
    )


def _basis(both: float, prior: float) -> DecisionBasis:
    if abs(both - prior) < ADDS:
        return DecisionBasis.PRIOR
    return DecisionBasis.RUNS if _NO_OPINION[0] < prior < _NO_OPINION[1] else DecisionBasis.BOTH
