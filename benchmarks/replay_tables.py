"""Tables of decoders that were trained to the end, read as rows of the quality law."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from math import exp, log
from typing import NamedTuple

import numpy as np

from search.law.shapes import LawRow, ShapeFeatures
from tests.shared_facts import csv_rows

GEMSTONES = "replay/gemstones.csv"
LTS = "replay/lts_gpt2_wikitext103.csv"

TOKENS_PER_STEP = 2_000_683_008 / 477  # of every Gemstones run


class LtsModel(NamedTuple):
    """A decoder of the LTS table, and its weights without the embedding (the notes match pairs on those)."""

    row: LawRow
    non_embedding: float


@cache
def lts() -> tuple[LtsModel, ...]:
    """200 GPT-2-like decoders on WikiText-103; heads and feed-forward widths differ by layer.

    Loss is the logarithm of validation perplexity, size 4 bytes a weight; head width is the geometric mean
    over layers, feed-forward width the mean.
    """
    return tuple(_lts(row) for row in csv_rows(LTS))


def _lts(row: dict[str, str]) -> LtsModel:
    width = int(row["d_model"])
    heads = [int(text) for text in row["n_head"].split()]
    middle = [int(text) for text in row["d_inner"].split()]
    parameters = float(row["params_total"])
    features = ShapeFeatures(
        depth=int(row["n_layer"]),
        width=width,
        head_dim=exp(_mean(log(width / h) for h in heads)),
        kv_ratio=1.0,
        ffn_ratio=_mean(middle) / width,
        sharing=1.0,
        embedding_ratio=int(row["d_embed"]) / width,
        bits_per_weight=32.0,
        parameters=parameters,
        attention_parameters=float(row["params_attention"]),
    )
    loss = log(float(row["valid_ppl"]))
    return LtsModel(
        row=LawRow(name=row["id"], features=features, size_bytes=4 * parameters, loss=loss),
        non_embedding=float(row["params_nonembedding"]),
    )


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


@cache
def _gemstones() -> dict[tuple[int, int, int], dict[int, float]]:
    found: dict[tuple[int, int, int], dict[int, float]] = {}
    for row in csv_rows(GEMSTONES):
        shape = (int(row["width"]), int(row["depth"]), int(row["params"]))
        found.setdefault(shape, {})[int(row["step"])] = float(row["loss"])
    return found


@cache
def gemstones_steps() -> tuple[int, ...]:
    """Steps at which every shape has a checkpoint."""
    return tuple(sorted(set.intersection(*(set(losses) for losses in _gemstones().values()))))


def gemstones_step(tokens: float) -> int:
    """The step nearest to so many tokens."""
    return min(gemstones_steps(), key=lambda step: abs(step * TOKENS_PER_STEP - tokens))


@cache
def gemstones(step: int) -> tuple[LawRow, ...]:
    """22 shapes of depth and width after so many steps, smallest first; 2 bytes a weight.

    The table has no head counts or feed-forward widths: those features are the same for all. Attention is
    counted as four square matrices a layer.
    """
    rows = []
    for (width, depth, parameters), losses in sorted(_gemstones().items(), key=lambda item: item[0][2]):
        features = ShapeFeatures(
            depth=depth,
            width=width,
            head_dim=1.0,
            kv_ratio=1.0,
            ffn_ratio=1.0,
            sharing=1.0,
            embedding_ratio=1.0,
            bits_per_weight=16.0,
            parameters=parameters,
            attention_parameters=4 * depth * width**2,
        )
        name = f"{depth}x{width}"
        rows.append(LawRow(name=name, features=features, size_bytes=2 * parameters, loss=losses[step]))
    return tuple(rows)
