"""Choose the parameters of the next trial.

They depend on the seed, the trial's number and the results of earlier trials only, so that a search that was
stopped, killed or run by several workers ends with the same models.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from math import exp, log
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from search.config.config import SearchConfig
from search.config.objectives import Objective
from search.quality.acquisition import propose
from search.quality.features import LawRow, ShapeFeatures, features_of, stored_bits_per_weight
from search.quality.law import MIN_ROWS, PROPOSALS, fit_law
from search.space.deployment import deployments, trial_record
from search.space.formats import file_bytes
from search.space.initial_points import initial_points
from search.space.resolve import resolve
from search.space.space import Encoding, suggest
from search.stats.pareto import front
from search.store.objective_values import study_directions
from search.store.results import Candidate
from search.training.scaled_proxy import proxy_of

# Scored trials that a model of the space needs before it chooses.
STARTUP_TRIALS = 8
# Random points that the law chooses from, drawn for each trial.
POOL = 192
# Up to this number of trials the law (or a Gaussian process) chooses best; beyond it, evolution does.
_MANY_TRIALS = 250

# Evolution: size of a generation, and trials that its parents are chosen from; more would slow it down.
_POPULATION, _LATEST = 20, 1000

_CONTROLS = ("random", "quasi-random")  # baselines that a search must beat: without hand-made initial points
_DIMENSIONS = 16  # of the unit cube: more than a search has axes

_Unit = Sequence[float] | np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedTrial:
    """A finished trial, with what samplers need of it."""

    trial: FrozenTrial | None  # None unless it was scored, and for samplers that have no use for it
    row: LawRow | None  # None unless it was scored, and for samplers without a law
    candidate: Candidate
    costs: tuple[float, ...] = ()  # by objective, less is better; of a scored trial

    @property
    def is_scored(self) -> bool:
        """Return True for a trial that a sampler learns from."""
        return self.row is not None or self.trial is not None


@lru_cache(maxsize=8)
def _initial(config: SearchConfig, encoding: Encoding) -> tuple[dict[str, Any], ...]:
    return initial_points(config, encoding)


def sampler_of(config: SearchConfig) -> str:
    """Return the sampler of a search; `auto` is the law, and evolution above 250 trials.

    Measured on 200 decoders (docs/replay.md): 20 trials guided by the law leave half the hypervolume that 20
    random ones leave.
    """
    if config.training.sampler != "auto":
        return config.training.sampler
    return "law" if config.training.trials <= _MANY_TRIALS else "nsga2"


def encoding_of(config: SearchConfig) -> Encoding:
    """Return how choices are encoded: as ordered numbers for samplers that take nothing else."""
    return Encoding.ORDERED if sampler_of(config) == "gp" else Encoding.CATEGORICAL


def needs_trials(config: SearchConfig) -> bool:
    """Return whether a search's sampler is one of Optuna's, which need trials as Optuna has them."""
    return sampler_of(config) in ("tpe", "gp", "nsga2")


def latest_scored(config: SearchConfig) -> int | None:
    """Return how many of the last scored trials a search's sampler looks at; None for all."""
    return _LATEST if sampler_of(config) == "nsga2" else None


def next_params(
    config: SearchConfig, number: int, finished: Sequence[FinishedTrial], fits: Callable[[Candidate], bool]
) -> dict[str, Any]:
    """Return the parameters of trial `number`; `fits` checks a candidate against memory and speed limits."""
    encoding, name = encoding_of(config), sampler_of(config)
    if name not in _CONTROLS:
        starts = _initial(config, encoding)
        if number < len(starts):
            return dict(starts[number])
    generator = np.random.default_rng((config.training.seed, number))
    if name == "quasi-random":
        return _params_at(config, encoding, _halton(number, config.training.seed))
    startup = max(STARTUP_TRIALS, MIN_ROWS)
    if name == "random" or len(list(islice((t for t in finished if t.is_scored), startup))) < startup:
        return _params_at(config, encoding, generator.random(_DIMENSIONS))
    if name == "law":
        return _by_law(config, finished, fits, generator)
    if name == "nsga2":
        return _by_optuna(config, name, encoding, _parents(finished), number)
    return _by_optuna(config, name, encoding, [t.trial for t in finished if t.trial is not None], number)


def _parents(finished: Sequence[FinishedTrial]) -> list[FrozenTrial]:
    """Return the population that evolution continues from: the best of the last trials, as one generation.

    Best by layers of non-domination, of equals the later. Without a generation of parents NSGA-II draws at
    random, whatever trials there are.
    """
    latest = list(islice(((t.costs, t.trial) for t in reversed(finished) if t.trial is not None), _LATEST))
    parents: list[FrozenTrial] = []
    while latest and len(parents) < _POPULATION:
        layer = set(front([(*costs, trial.values[-1]) for costs, trial in latest]))
        parents += [latest[i][1] for i in sorted(layer)]
        latest = [one for i, one in enumerate(latest) if i not in layer]
    generation = {optuna.samplers.NSGAIISampler._get_generation_key(): 0}
    return [
        optuna.trial.create_trial(
            params=t.params, distributions=t.distributions, values=t.values, system_attrs=generation
        )
        for t in parents[:_POPULATION]
    ]


def _by_law(
    config: SearchConfig,
    finished: Sequence[FinishedTrial],
    fits: Callable[[Candidate], bool],
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Return the random point whose model is expected to gain the most hypervolume."""
    scored = [t for t in finished if t.row is not None]
    rows = [t.row for t in scored if t.row is not None]
    known = {t.candidate for t in finished}
    pool = []
    for _ in range(POOL):
        params = _params_at(config, Encoding.CATEGORICAL, generator.random(_DIMENSIONS))
        resolved = resolve(suggest(optuna.trial.FixedTrial(params), config), config)
        if resolved.reason is None and resolved.candidate not in known:
            known.add(resolved.candidate)
            costs = _costs(resolved.candidate, config)
            if costs is not None:
                pool.append(_Pooled(params, resolved.candidate, costs))
    trained_costs, law = [t.costs for t in scored], fit_law(rows, settings=PROPOSALS)
    while pool:
        features = [_features(one.candidate, config) for one in pool]
        (best,) = propose(features, [one.costs for one in pool], law, trained_costs=trained_costs)
        chosen = pool.pop(best)
        if fits(chosen.candidate):
            return chosen.params
    return _params_at(config, Encoding.CATEGORICAL, generator.random(_DIMENSIONS))


class _Pooled(NamedTuple):
    params: dict[str, Any]
    candidate: Candidate
    costs: tuple[float, ...]


def _features(candidate: Candidate, config: SearchConfig) -> ShapeFeatures:
    """Return the features of the model that would be trained for a candidate."""
    architecture, runtime = candidate.architecture, config.budget.runtime
    bits = stored_bits_per_weight(architecture, format=candidate.format, runtime=runtime)
    return features_of(proxy_of(architecture, config) or architecture, bits_per_weight=bits)


def _costs(candidate: Candidate, config: SearchConfig) -> tuple[float, ...] | None:
    """Return what a candidate costs by each objective; None where one is not known."""
    budget = config.budget
    if config.objectives == (Objective.BYTES,):  # a grid's bytes, without an estimate
        size = file_bytes(candidate.architecture, candidate.format, budget.runtime, budget.tokenizer_bytes)
        return (float(size),)
    sized = trial_record(0, candidate, deployments(candidate, config), config)
    known = all(sized.cost(objective) is not None for objective in config.objectives)
    return sized.costs(config.objectives) if known else None


def _by_optuna(
    config: SearchConfig, name: str, encoding: Encoding, scored: Sequence[FrozenTrial], number: int
) -> dict[str, Any]:
    """Return what an Optuna sampler suggests after exactly these trials."""
    seed = (config.training.seed * 1_000_003 + number) % 2**32
    samplers: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
        "tpe": lambda: optuna.samplers.TPESampler(n_startup_trials=0, multivariate=True, seed=seed),
        "gp": lambda: optuna.samplers.GPSampler(n_startup_trials=0, seed=seed),
        "nsga2": lambda: optuna.samplers.NSGAIISampler(population_size=_POPULATION, seed=seed),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(directions=study_directions(config), sampler=samplers[name]())
        study.add_trials(scored)
        trial = study.ask()
        suggest(trial, config, encoding)
    return dict(trial.params)


def _params_at(
    config: SearchConfig, encoding: Encoding, unit: Sequence[float] | np.ndarray
) -> dict[str, Any]:
    """Return the parameters at a place in the unit cube."""
    trial = _UnitTrial(unit)
    suggest(trial, config, encoding)
    return trial.params


def _halton(number: int, seed: int) -> list[float]:
    """Return point `number` of a Halton sequence, each axis shifted by the seed (Cranley, Patterson 1976)."""
    from scipy.stats import qmc  # a quarter of a second to load, which other samplers need not wait for

    point = qmc.Halton(_DIMENSIONS, scramble=False).fast_forward(number + 1).random(1)[0]
    shifts = np.random.default_rng(seed).random(_DIMENSIONS)
    return [float(value) for value in (point + shifts) % 1]


class _UnitTrial:
    """An Optuna trial whose answers come from numbers in [0, 1), one for each axis."""

    def __init__(self, unit: _Unit) -> None:
        self._left = iter(unit)
        self.params: dict[str, Any] = {}

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        u = float(next(self._left))
        if log:
            value = round(_between(low - 0.5, high + 0.5, u))
        else:
            value = low + step * int(u * ((high - low) // step + 1))
        return int(self._keep(name, min(max(value, low), high)))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        u = float(next(self._left))
        if step is not None:
            value = low + step * int(u * (round((high - low) / step) + 1))
        else:
            value = _between(low, high, u) if log else low + u * (high - low)
        return float(self._keep(name, min(max(value, low), high)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._keep(name, choices[int(float(next(self._left)) * len(choices))])

    def _keep(self, name: str, value: Any) -> Any:
        self.params[name] = value
        return value


def _between(low: float, high: float, u: float) -> float:
    return exp(log(low) + u * (log(high) - log(low)))
