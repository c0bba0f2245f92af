"""MobileLLM's ablations and ParetoQ's models (tests/data/quality.csv) as shapes: none of them taught the law.

Tables 10, 11 and 13 to 15 of arXiv 2402.14905 at 0.25T tokens, and ParetoQ's model cards.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from search.quality.features import ShapeFeatures, features_of
from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.tensors import count_parameters, tensor_specs
from tests.published_facts import csv_rows

TOKENS = 0.25e12
BITS = {"BF16": 16.0, "1-bit": 1.0, "1.58-bit": 1.58, "2-bit": 2.0, "3-bit": 3.0, "4-bit": 4.0}
LEAST_BITS = min(BITS.values())


@cache
def ablations(*studies: str) -> tuple[list[ShapeFeatures], list[float]]:
    """Return shapes and averages of eight tasks of MobileLLM's rows after 0.25T tokens."""
    rows = [
        r
        for r in csv_rows("quality.csv")
        if r["study"] in studies and r["train_tokens"] == "0.25T" and r["heads"]
    ]
    models = [features_of(architecture_of(r), bits_per_weight=16, tokens=TOKENS) for r in rows]
    return models, [float(r["avg"]) for r in rows]


def architecture_of(row: dict[str, str]) -> Architecture:
    """Return the shape of a row of MobileLLM's or ParetoQ's tables."""
    repeat = int(row["layer_repeat"] or 1)
    heads = int(row["heads"])
    shape = Architecture(
        vocab_size=int(row["vocab"]),
        num_layers=int(row["layers"]),
        hidden_size=int(row["dim"]),
        intermediate_size=int(row["ffn_hidden"] or row["ffn_hidden_derived"] or 256),
        num_heads=heads,
        num_kv_heads=int(row["kv_heads"]),
        head_dim=int(row["dim"]) // heads,
        tie_embeddings=row["tied_embeddings"] == "yes",
        sharing=LayerSharing(strategy=SharingStrategy.IMMEDIATE, repeat=repeat)
        if repeat > 1
        else LayerSharing(),
    )
    if row["ffn_hidden"] or row["ffn_hidden_derived"]:
        return shape
    # the width that makes the printed count; a column of it is three weights for each position of the stream
    missing = 1e6 * float(row["params_m"]) - count_parameters(tensor_specs(shape)).total
    column = 3 * shape.hidden_size * shape.num_layers
    return replace(shape, intermediate_size=256 + 32 * round(missing / column / 32))
