"""Importance of features: that of a law the scores were made by is found, and of chance there is none."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from search.analysis.importance import MIN_MODELS, feature_importances, importances
from search.quality.features import LawRow, ShapeFeatures
from search.quality.law import fit_law
from search.store.results import SearchResult


def rows(
    count: int, slope: float, noise: float = 0.0, bits: tuple[float, ...] = (4.5, 5.5, 8.5)
) -> list[LawRow]:
    """Models whose loss falls with the logarithm of the width by this slope and depends on nothing else."""
    generator = np.random.default_rng(1)
    found = []
    for number in range(count):
        width = float(generator.choice([32, 64, 96, 128, 192, 256]))
        features = ShapeFeatures(
            depth=float(generator.integers(2, 13)),
            width=width,
            head_dim=32.0,
            kv_ratio=float(generator.choice([0.25, 0.5, 1.0])),
            ffn_ratio=float(generator.choice([2.0, 3.0, 4.0])),
            sharing=1.0,
            embedding_ratio=1.0,
            bits_per_weight=float(generator.choice(bits)),
            parameters=12 * width**2,
            attention_parameters=4 * width**2,
            tokens=1e7,
        )
        loss = 3.0 - slope * float(np.log(width / 96)) + noise * float(generator.normal())
        found.append(LawRow(name=f"m{number}", features=features, size_bytes=width, loss=loss))
    return found


def test_the_feature_that_made_the_scores_is_found_with_its_size() -> None:
    models = rows(30, slope=0.2, noise=0.002)
    found = {one.feature: one for one in feature_importances(fit_law(models))}
    # by hand: the change from taking over another's width is 0.2 times the difference of logarithms
    logs = [float(np.log(row.features.width)) for row in models]
    expected = 0.2 * float(np.sqrt(np.mean([(b - a) ** 2 for a, b in permutations(logs, 2)])))
    width = found.pop("width")
    assert width.value == pytest.approx(-expected, rel=0.08)
    assert width.low < width.value < width.high < 0
    assert width.matters
    assert set(found) == {"depth", "kv_ratio", "ffn_ratio", "bits_per_weight"}  # the others do not vary
    assert all(abs(one.value) < 0.1 * expected for one in found.values())


def test_the_largest_comes_first_and_more_of_it_can_be_worse() -> None:
    found = feature_importances(fit_law(rows(30, slope=-0.2, noise=0.002)))
    assert found[0].feature == "width"
    assert found[0].value > 0
    assert [abs(one.value) for one in found] == sorted((abs(one.value) for one in found), reverse=True)


def test_scores_of_pure_chance_show_nothing_clear() -> None:
    found = feature_importances(fit_law(rows(30, slope=0.0, noise=0.1)))
    # an 80 % interval leaves out 0 one time in five by chance
    assert sum(one.matters for one in found) <= 2


def test_it_is_the_same_every_time() -> None:
    law = fit_law(rows(40, slope=0.2, noise=0.01))
    assert feature_importances(law) == feature_importances(law)


def test_too_few_models_of_one_length(in_rungs: SearchResult) -> None:
    assert len(in_rungs.trained) < MIN_MODELS
    assert importances(in_rungs) is None


def test_a_study_names_its_longest_training_with_enough_models(result: SearchResult) -> None:
    found = importances(result)
    assert found is not None
    assert (found.models, found.steps) == (11, 1000)
    assert {one.feature for one in found.features} >= {"depth", "width", "bits_per_weight", "sharing"}
    # of the fixture's scores: each less the mean of the other ten
    bits = [r.proxy.val_bits_per_byte for r in result.trained if r.proxy and r.proxy.val_bits_per_byte]
    left_out = [value - (sum(bits) - value) / 10 for value in bits]
    assert found.error_of_mean == pytest.approx(float(np.sqrt(np.mean(np.square(left_out)))))
    assert found.trustworthy == (found.error < found.error_of_mean)


def test_it_is_worked_out_once_for_a_study(result: SearchResult) -> None:
    assert importances(result) is importances(replace(result))


def test_diverged_models_say_nothing(result: SearchResult) -> None:
    without = replace(result, records=tuple(r for r in result.records if r.number != 7))
    assert importances(without) == importances(result)


def test_of_many_models_some_are_taken(result: SearchResult, monkeypatch: pytest.MonkeyPatch) -> None:
    # 11 models, at most 5: every third, the first, 4th, 7th and 10th
    monkeypatch.setattr("search.analysis.importance.MOST_MODELS", 5)
    found = importances(result)
    assert found is not None
    assert found.models == 4
