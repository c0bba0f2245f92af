"""Extrapolated scores: the law of the proxies at the shape and the tokens of the models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from search.analysis.extrapolation import extrapolate, extrapolate_study
from search.quality.features import ShapeFeatures, model_features
from search.quality.law import LawPrediction
from search.store.results import Candidate, SearchResult, TrialRecord, TrialStatus
from search.training.scaled_proxy import scaled_proxy
from sizer.architecture import Architecture
from tests.search.law_rows import drawn, true_loss
from tests.search.records import TINY, proxy, record


def _wider(shape: ShapeFeatures, by: float) -> ShapeFeatures:
    return replace(shape, width=by * shape.width, parameters=by**2 * shape.parameters)


def test_a_law_that_is_true_is_extrapolated_to_four_times_the_width() -> None:
    inside, errors, gains = [], [], []
    for seed in range(6):
        rows = drawn(24, noise=0.005, seed=seed, largest_width=256)
        proxies = [row.features for row in rows]
        models = [_wider(shape, 4) for shape in proxies]
        found = extrapolate(rows, models)
        for prediction, narrow, wide in zip(found, proxies, models, strict=True):
            truth = true_loss(wide)
            inside.append(prediction.low <= truth <= prediction.high)
            errors.append(abs(prediction.value - truth))
            gains.append(true_loss(narrow) - truth)
    assert np.mean(errors) < 0.1 * np.mean(gains)
    assert np.mean(inside) >= 0.8


def test_models_are_asked_at_their_own_tokens() -> None:
    rows = drawn(16, noise=0.003, seed=1)
    shape = rows[0].features
    short, long = extrapolate(rows, [shape, replace(shape, tokens=100 * shape.tokens)])
    truth = true_loss(shape) - true_loss(replace(shape, tokens=100 * shape.tokens))
    assert short.value - long.value == pytest.approx(truth, rel=0.4)
    assert long.sd > short.sd


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
    found = extrapolate_study(_study([*records, failed]))
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


def _predicted(records: Sequence[TrialRecord], tokens: float | None = None) -> dict[int, LawPrediction]:
    found = extrapolate_study(_study(records), tokens=tokens)
    assert found is not None
    return dict(found.predictions)


def test_runs_of_every_length_from_the_longest_rung_with_enough_models_teach_the_law() -> None:
    few = [_record(n, *shape, rungs=2 if n < 7 else 1) for n, shape in enumerate(SHAPES)]
    found = extrapolate_study(_study(few))
    assert found is not None
    assert (found.steps, found.fitted_steps, found.proxies) == (200, 100, 9)
    # the seven that trained twice as long are better by 0.1 each: so all are expected to be, near enough
    alone = _predicted([_record(n, *shape) for n, shape in enumerate(SHAPES)])
    for number, before in alone.items():
        assert found.predictions[number].value == pytest.approx(before.value - 0.1, abs=0.06)
    many = [_record(n, *shape, rungs=2 if n < 8 else 1) for n, shape in enumerate(SHAPES)]
    found = extrapolate_study(_study(many))
    assert found is not None
    assert (found.steps, found.fitted_steps, found.proxies) == (200, 200, 8)
    assert sorted(found.predictions) == list(range(9))


def test_a_study_is_extrapolated_to_the_tokens_asked_for() -> None:
    records = [_record(n, *shape, rungs=2) for n, shape in enumerate(SHAPES)]
    usual, long = _predicted(records), _predicted(records, tokens=1e9)
    assert all(long[n].value < usual[n].value and long[n].sd > usual[n].sd for n in usual)


def test_nothing_is_extrapolated_without_proxies_or_of_too_few() -> None:
    records = [_record(n, *shape) for n, shape in enumerate(SHAPES)]
    assert extrapolate_study(_study(records[:3])) is None
    assert extrapolate_study(_study([replace(one, scaled=None) for one in records])) is None
    assert extrapolate_study(_study([])) is None
    assert extrapolate_study(_study([_record(n, depth, 512) for n, depth in enumerate(range(2, 10))])) is None
