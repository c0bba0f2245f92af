"""Gaussian conditioning against sums worked by hand and against draws."""

from __future__ import annotations

import numpy as np
import pytest

from search.stats.gaussian import chance_below_zero, condition


def test_one_observation_moves_a_number_by_its_share_of_the_variance() -> None:
    """Prior 0 with variance 4, an observation 3 with noise 2: mean 2, variance 4/3."""
    found = condition(
        mean=np.zeros(1),
        covariance=np.full((1, 1), 4.0),
        cross=np.full((1, 1), 4.0),
        observed_covariance=np.full((1, 1), 6.0),
        residuals=np.array([3.0]),
    )
    assert found.mean[0] == pytest.approx(2.0)
    assert found.covariance[0, 0] == pytest.approx(4 / 3)
    assert found.log_evidence == pytest.approx(-0.5 * (9 / 6 + np.log(2 * np.pi * 6)))


def test_a_difference_is_learned_from_what_it_is_correlated_with() -> None:
    """Two numbers with correlation 0.5: one seen exactly tells half of the other."""
    covariance = np.array([[1.0, 0.5], [0.5, 1.0]])
    found = condition(
        mean=np.zeros(2),
        covariance=covariance,
        cross=covariance[:, :1],
        observed_covariance=covariance[:1, :1],
        residuals=np.array([2.0]),
    )
    assert found.mean.tolist() == pytest.approx([2.0, 1.0])
    assert np.diag(found.covariance).tolist() == pytest.approx([0.0, 0.75])


def test_without_observations_nothing_changes() -> None:
    found = condition(
        mean=np.ones(1),
        covariance=np.eye(1),
        cross=np.zeros((1, 0)),
        observed_covariance=np.zeros((0, 0)),
        residuals=np.zeros(0),
    )
    assert found.mean[0] == 1
    assert found.covariance[0, 0] == 1
    assert found.log_evidence == 0


@pytest.mark.parametrize(
    ("mean", "sd", "chance"), [(-1.6448536, 1.0, 0.95), (2.0, 0.0, 0.0), (0.0, 0.0, 0.5)]
)
def test_chances(mean: float, sd: float, chance: float) -> None:
    assert chance_below_zero(mean, sd) == pytest.approx(chance, abs=1e-6)
