"""Tables of decoders that were trained to the end, read as rows of the quality law."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from math import exp, log
from typing import NamedTuple

import numpy as np

from search.quality.features import LawRow, ShapeFeatures
from tests.published_facts import csv_rows

GEMSTONES = "gemstones.csv"
LTS = "lts_gpt2_wikitext103.csv"

# The table does not say how many; all its models had the same, and levels are a table's own.
LTS_TOKENS = 1e9
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
        tokens=LTS_TOKENS,
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
def _gemstones_shapes() -> dict[tuple[int, int], dict[str, str]]:
    """Heads and feed-forward widths by width and depth, from the rows of cooled runs."""
    rows = [row for row in csv_rows("quality_tables.csv") if row["table"] == "gemstones_constant"]
    return {(int(row["width"]), int(row["layers"])): row for row in rows}


@cache
def gemstones(step: int) -> tuple[LawRow, ...]:
    """22 shapes of depth and width after so many steps, smallest first; 2 bytes a weight.

    They were stored in 16 bits and had an embedding as wide as they are.
    """
    rows = []
    for (width, depth, parameters), losses in sorted(_gemstones().items(), key=lambda item: item[0][2]):
        known = _gemstones_shapes()[width, depth]
        heads, kv_heads, head_dim = (int(known[name]) for name in ("heads", "kv_heads", "head_dim"))
        features = ShapeFeatures(
            depth=depth,
            width=width,
            head_dim=head_dim,
            kv_ratio=kv_heads / heads,
            ffn_ratio=int(known["ffn"]) / width,
            sharing=1.0,
            embedding_ratio=1.0,
            bits_per_weight=16.0,
            parameters=parameters,
            attention_parameters=2 * depth * width * head_dim * (heads + kv_heads),
            tokens=step * TOKENS_PER_STEP,
        )
        name = f"{depth}x{width}"
        rows.append(LawRow(name=name, features=features, size_bytes=2 * parameters, loss=losses[step]))
    return tuple(rows)
