"""Whole tables left out: their dear runs are predicted from their cheapest fifth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality import page
from benchmarks.quality.baselines import one_size_rows
from benchmarks.quality.learn import cheapest, left_out, priors_without_each, stored_prior_without
from benchmarks.quality.tables import shipped
from benchmarks.replay.model_tables import gemstones, gemstones_step
from search.quality.features import law_columns
from search.stats.rank_correlation import kendall, spearman, tau_of_one_size
from sizer.quality.constants import published_law
from sizer.quality.law import loss
from sizer.quality.posterior import fit_law


def test_tables_are_read_whole() -> None:
    tables = shipped()
    assert len(tables["olmo_ladder"].losses) == 30
    assert len(tables["gemstones_hot"].losses) == 770
    first = tables["gemstones_cooled"]
    assert (first.names[0], first.losses[0]) == ("Gemstone-1024x28", 3.0146)
    assert first.models.aspect[0] == pytest.approx(1024 / 28)
    assert first.models.ffn_ratio[0] == pytest.approx(3 * 4096 / (2 * (8 + 4) * 128))


def test_the_cheapest_fifth_is_the_cheapest() -> None:
    table = shipped()["olmo_ladder"]
    cheap = cheapest(table, 0.2)
    cost = table.models.weights * table.models.tokens
    assert cheap.sum() == 6
    assert cost[cheap].max() <= cost[~cheap].min()


@pytest.mark.parametrize("name", ["gemstones_cooled", "gemstones_half_rate", "gemstones_constant"])
def test_shapes_of_one_size_are_told_apart(name: str) -> None:
    table = shipped()[name]
    law = fit_law(table.models, table.losses, published_law())
    errors = law.predict(table.models)[0] - table.losses
    assert np.sqrt((errors**2).mean()) <= 0.0125


@pytest.mark.parametrize(("tokens", "tau"), [(4e9, 0.7), (16e9, 0.8), (64e9, 0.75), (350e9, 0.9)])
def test_one_law_orders_gemstones_after_few_and_many_tokens(tokens: float, tau: float) -> None:
    """The law that other tables teach, alone: pairs within 10 % of weights, where counting has 0.1 to 0.3."""
    rows = gemstones(gemstones_step(tokens))
    law = stored_prior_without("Gemstones").mean
    expected = loss(law, law_columns([row.features for row in rows])).tolist()
    losses, sizes = [row.loss for row in rows], [row.size_bytes for row in rows]
    assert (kendall(expected, losses) or 0) >= 0.9
    assert (tau_of_one_size(expected, losses, sizes) or 0) >= tau


@pytest.mark.slow
def test_tables_left_out() -> None:
    tables = shipped()
    priors = priors_without_each(tables)
    for name, most in (
        ("gemstones_cooled", 0.05),
        ("gemstones_half_rate", 0.05),
        ("gemstones_constant", 0.05),
        ("olmo_ladder", 0.05),
        ("gemstones_hot", 0.08),
    ):
        found = left_out(tables[name], priors[tables[name].origin])
        assert found.rmse <= most, name
        assert (spearman(found.predicted.tolist(), found.table.losses.tolist()) or 0) >= 0.98, name


@pytest.mark.slow
def test_the_page_holds_what_is_computed(root: Path) -> None:
    """What needs only rows of this repository: orders of models of one size, families, bits."""
    text = (root / "docs" / "quality.md").read_text(encoding="utf-8")
    for row in one_size_rows():
        assert f"| {' | '.join(row)} |" in text
    summary, rows = page.families_left_out()
    assert summary in text
    assert rows in text
    assert page.bits_table() in text
    for name in shipped():
        assert name == "lts" or f"| {name.replace('_', ' ')} |" in text
