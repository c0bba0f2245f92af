"""The averaged ridge regression: against the textbook formulas, and leave-one-out against leaving one out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.stats import ridge
from search.stats.ridge import Floats, RegressionSpec


def _problem(seed: int, rows: int = 9) -> tuple[list[RegressionSpec], Floats]:
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((rows, 3))
    columns = np.column_stack([np.ones(rows), x])
    values = columns @ np.array([2.0, 0.5, -0.3, 0.0]) + 0.1 * generator.standard_normal(rows)
    forms = [
        RegressionSpec(
            columns=columns[:, :width],
            expected=np.array([2.0, 0.2, 0.0, 0.0])[:width],
            deviation=deviation * np.ones(width),
        )
        for width in (2, 3, 4)
        for deviation in (0.3, 2.0)
    ]
    return forms, values


@pytest.mark.parametrize("seed", range(3))
def test_a_single_form_is_the_textbook_posterior(seed: int) -> None:
    forms, values = _problem(seed)
    form, noise = forms[-1], 0.04
    (found,) = ridge.fit([form], values, np.array([noise])).posteriors
    precision = np.diag(form.deviation**-2.0) + form.columns.T @ form.columns / noise
    covariance = np.linalg.inv(precision)
    pulled = form.expected / form.deviation**2 + form.columns.T @ values / noise
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-9)
    np.testing.assert_allclose(found.coefficients, covariance @ pulled, rtol=1e-9)
    assert found.weight == 1
    new = np.array([[1.0, 0.5, -1.0, 2.0]])
    mean, variance = found.predict(new)
    assert mean[0] == pytest.approx(float(new[0] @ covariance @ pulled))
    assert variance[0] == pytest.approx(float(new[0] @ covariance @ new[0]) + noise)


def test_weights_are_the_evidence_of_a_normal_distribution() -> None:
    forms, values = _problem(0)
    noises = np.array([0.01, 0.05])
    density = {}
    for number, form in enumerate(forms):
        for noise in noises:
            covariance = form.columns @ np.diag(form.deviation**2) @ form.columns.T + noise * np.eye(9)
            rest = values - form.columns @ form.expected
            density[number, float(noise)] = np.exp(
                -0.5 * rest @ np.linalg.solve(covariance, rest) - 0.5 * np.linalg.slogdet(covariance)[1]
            )
    whole = sum(density.values())
    for part in ridge.fit(forms, values, noises).posteriors:
        assert part.weight == pytest.approx(density[part.form, part.noise_variance] / whole)


@pytest.mark.parametrize("seed", range(3))
def test_leave_one_out_is_a_fit_to_the_others(seed: int) -> None:
    forms, values = _problem(seed)
    noises = ridge.noise_variances(values)
    found = ridge.fit(forms, values, noises)
    for left in range(len(values)):
        rest = np.arange(len(values)) != left
        others = [
            RegressionSpec(columns=f.columns[rest], expected=f.expected, deviation=f.deviation) for f in forms
        ]
        parts = ridge.fit(others, values[rest], noises).posteriors
        said = [p.predict(forms[p.form].columns[left : left + 1]) for p in parts]
        mean = sum(p.weight * m[0] for p, (m, _) in zip(parts, said, strict=True))
        square = sum(p.weight * (v[0] + m[0] ** 2) for p, (m, v) in zip(parts, said, strict=True))
        weight = found.loo_weight[:, left]
        assert float(weight @ found.loo_mean[:, left]) == pytest.approx(float(mean), rel=1e-4)
        ours = weight @ (found.loo_variance[:, left] + found.loo_mean[:, left] ** 2)
        assert float(ours) == pytest.approx(float(square), rel=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=12))
def test_any_values_give_finite_answers(values: list[float]) -> None:
    columns = np.column_stack([np.ones(len(values)), np.arange(len(values), dtype=np.float64)])
    form = RegressionSpec(
        columns=columns, expected=np.array([np.mean(values), 0.0]), deviation=np.array([10.0, 1.0])
    )
    found = ridge.fit([form], np.array(values))
    assert sum(p.weight for p in found.posteriors) == pytest.approx(1, abs=1e-4)
    for part in found.posteriors:
        mean, variance = part.predict(columns)
        assert np.isfinite(mean).all()
        assert (variance > 0).all()
    np.testing.assert_allclose(found.loo_weight.sum(axis=0), 1)
