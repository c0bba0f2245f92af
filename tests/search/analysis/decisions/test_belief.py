"""The belief about losses: what runs move, what they leave to the law, and what noise they find."""

from __future__ import annotations

import numpy as np
import pytest

from search.analysis.decisions.belief import LossModel, PlannedScore
from search.analysis.decisions.value import Action, gains, sd_after, seeds_to_settle
from tests.search.analysis.decisions.worlds import point, runs

POINTS = (point(2, 96), point(3, 96), point(4, 64), point(6, 64))
FIRST_OR_SECOND = np.array([[1.0, -1.0, 0.0, 0.0]])


def test_a_clear_difference_of_runs_settles_a_question() -> None:
    model = LossModel(POINTS, target_tokens=1e6)
    seen = runs({0: 2.0, 1: 2.2, 2: 2.0, 3: 2.2}, 3, noise=0.004)
    assert model.believe(FIRST_OR_SECOND, seen).chances[0] > 0.95
    other = runs({0: 2.2, 1: 2.0, 2: 2.2, 3: 2.0}, 3, noise=0.004)
    assert model.believe(FIRST_OR_SECOND, other).chances[0] < 0.05


def test_without_runs_the_belief_is_the_laws() -> None:
    model = LossModel(POINTS, target_tokens=1e9)
    mean, _ = model.law(np.arange(4), np.full(4, 1e9))
    belief = model.believe(FIRST_OR_SECOND, ())
    assert belief.mean[0] == pytest.approx(mean[0] - mean[1])


def test_one_seed_of_a_small_difference_does_not_settle() -> None:
    """0.01 of 2.0 is less than one seed's usual noise of 0.014."""
    model = LossModel(POINTS, target_tokens=1e6)
    seen = runs({0: 2.0, 1: 2.01}, 1, noise=0.0)
    assert 0.55 < model.believe(FIRST_OR_SECOND, seen, with_law=False).chances[0] < 0.9


def test_runs_far_from_the_targets_length_move_the_belief_less() -> None:
    seen = runs({0: 2.0, 1: 2.2, 2: 2.0, 3: 2.2}, 3, noise=0.004, tokens=1e5)
    near = LossModel(POINTS, target_tokens=1e5).believe(FIRST_OR_SECOND, seen, with_law=False).chances[0]
    far = LossModel(POINTS, target_tokens=1e9).believe(FIRST_OR_SECOND, seen, with_law=False).chances[0]
    assert 0.5 < far < near


@pytest.mark.parametrize("noise", [0.003, 0.015])
def test_replicates_show_the_noise_of_seeds(noise: float) -> None:
    model = LossModel(POINTS, target_tokens=1e6)
    seen = runs({0: 2.0, 1: 2.05, 2: 2.1, 3: 2.0}, 8, noise=noise)
    assert model.believe(FIRST_OR_SECOND, seen).seed_sd == pytest.approx(noise, rel=0.6)


def test_formats_of_one_run_differ_without_the_seeds_noise() -> None:
    """Two formats scored from the same weights: 0.2 % is clear after one seed."""
    points = (point(2, 96, "F16"), point(2, 96, "Q4_0"), point(3, 96, "F16"), point(3, 96, "Q4_0"))
    seen = runs({0: 2.0, 1: 2.008, 2: 2.1, 3: 2.1084}, 1, noise=0.0)
    belief = LossModel(points, target_tokens=1e6).believe(FIRST_OR_SECOND, seen, with_law=False)
    assert belief.chances[0] > 0.9


def test_more_seeds_leave_less_open_and_settle_what_they_can() -> None:
    model = LossModel(POINTS, target_tokens=1e6)
    seen = runs({0: 2.0, 1: 2.03}, 1, noise=0.0)
    planned = [PlannedScore(point=0, tokens=1e6), PlannedScore(point=1, tokens=1e6)]
    posterior = model.believe(FIRST_OR_SECOND, seen, planned=planned).likeliest
    before, few, many = (
        float(posterior.sd[0]),
        sd_after(posterior, 0, (1, 2), seeds=1),
        sd_after(posterior, 0, (1, 2), seeds=8),
    )
    assert many < few < before
    assert seeds_to_settle(posterior, 0, (1, 2)) is not None


def test_a_run_is_worth_most_where_a_choice_is_open() -> None:
    """Points 0 and 1 are tied after one seed each; 2 and 3 are far apart."""
    model = LossModel(POINTS, target_tokens=1e6)
    seen = runs({0: 2.0, 1: 2.005, 2: 2.0, 3: 2.6}, 1, noise=0.0)
    questions = np.array([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]])
    planned = [PlannedScore(point=place, tokens=1e6) for place in range(4)]
    belief = model.believe(questions, seen, planned=planned)
    gain = gains(belief, 2, [Action(runs=(0, 1), seconds=1.0), Action(runs=(2, 3), seconds=1.0)])
    assert gain[0] > 3 * gain[1] > 0
