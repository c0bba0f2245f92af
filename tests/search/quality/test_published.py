"""The law after a training of some length, against models that others trained: it has seen none of them.

MobileLLM's ablations (arXiv 2402.14905, tables 10, 11, 13 to 15; tests/data/quality.csv), ParetoQ's bits.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.quality.mobilellm import BITS, TOKENS, ablations
from search.quality.features import ShapeFeatures, features_of
from search.quality.published import LawColumn, PublishedLaw, outside, ranges
from search.space.design import design
from search.space.sized_shapes import DesignQuery, Rank
from search.stats.rank_correlation import kendall, spearman, tau_of_one_size
from sizer.budget import Limits
from sizer.quality.constants import published_law
from sizer.quality.law import loss, shapes
from sizer.registry import model
from tests.published_facts import csv_rows

_STUDIES = (
    "design_roadmap",
    "depth_vs_width",
    "heads_kv_heads",
    "layer_repeat_count",
    "embedding_sharing",
)


def _expected(models: list[ShapeFeatures]) -> list[float]:
    return [-float(x) for x in PublishedLaw(tokens=TOKENS).loss(models)]


def _sizes(models: list[ShapeFeatures]) -> list[float]:
    return [m.parameters for m in models]


def test_depth_against_width() -> None:
    models, averages = ablations("depth_vs_width")
    assert len(models) == 9
    assert (spearman(_expected(models), averages) or 0) >= 0.7


def test_heads_and_kv_heads_above_counting() -> None:
    models, averages = ablations("heads_kv_heads")
    assert len(models) == 15
    assert (kendall(_expected(models), averages) or 0) > (kendall(_sizes(models), averages) or 1)


def test_all_models_of_one_size_above_counting_and_depth_alone() -> None:
    models, averages = ablations(*_STUDIES)
    assert len(models) >= 30

    def tau(order: list[float]) -> float:
        return tau_of_one_size(order, averages, _sizes(models)) or 0

    assert tau(_expected(models)) >= 0.5
    assert tau(_expected(models)) > tau(_sizes(models))
    assert tau(_expected(models)) > tau([m.depth / m.sharing for m in models])


def test_bits_of_paretoq() -> None:
    """Eighteen models of three sizes in 1 to 16 bits, by perplexity; those of 16 bits were trained less."""
    rows = [r for r in csv_rows("quality.csv") if r["study"] == "paretoq_bits" and r["quant"] != "BF16"]
    columns = shapes(
        weights=np.array([1e6 * float(r["params_m"]) for r in rows]),
        tokens=np.full(len(rows), 1e12),
        bits=np.array([BITS[r["quant"]] for r in rows]),
    )
    expected = loss(published_law().mean, columns).tolist()
    assert (spearman(expected, [float(r["wiki_ppl"]) for r in rows]) or 0) >= 0.95


def test_a_difference_is_surer_than_either_loss_and_none_from_itself() -> None:
    models, _ = ablations("depth_vs_width")
    law = PublishedLaw(tokens=1e12)
    above, sd = law.above(models, [models[4]])
    assert above[4] == 0
    assert sd[4] == 0
    assert np.all(sd < 0.03)
    losses = law.loss(models)
    np.testing.assert_allclose(above, losses / losses[4] - 1)


def test_twenty_tokens_a_weight_are_those_of_each_model() -> None:
    models, _ = ablations("depth_vs_width")
    tokens = PublishedLaw().columns(models).tokens
    np.testing.assert_allclose(tokens, [20 * m.parameters for m in models])


@pytest.mark.parametrize("rank", [Rank.LAW, Rank.QUALITY])
def test_a_design_is_ranked_by_what_was_asked(rank: Rank) -> None:
    query = DesignQuery(budget=Limits(max_size_bytes=20_000_000), rank=rank, vocab_size=4096)
    found = design(query)
    features = found.feasible.shapes.features
    assert found.law.loss(features).argmin() == found.best_row
    assert found.feasible.above[found.best(3)[0]] == 0
    assert found.law.tokens == query.training_tokens


def test_what_lies_outside_of_the_published_models() -> None:
    known = features_of(model("MobileLLM-125M").architecture, bits_per_weight=16)
    wide = replace(known, width=400 * known.depth, head_dim=400.0, bits_per_weight=0.5)
    tiny = replace(known, width=8.0, depth=2.0)
    found = {column: rows.tolist() for column, rows in outside([known, wide, tiny]).items()}
    assert set(found) == set(LawColumn) == set(ranges())
    assert not any(rows[0] for rows in found.values())
    assert {column for column, rows in found.items() if rows[1]} == {
        *(LawColumn.WEIGHTS, LawColumn.ASPECT, LawColumn.HEAD_DIM, LawColumn.BITS)
    }
    assert {column for column, rows in found.items() if rows[2]} == {LawColumn.WEIGHTS}
