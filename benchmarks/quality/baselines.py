"""What the law has to beat: counting, the law without shape, the search's former law."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.quality.learn import LeftOut, cheapest, learned, left_out, start, stored_prior_without
from benchmarks.quality.mobilellm import TOKENS, ablations
from benchmarks.quality.tables import QualityTable
from benchmarks.replay.model_tables import gemstones, gemstones_step
from search.quality.features import law_columns
from search.quality.published import PublishedLaw
from search.stats.rank_correlation import kendall, spearman, tau_of_one_size
from sizer.quality.law import PARAMETERS
from sizer.quality.law import loss as law_loss
from sizer.quality.posterior import Prior

_NEVER = 1e-9
_OLD_LAW = Path(__file__).with_name("old_law.csv")


def by_count(table: QualityTable, share: float) -> float:
    """Return the error of a straight line in the logarithm of weights, drawn through the cheapest runs."""
    cheap = cheapest(table, share)
    logs = np.log(table.models.weights)
    slope, level = np.polyfit(logs[cheap], table.losses[cheap], 1)
    away = level + slope * logs[~cheap] - table.losses[~cheap]
    return float(np.sqrt((away**2).mean()))


def _plain() -> Prior:
    """Return the first prior of a law without shape: x + y, no U."""
    first = start()
    mean, sd = first.mean.copy(), first.sd.copy()
    for number, name in enumerate(PARAMETERS):
        if name == "join":
            mean[number], sd[number] = 0.0, 1e-4
        elif name.endswith("_curvature"):
            mean[number], sd[number] = np.log(_NEVER), 1e-4
        elif name in ("floor", "from_weights", "weights_exponent", "from_tokens"):
            # without the join tables differ more
            sd[number] = 0.3
    return Prior(mean=mean, sd=sd)


def without_shape(tables: Mapping[str, QualityTable]) -> dict[str, LeftOut]:
    """Return each table predicted from its cheapest fifth by the law without shape."""
    found = {}
    for origin in dict.fromkeys(table.origin for table in tables.values()):
        prior = learned((t for t in tables.values() if t.origin != origin), _plain())
        found.update({t.name: left_out(t, prior) for t in tables.values() if t.origin == origin})
    return found


@cache
def _old_law() -> dict[tuple[str, str], float]:
    """Return what the search's former law of depth and width had reached, by kind and name."""
    with _OLD_LAW.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(line for line in stream if not line.startswith("#"))
        return {(row["what"], row["name"]): float(row["value"]) for row in rows}


def by_old_law(table: QualityTable) -> float | None:
    """Return the error that the search's former law had; None where shapes are not known."""
    return _old_law().get(("error", table.name))


_STUDIES = {
    "depth against width (Spearman)": ("depth_vs_width",),
    "heads and KV heads (tau)": ("heads_kv_heads",),
    "all of one size (tau)": (
        *("design_roadmap", "depth_vs_width", "heads_kv_heads"),
        *("layer_repeat_count", "embedding_sharing"),
    ),
}


def one_size_rows() -> list[Sequence[str]]:
    """Return rows of a table: how well models of one size are ordered by counting, depth and both laws."""
    found: list[Sequence[str]] = []
    for text, studies in _STUDIES.items():
        models, averages = ablations(*studies)
        sizes = [m.parameters for m in models]
        orders = (
            sizes,
            [m.depth / m.sharing for m in models],
            [-float(x) for x in PublishedLaw(tokens=TOKENS).loss(models)],
        )
        if "Spearman" in text:
            values = [spearman(order, averages) for order in orders]
        elif "one size" in text:
            values = [tau_of_one_size(order, averages, sizes) for order in orders]
        else:
            values = [kendall(order, averages) for order in orders]
        found.append(_one_size_row(text, values))
    for tokens in (16e9, 350e9):
        rows = gemstones(gemstones_step(tokens))
        models, losses = [row.features for row in rows], [row.loss for row in rows]
        sizes = [row.size_bytes for row in rows]
        orders = (
            [-size for size in sizes],
            [-model.depth for model in models],
            law_loss(stored_prior_without("Gemstones").mean, law_columns(models)).tolist(),
        )
        values = [tau_of_one_size(order, losses, sizes) for order in orders]
        found.append(_one_size_row(f"Gemstones after {tokens / 1e9:.0f}B tokens (tau)", values))
    return found


def _one_size_row(text: str, values: Sequence[float | None]) -> tuple[str, ...]:
    """Return a row: counting, depth, the former law, the law."""
    counting, depth, law = ("-" if v is None else f"{v:.2f}" for v in values)
    return text, counting, depth, f"{_old_law()['one size', text]:.2f}", law
