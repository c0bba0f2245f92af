"""Forecasts: worked by hand from the seconds of a step; and steps really timed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.run.forecast import _most, forecast, step_seconds, within
from search.space.config import SearchConfig
from sizer.errors import InvalidQuantity, NoFit

CONFIG = SearchConfig(trials=9, steps=9000, batch_size=8, seq_len=128, formats=("Q4_0", "Q8_0"))


def test_a_forecast_by_hand() -> None:
    found = forecast(CONFIG, 0.1)
    # 9 models to 1000 steps, 3 to 3000, 1 to 9000, which cools down over 900 more
    steps = 9 * 1000 + 3 * 2000 + 6000 + 900
    assert (found.steps, found.tokens, found.rungs) == (steps, steps * 1024, (1000, 3000, 9000))
    assert found.seconds == pytest.approx(0.1 * steps + 9 * 1.5)
    assert found.text() == "9 models for 1,000 then 3,000 then 9,000 steps, 22.43M tokens, about 36m 44s"
    # a study with few-bit formats scores every run to an earlier rung after a tenth more on a copy
    aside = 9 * 100 + 3 * 300
    assert forecast(replace(CONFIG, formats=("TQ1_0", "Q8_0")), 0.1).steps == steps + aside
    assert forecast(replace(CONFIG, workers=2), 0.1).seconds == pytest.approx(found.seconds / 2)


def test_as_many_models_as_fit_into_a_time() -> None:
    one_rung = replace(CONFIG, steps=1000)
    fitted = within(one_rung, 3600, 0.1, keep_trials=False)
    assert (fitted.trials, fitted.steps) == (35, 1000)  # 101.5 s each
    fewer_steps = within(one_rung, 300, 0.1, keep_trials=False)
    assert (fewer_steps.trials, fewer_steps.steps) == (8, 360)  # 8 x (36 + 1.5) s
    kept = within(one_rung, 300, 0.1, keep_trials=True)
    assert (kept.trials, kept.steps) == (9, 318)
    with pytest.raises(
        InvalidQuantity, match=r"minutes: 8 models of 50 steps take about 0\.9 minutes here, got 0\.5"
    ):
        within(one_rung, 30, 0.1, keep_trials=False)


@given(st.floats(60, 1e6), st.floats(0.001, 1.0), st.booleans())
def test_what_was_fitted_fits(seconds: float, step_s: float, keep: bool) -> None:
    try:
        fitted = within(CONFIG, seconds, step_s, keep_trials=keep)
    except InvalidQuantity:
        return
    assert forecast(fitted, step_s).seconds <= seconds
    assert fitted.steps <= CONFIG.steps
    assert fitted.trials == CONFIG.trials or not keep


@given(st.integers(-5, 50), st.integers(0, 40))
def test_the_most_that_fits(limit: int, high: int) -> None:
    assert _most(lambda n: n <= limit, 1, high) == max(0, min(limit, high))


def test_steps_are_timed_on_models_of_the_space() -> None:
    tiny = SearchConfig(max_size_bytes=150_000, batch_size=2, seq_len=32, max_executed_layers=3)
    assert 0 < step_seconds(tiny) < 5
    with pytest.raises(NoFit, match="budget: file: no shape"):
        step_seconds(SearchConfig(max_size_bytes=10_000))
