"""Carrying scores over: the law of the proxies at the width of the models, and a range for short runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from search.law.carry import LONG_STEPS, SHORT_SHARE, carried, carried_over
from search.law.law import LawPrediction, fit_law
from search.law.shapes import ShapeFeatures, model_features
from search.proxy.scaled import scaled_proxy
from search.store.results import Candidate, SearchResult, TrialRecord, TrialStatus
from sizer.architecture import Architecture
from tests.search.law_rows import drawn, true_loss
from tests.search.records import TINY, proxy, record


def _wider(shape: ShapeFeatures, by: float) -> ShapeFeatures:
    return replace(shape, width=by * shape.width, parameters=by**2 * shape.parameters)


def test_a_law_that_is_true_is_carried_over_to_four_times_the_width() -> None:
    inside, errors, gains = [], [], []
    for seed in range(6):
        rows = drawn(24, noise=0.005, seed=seed, largest_width=256)
        proxies = [row.features for row in rows]
        models = [_wider(shape, 4) for shape in proxies]
        found = carried(rows, proxies, models, steps=LONG_STEPS)
        for prediction, narrow, wide in zip(found, proxies, models, strict=True):
            truth = true_loss(wide)
            inside.append(prediction.low <= truth <= prediction.high)
            errors.append(abs(prediction.value - truth))
            gains.append(true_loss(narrow) - truth)
    assert np.mean(errors) < 0.1 * np.mean(gains)
    assert np.mean(inside) >= 0.8


def test_after_short_runs_the_range_allows_for_a_share_of_the_gain() -> None:
    rows = drawn(16, noise=0.01, seed=1, largest_width=256)
    proxies = [row.features for row in rows[:3]]
    models = [_wider(shape, 4) for shape in proxies]
    law = fit_law(rows)
    short, long = (carried(rows, proxies, models, steps=steps) for steps in (LONG_STEPS - 1, LONG_STEPS))
    for before, after, narrow, wide in zip(
        short, long, law.predict(proxies), law.predict(models), strict=True
    ):
        assert (after.value, after.sd) == pytest.approx((wide.value, wide.sd))
        assert before.value == after.value
        gain = narrow.value - wide.value
        assert before.sd**2 - after.sd**2 == pytest.approx((SHORT_SHARE * gain) ** 2)


def _model(depth: int, width: int) -> Architecture:
    return replace(
        TINY,
        name=f"{depth}x{width}",
        vocab_size=1000,
        num_layers=depth,
        hidden_size=width,
        intermediate_size=2 * width,
        num_heads=width // 64,
        num_kv_heads=width // 64,
        head_dim=64,
    )


def _record(number: int, depth: int, width: int, *, rungs: int = 1) -> TrialRecord:
    """A model of 1,000 tokens scored by a proxy of a quarter of its width, better with every rung."""
    model = _model(depth, width)
    score = 1.0 + depth**-0.5 + 8 * (width / 4) ** -0.5
    runs = tuple(replace(proxy(score - 0.1 * r, steps=100 * (r + 1)), rung=r) for r in range(rungs))
    return replace(
        record(number),
        candidate=Candidate(architecture=model, format="Q4_0"),
        scaled=scaled_proxy(model, width_scale=0.25, vocab_size=256),
        proxy=runs[-1],
        runs=runs,
    )


def _study(records: Sequence[TrialRecord]) -> SearchResult:
    return SearchResult(
        study="p",
        device=None,
        runtime="llama.cpp",
        budget={},
        corpus="builtin",
        corpus_digest="",
        trials_requested=len(records),
        settings={},
        records=tuple(records),
    )


SHAPES = [(2, 256), (4, 256), (8, 256), (2, 512), (4, 512), (8, 512), (2, 1024), (4, 1024), (8, 1024)]


def test_every_trained_model_of_a_study_of_proxies_is_predicted() -> None:
    records = [_record(n, *shape) for n, shape in enumerate(SHAPES)]
    failed = replace(records[0], number=9, proxy=proxy(status=TrialStatus.DIVERGED), runs=())
    found = carried_over(_study([*records, failed]))
    assert found is not None
    assert (found.steps, found.proxies) == (100, 9)
    assert sorted(found.predictions) == list(range(9))
    assert found.agreement is not None
    assert found.agreement > 0.7
    for one in records:
        assert one.proxy is not None
        # wider than its proxy, so better; the true score is 1 + depth^-0.5 + 8 width^-0.5
        prediction, width = found.predictions[one.number], one.candidate.architecture.hidden_size
        assert prediction.value < (one.proxy.val_bits_per_byte or 0)
        depth = one.candidate.architecture.num_layers
        assert prediction.low <= 1.0 + depth**-0.5 + 8 * width**-0.5 <= prediction.high


def test_models_are_asked_at_their_width_in_the_proxies_vocabulary() -> None:
    one = _record(0, 4, 512)
    features = model_features(one, runtime="llama.cpp")
    assert (features.width, features.head_dim) == (512, 64)
    # 256 rows of 512, and 4 x (4 x 512^2 + 3 x 512 x 1024 + 2 x 512) + 512
    assert features.parameters == 131_072 + 4 * (1_048_576 + 1_572_864 + 1_024) + 512


def test_the_longest_rung_with_enough_models_teaches_the_law() -> None:
    few = [_record(n, *shape, rungs=2 if n < 7 else 1) for n, shape in enumerate(SHAPES)]
    found = carried_over(_study(few))
    assert found is not None
    assert (found.steps, found.fitted_steps, found.proxies) == (200, 100, 9)
    # the seven that went on are better by 0.1 each
    alone = carried_over(_study([_record(n, *shape) for n, shape in enumerate(SHAPES)]))
    assert alone is not None
    for number, before in alone.predictions.items():
        moved = found.predictions[number]
        assert (moved.value, moved.sd) == pytest.approx((before.value - 0.1, before.sd))
    many = [_record(n, *shape, rungs=2 if n < 8 else 1) for n, shape in enumerate(SHAPES)]
    found = carried_over(_study(many))
    assert found is not None
    assert (found.steps, found.fitted_steps, found.proxies) == (200, 200, 8)
    assert sorted(found.predictions) == list(range(9))


def _predicted(records: Sequence[TrialRecord]) -> dict[int, LawPrediction]:
    found = carried_over(_study(records))
    assert found is not None
    return dict(found.predictions)


def test_finalists_that_gained_unlike_each_other_widen_the_range() -> None:
    both = [_record(n, *shape, rungs=2 if n < 2 else 1) for n, shape in enumerate(SHAPES)]
    early, late = both[1].runs
    better = replace(late, val_bits_per_byte=(late.val_bits_per_byte or 0) - 0.2)
    found = _predicted([both[0], replace(both[1], proxy=better, runs=(early, better)), *both[2:]])
    only = _predicted([both[0], replace(both[1], proxy=early, runs=(early,)), *both[2:]])
    before = _predicted([replace(one, proxy=one.runs[0], runs=one.runs[:1]) for one in both])
    for number, one in before.items():
        # gains of 0.1 and 0.3: mean 0.2, deviation 0.1 x sqrt 2, of one more sqrt(1 + 1/2) times as much
        assert found[number].value == pytest.approx(one.value - 0.2)
        assert found[number].sd ** 2 - one.sd**2 == pytest.approx(0.02 * 1.5)
        # one finalist: nothing says how finalists differ
        assert only[number].value == pytest.approx(one.value - 0.1)
        assert only[number].sd ** 2 - one.sd**2 == pytest.approx(0.01)


def test_nothing_is_carried_over_without_proxies_or_of_too_few() -> None:
    records = [_record(n, *shape) for n, shape in enumerate(SHAPES)]
    assert carried_over(_study(records[:3])) is None
    assert carried_over(_study([replace(one, scaled=None) for one in records])) is None
    assert carried_over(_study([])) is None
    assert carried_over(_study([_record(n, depth, 512) for n, depth in enumerate(range(2, 10))])) is None


def test_a_head_width_that_the_law_has_not_seen_widens_the_range() -> None:
    rows = [replace(r, features=replace(r.features, head_dim=16)) for r in drawn(16, noise=0.01, seed=2)]
    proxies = [rows[0].features]
    models = [_wider(proxies[0], 4)]
    (same,) = carried(rows, proxies, models, steps=LONG_STEPS)
    (wider,) = carried(rows, proxies, [replace(models[0], head_dim=64)], steps=LONG_STEPS)
    # slope 0.0041 and its deviation 0.0068 of the loss for each unit of the logarithm (data/law_prior.toml)
    level = float(np.mean([row.loss for row in rows]))
    allowed = level * (0.0041**2 + 0.0068**2) ** 0.5 * np.log(4)
    assert wider.value == same.value
    assert wider.sd**2 - same.sd**2 == pytest.approx(allowed**2, rel=1e-3)
