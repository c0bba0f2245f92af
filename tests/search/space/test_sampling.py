"""Proposals: from the seed, the number and earlier results only; the law's are expected to gain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.config.config import SAMPLERS, SearchConfig
from search.quality.features import LawRow, features_of
from search.space.initial_points import initial_points, initial_suggestions
from search.space.resolve import resolve
from search.space.sampling import (
    _DIMENSIONS,
    STARTUP_TRIALS,
    FinishedTrial,
    _costs,
    _features,
    _halton,
    _UnitTrial,
    encoding_of,
    next_params,
    sampler_of,
)
from search.space.space import suggest
from search.store.results import Candidate

CONFIG = SearchConfig.build(max_size_bytes=1_000_000, max_executed_layers=8, max_hidden_size=256)


def _fits(candidate: Candidate) -> bool:
    return True


def _told(config: SearchConfig, count: int) -> list[FinishedTrial]:
    """Trials at quasi-random points with losses that fall with depth and width."""
    control = config.changed(sampler="quasi-random")
    study = optuna.create_study(directions=["minimize", "minimize"])
    told = []
    for number in range(count):
        study.enqueue_trial(next_params(control, number, [], _fits))
        trial = study.ask()
        candidate = resolve(suggest(trial, config, encoding_of(config)), config).candidate
        shape = candidate.architecture
        loss = 1 + 2 / shape.executed_layers + 30 / shape.hidden_size
        row = LawRow(
            name=shape.name,
            features=features_of(shape, bits_per_weight=4.5),
            size_bytes=100_000.0 * (number + 1),
            loss=loss,
        )
        study.tell(trial, [row.size_bytes, loss])
        told.append(
            FinishedTrial(trial=study.trials[number], row=row, candidate=candidate, costs=(row.size_bytes,))
        )
    return told


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_same_question_has_the_same_answer(name: str) -> None:
    config = CONFIG.changed(sampler=name)
    told = _told(config, 12)
    first = next_params(config, 12, told, _fits)
    assert next_params(config, 12, told, _fits) == first
    assert next_params(config.changed(seed=1), 12, told, _fits) != first
    suggest(optuna.trial.FixedTrial(first), config, encoding_of(config))  # every parameter is there, in range


def test_hand_made_shapes_come_first_but_not_for_the_controls() -> None:
    starts = initial_points(CONFIG)
    assert [next_params(CONFIG, n, [], _fits) for n in range(len(starts))] == list(starts)
    for control in ("random", "quasi-random"):
        assert next_params(CONFIG.changed(sampler=control), 0, [], _fits) not in starts


def test_a_law_needs_some_trials_first() -> None:
    number = len(initial_points(CONFIG))
    few = _told(CONFIG, STARTUP_TRIALS - 1)
    random = next_params(CONFIG.changed(sampler="random"), number, [], _fits)
    assert next_params(CONFIG, number, few, _fits) == random
    assert next_params(CONFIG, number, _told(CONFIG, STARTUP_TRIALS), _fits) != random


def test_the_law_proposes_what_is_new_and_fits() -> None:
    told = _told(CONFIG, 12)

    def proposed(fits: Callable[[Candidate], bool]) -> Candidate:
        point = next_params(CONFIG, 12, told, fits)
        return resolve(suggest(optuna.trial.FixedTrial(point), CONFIG), CONFIG).candidate

    first = proposed(_fits)
    assert first not in {t.candidate for t in told}
    refused: list[Candidate] = []

    def of_other_depth(candidate: Candidate) -> bool:
        if candidate.architecture.executed_layers == first.architecture.executed_layers:
            refused.append(candidate)
            return False
        return True

    second = proposed(of_other_depth)
    assert refused[0] == first
    assert second.architecture.executed_layers != first.architecture.executed_layers
    assert second not in {t.candidate for t in told}


def test_candidates_are_judged_by_what_would_be_trained_for_them() -> None:
    config = CONFIG.changed(head_dims=(32,), proxy_width_scale=0.5)
    candidate = resolve(initial_suggestions(config)[0], config).candidate
    features, itself = _features(candidate, config), _features(candidate, CONFIG)
    assert _costs(candidate, config) == _costs(candidate, CONFIG)
    assert features.width == 16 * int(candidate.architecture.hidden_size / 32 + 0.5)
    assert itself.width == candidate.architecture.hidden_size
    assert features.bits_per_weight == itself.bits_per_weight


def test_which_sampler_auto_is() -> None:
    assert sampler_of(CONFIG) == "law"
    assert sampler_of(CONFIG.changed(trials=251)) == "nsga2"
    assert sampler_of(CONFIG.changed(sampler="tpe")) == "tpe"


def test_points_of_the_halton_sequence_are_mirrored_digits_shifted_by_the_seed() -> None:
    shifts = np.random.default_rng(7).random(_DIMENSIONS)
    points = (np.array([_halton(number, 7) for number in range(4)]) - shifts) % 1
    assert points[:, 0] == pytest.approx([0.5, 0.25, 0.75, 0.125])  # base 2
    assert points[:, 1] == pytest.approx([1 / 3, 2 / 3, 1 / 9, 4 / 9])  # base 3


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 40), st.integers(0, 60), st.booleans())
def test_places_of_the_unit_cube_are_in_range(u: float, low: int, span: int, log: bool) -> None:
    trial = _UnitTrial([u, u, u])
    whole = trial.suggest_int("n", low, low + span, log=log)
    assert low <= whole <= low + span
    assert low <= trial.suggest_float("x", low, low + span, log=log) <= low + span
    half = trial.suggest_float("h", 1.5, 4.0, step=0.5)
    assert half in (1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
    assert trial.params == {"n": whole, "x": trial.params["x"], "h": half}


def test_every_option_of_a_place_can_be_reached() -> None:
    def options(ask: Any) -> set[Any]:
        return {ask(_UnitTrial([i / 100])) for i in range(100)}

    assert options(lambda t: t.suggest_int("n", 2, 5)) == {2, 3, 4, 5}
    assert options(lambda t: t.suggest_int("n", 2, 24, log=True)) >= {2, 3, 5, 24}
    assert options(lambda t: t.suggest_categorical("c", "abc")) == {"a", "b", "c"}
