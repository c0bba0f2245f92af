"""Forecasts: worked by hand from the seconds of a step; and steps really timed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.config.config import SearchConfig
from search.run.forecast import (
    _most,
    checkpoint_bytes,
    forecast,
    small_enough,
    step_seconds,
    timed_steps_s,
    within,
)
from search.space.ffn_growth import with_growth
from search.training.training_run import TrainConfig
from sizer.errors import InvalidQuantity, NoFit
from sizer.shapes.near_count import architecture_near
from sizer.tensors import count_parameters, tensor_specs
from tests.search.records import TINY

CONFIG = SearchConfig.build(
    trials=9, steps=9000, batch_size=8, seq_len=128, formats=("Q4_0", "Q8_0"), audit_pairs=0
)


def test_a_forecast_by_hand() -> None:
    found = forecast(CONFIG, 0.1)
    # 9 models to 1000 steps, 3 to 3000, 1 to 9000, which cools down over 900 more
    steps = 9 * 1000 + 3 * 2000 + 6000 + 900
    assert (found.steps, found.tokens, found.rungs) == (steps, steps * 1024, (1000, 3000, 9000))
    assert found.seconds == pytest.approx(0.1 * steps + 9 * 1.5)
    assert found.doubt == ""
    assert found.text() == "9 models for 1,000 then 3,000 then 9,000 steps, 22.43M tokens, about 36m 44s"
    # a study with few-bit formats scores every run to an earlier rung after a tenth more on a copy
    aside = 9 * 100 + 3 * 300
    assert forecast(CONFIG.changed(formats=("TQ1_0", "Q8_0")), 0.1).steps == steps + aside
    assert forecast(CONFIG.changed(workers=2), 0.1).seconds == pytest.approx(found.seconds / 2)
    # a pair of one size goes on with those that survive, and is trained once more from another seed
    assert forecast(CONFIG.changed(audit_pairs=1), 0.1).steps == 9 * 1000 + 5 * 2000 + 4 * 6900 + 2 * 9900


def test_as_many_models_as_fit_into_a_time() -> None:
    one_rung = CONFIG.changed(steps=1000)
    fitted = within(one_rung, 3600, 0.1, keep_trials=False)
    assert (fitted.training.trials, fitted.training.steps) == (35, 1000)  # 101.5 s each
    fewer_steps = within(one_rung, 300, 0.1, keep_trials=False)
    assert (fewer_steps.training.trials, fewer_steps.training.steps) == (8, 360)  # 8 x (36 + 1.5) s
    assert forecast(fewer_steps, 0.1).doubt.startswith("; runs of fewer than 1,000 steps often order depths")
    assert forecast(fitted, 0.1).doubt == ""
    kept = within(one_rung, 300, 0.1, keep_trials=True)
    assert (kept.training.trials, kept.training.steps) == (9, 318)
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
    assert fitted.training.steps <= CONFIG.training.steps
    assert fitted.training.trials == CONFIG.training.trials or not keep


@given(st.integers(-5, 50), st.integers(0, 40))
def test_the_most_that_fits(limit: int, high: int) -> None:
    assert _most(lambda n: n <= limit, 1, high) == max(0, min(limit, high))


def test_steps_are_timed_on_models_of_the_space() -> None:
    tiny = SearchConfig.build(max_size_bytes=150_000, batch_size=2, seq_len=32, max_executed_layers=3)
    assert 0 < step_seconds(tiny) < 5
    with pytest.raises(NoFit, match="budget: file: no shape"):
        step_seconds(SearchConfig.build(max_size_bytes=10_000))


@pytest.mark.parametrize(("step_s", "steps"), [(0.9, 1), (0.1, 4)])
def test_long_steps_are_not_repeated(monkeypatch: pytest.MonkeyPatch, step_s: float, steps: int) -> None:
    clock, taken = [0.0], []

    class Slow:
        def sync_weights(self) -> None: ...

        def step(self, windows: object, rate: float, number: int) -> None:
            clock[0] += step_s
            taken.append(number)

        def pop_loss(self) -> None: ...

    monkeypatch.setattr("search.run.forecast.make_train_step", lambda *args, **kwargs: Slow())
    monkeypatch.setattr("search.run.forecast.time.perf_counter", lambda: clock[0])
    assert timed_steps_s([TINY], TrainConfig(steps=1)) == [pytest.approx(step_s)]
    assert len(taken) == steps


def test_a_large_model_is_timed_by_its_first_layers() -> None:
    large = architecture_near(450_000_000)
    few, scale = small_enough(large)
    counts = [count_parameters(tensor_specs(one)).total for one in (large, few)]
    # the table alone has more than the 20M that are timed
    assert few.num_layers == 1
    assert counts[1] < counts[0] / 5
    assert scale == pytest.approx(counts[0] / counts[1])
    assert (few.hidden_size, few.intermediate_size) == (large.hidden_size, large.intermediate_size)
    grown = with_growth(large, 4.0, 64)  # no more of it is trained than of equal layers
    assert grown.layers_differ
    assert small_enough(grown)[0] == replace(few, name=grown.name)
    small = architecture_near(5_000_000)
    assert small_enough(small) == (small, 1.0)


def test_checkpoints_of_all_models_are_kept_until_the_best_are_chosen() -> None:
    tiny = SearchConfig.build(
        max_size_bytes=150_000, trials=10, workers=2, steps=900, lowest_rung_steps=100, eta=3.0
    )
    rungs, alone = checkpoint_bytes(tiny), checkpoint_bytes(tiny.changed(rungs=1))
    assert rungs == pytest.approx(5 * alone, rel=0.01)  # 10 models, or 2 in training
    # models that fill a share of 150 kB have 50,000 to 400,000 parameters, of 12 bytes each
    assert 10 * 12 * 50_000 < rungs < 10 * 12 * 400_000
