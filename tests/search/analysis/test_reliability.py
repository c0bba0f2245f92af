"""The trust report: what it holds, what it says in words, and that it does not flatter."""

from __future__ import annotations

import json

import numpy as np
import pytest

from search.analysis.reliability import trust
from sizer.errors import InvalidQuantity, StudyError
from tests.search.law_rows import drawn, features, losses, row


def test_the_document_has_the_keys_of_the_contract() -> None:
    rows = drawn(24, noise=0.01, seed=0, largest_width=192)
    document = json.loads(json.dumps(trust([r.loss + 0.3 for r in rows], rows).to_dict(), allow_nan=False))
    assert document["schema"] == "sizer.trust/1"
    assert {"pairs", "kendall", "spearman", "tau_10pct", "baselines", "verdict"} <= set(document)
    assert set(document["tau_10pct"]) == {"value", "low", "high"}
    assert set(document["baselines"]) == {"parameters", "attention_parameters", "size_law", "quality_law"}
    assert document["kendall"] == document["spearman"] == document["tau_10pct"]["value"] == 1
    assert document["top_recall"] == 1
    assert document["models"] == 24


def _one_size(seed: int) -> list[float]:
    return [float(v) for v in np.random.default_rng(seed).permutation(np.linspace(2.0, 2.4, 24))]


def test_noise_is_not_trusted_and_a_good_proxy_is() -> None:
    shapes = [features(2 + i, 128, parameters=1e6 + 1000 * i) for i in range(24)]
    rows = [
        row(loss, shape, size=1e6 + i)
        for i, (loss, shape) in enumerate(zip(_one_size(0), shapes, strict=True))
    ]
    assert trust(_one_size(1), rows).verdict.startswith("cannot tell")
    near = [r.loss + 0.01 * (-1) ** i for i, r in enumerate(rows)]
    report = trust(near, rows)
    assert report.pairs == 24 * 23 // 2
    assert report.verdict.startswith("better than counting parameters")
    assert report.to_dict()["verdict_was_right"] >= 0.9
    reverse = trust([-r.loss for r in rows], rows)
    assert reverse.tau_10pct.value == -1
    assert reverse.verdict.startswith("not to be trusted")


def test_a_proxy_that_only_counts_says_so() -> None:
    shapes = [features(4 + i, 128, parameters=1e6 + 4000 * i) for i in range(20)]
    rows = [row(3 - 0.01 * i, shape, size=1e6 + 4000 * i) for i, shape in enumerate(shapes)]
    report = trust(losses(rows), rows)
    assert report.baselines["parameters"].value == 1
    assert report.verdict == "better than chance: cannot tell whether also better than counting parameters"


def test_few_models_have_counters_but_no_laws() -> None:
    rows = drawn(3, noise=0.01, seed=1)
    report = trust(losses(rows), rows)
    assert set(report.baselines) == {"parameters", "attention_parameters"}
    assert report.verdict.startswith("too few pairs")


def test_losses_must_belong_to_models() -> None:
    with pytest.raises(InvalidQuantity, match="2 losses for 3 models"):
        trust([1.0, 2.0], drawn(3, noise=0.01, seed=1))
    with pytest.raises(StudyError, match="1 models have"):
        trust([1.0], drawn(1, noise=0.01, seed=1))
