"""Which point of the space to try next.

The answer depends on the seed, the trial's number and the results of earlier trials only, so that a search
that was stopped, killed or run by several workers asks for the same models in the end.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from math import exp, log
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from search.law.law import MIN_ROWS, fit_law
from search.law.propose import propose
from search.law.shapes import LawRow, ShapeFeatures, features_of, stored_bits_per_weight
from search.proxy.scaled import proxy_of
from search.space.config import SearchConfig
from search.space.formats import file_bytes
from search.space.resolve import resolve_or_say_why
from search.space.space import Encoding, suggest
from search.space.starts import starting_points
from search.store.results import Candidate
from sizer.errors import SizerError

# Trials with a score before a model of the space is asked: fewer teach it nothing.
STARTUP_TRIALS = 8
# Points that the law chooses from, drawn anew for each trial.
POOL = 192
# Up to so many trials the law (or a Gaussian process) knows best; beyond, evolution does.
_MANY_TRIALS = 250

_CONTROLS = ("random", "quasi-random")  # what a search must beat: no hand-made starts either
_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A finished trial, as far as proposals go."""

    trial: FrozenTrial
    row: LawRow | None  # of one that came to a score
    candidate: Candidate


@lru_cache(maxsize=8)
def _starts(config: SearchConfig, encoding: Encoding) -> tuple[dict[str, Any], ...]:
    return starting_points(config, encoding)


def sampler_of(config: SearchConfig) -> str:
    """The sampler that `auto` stands for: the law, and evolution from 250 trials on.

    Measured on 200 decoders (docs/replay.md): 20 trials guided by the law leave half the hypervolume that 20
    random ones leave.
    """
    if config.sampler != "auto":
        return config.sampler
    return "law" if config.trials <= _MANY_TRIALS else "nsga2"


def encoding_of(config: SearchConfig) -> Encoding:
    """How choices are put: as ordered numbers to samplers that know nothing else."""
    return Encoding.ORDERED if sampler_of(config) == "gp" else Encoding.CATEGORICAL


def next_point(
    config: SearchConfig, number: int, told: Sequence[Told], fits: Callable[[Candidate], bool]
) -> dict[str, Any]:
    """Parameters of trial `number`; `fits` says whether a candidate is within memory and speed limits."""
    encoding, name = encoding_of(config), sampler_of(config)
    if name not in _CONTROLS:
        starts = _starts(config, encoding)
        if number < len(starts):
            return dict(starts[number])
    generator = np.random.default_rng((config.seed, number))
    scored = [t for t in told if t.row is not None]
    if name == "quasi-random":
        return _point(config, encoding, _halton(number, config.seed))
    if name == "random" or len(scored) < max(STARTUP_TRIALS, MIN_ROWS):
        return _point(config, encoding, generator.random(len(_PRIMES)))
    if name == "law":
        return _by_law(config, told, fits, generator)
    return _by_optuna(config, name, encoding, [t.trial for t in scored], number)


def _by_law(
    config: SearchConfig,
    told: Sequence[Told],
    fits: Callable[[Candidate], bool],
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Of random points the one whose model is expected to gain most hypervolume."""
    rows = [t.row for t in told if t.row is not None]
    known = {t.candidate for t in told}
    points, candidates = [], []
    for _ in range(POOL):
        point = _point(config, Encoding.CATEGORICAL, generator.random(len(_PRIMES)))
        resolved = resolve_or_say_why(suggest(optuna.trial.FixedTrial(point), config), config)
        if resolved.reason is None and resolved.candidate not in known:
            known.add(resolved.candidate)
            points.append(point)
            candidates.append(resolved.candidate)
    if not points:
        return _point(config, Encoding.CATEGORICAL, generator.random(len(_PRIMES)))
    sized = [_sized(candidate, config) for candidate in candidates]
    order = propose([f for f, _ in sized], [b for _, b in sized], fit_law(rows), count=len(points))
    best = next((i for i in order if fits(candidates[i])), order[0])
    return points[best]


def _sized(candidate: Candidate, config: SearchConfig) -> tuple[ShapeFeatures, float]:
    """Features of what would be trained for a candidate, and bytes of its own file."""
    architecture, runtime = candidate.architecture, config.runtime
    bits = stored_bits_per_weight(architecture, format=candidate.format, runtime=runtime)
    size = file_bytes(architecture, candidate.format, runtime)
    trained = proxy_of(architecture, config) or architecture
    return features_of(trained, bits_per_weight=bits), float(size)


def _by_optuna(
    config: SearchConfig, name: str, encoding: Encoding, scored: Sequence[FrozenTrial], number: int
) -> dict[str, Any]:
    """What an Optuna sampler asks for after exactly these trials."""
    seed = (config.seed * 1_000_003 + number) % 2**32
    samplers: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
        "tpe": lambda: optuna.samplers.TPESampler(n_startup_trials=0, multivariate=True, seed=seed),
        "gp": lambda: optuna.samplers.GPSampler(n_startup_trials=0, seed=seed),
        "nsga2": lambda: optuna.samplers.NSGAIISampler(population_size=20, seed=seed),
    }
    if name == "gp" and find_spec("scipy") is None:
        raise SizerError("sampler: 'gp' needs the package scipy (extra `gp`), which is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(directions=["minimize", "minimize"], sampler=samplers[name]())
        study.add_trials(scored)
        trial = study.ask()
        suggest(trial, config, encoding)
    return dict(trial.params)


def _point(config: SearchConfig, encoding: Encoding, unit: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """The parameters at a place of the unit cube."""
    trial = _UnitTrial(unit)
    suggest(trial, config, encoding)
    return trial.params


def _halton(number: int, seed: int) -> list[float]:
    """Point `number` of a Halton sequence, each axis turned by the seed (Cranley and Patterson 1976)."""
    turns = np.random.default_rng(seed).random(len(_PRIMES))
    return [
        (_radical_inverse(number + 1, prime) + turn) % 1 for prime, turn in zip(_PRIMES, turns, strict=True)
    ]


def _radical_inverse(number: int, base: int) -> float:
    """The number's digits mirrored behind the point.

    >>> [_radical_inverse(n, 2) for n in (1, 2, 3)]
    [0.5, 0.25, 0.75]
    """
    value, weight = 0.0, 1.0
    while number:
        weight /= base
        number, digit = divmod(number, base)
        value += digit * weight
    return value


class _UnitTrial:
    """Stands in for an Optuna trial: answers each question from the next number in [0, 1)."""

    def __init__(self, unit: Sequence[float] | np.ndarray) -> None:
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
