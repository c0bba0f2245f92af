"""Writes search/data/law_prior.toml: what published tables say of the terms of the quality law.

`python benchmarks/law_prior.py` reads ../shared/truth/quality.csv. One regression over
- MobileLLM's ablations at 0.25T tokens (arXiv 2402.14905, tables 10, 11, 13 to 15): averages of eight tasks,
  turned into nats by the line through ParetoQ's 18 pairs of average and perplexity;
- ParetoQ's perplexities (1 to 4 bits, three sizes) and, as models trained otherwise, its 16-bit ones;
- llama.cpp's perplexities of LLaMA 7B and 13B in six types, quantized after training;
with an intercept of its own for each, in shares of each one's mean loss.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from math import log
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from search.law.law import LawSettings, curved, plain_column
from search.law.law_prior import PRIOR_FILE, SEEN_AS, LawPrior, Term
from search.law.ridge import Floats, Form, fit
from search.law.shapes import ShapeFeatures, features_of
from sizer.architecture import Architecture, LayerSharing, SharingStrategy
from sizer.tensors import count_parameters, tensor_specs
from tests.shared_facts import SHARED, csv_rows

_SOURCE = (
    "../shared/truth/quality.csv: MobileLLM (arXiv 2402.14905v2, tables 10, 11, 13, 14, 15), "
    "ParetoQ model cards, llama.cpp examples/quantize/README.md@c392e509"
)
_DECAYS = (0.5, 0.7, 0.9, 1.1, 1.3)
# Deviations that leave slopes (shares of the loss per unit) and intercepts to the tables.
_FREE_SLOPE, _FREE_INTERCEPT = 1.0, 100.0
_TERMS = (
    Term.DEPTH,
    Term.WIDTH,
    Term.HEAD_DIM,
    Term.KV_RATIO,
    Term.FFN_RATIO,
    Term.SHARING,
    Term.BITS,
    Term.BITS_X_SIZE,
)
_FULL_BITS = 16.0
_BITS = {"BF16": 16.0, "F16": 16.0, "1-bit": 1.0, "1.58-bit": 1.58, "2-bit": 2.0, "3-bit": 3.0, "4-bit": 4.0}
# Block types of ggml-common.h: bytes of 32 weights.
_BITS |= {"Q4_0": 4.5, "Q4_1": 5.0, "Q5_0": 5.5, "Q5_1": 6.0, "Q8_0": 8.5}
_LLAMA = {"LLaMA-7B": (32, 4096, 11008, 32), "LLaMA-13B": (40, 5120, 13824, 40)}
_ABLATIONS = ("design_roadmap", "depth_vs_width", "heads_kv_heads", "layer_repeat_count", "w8a8_ptq")


class Published(NamedTuple):
    """One published model: which table's recipe it shares, its shape and its loss in nats."""

    group: str
    features: ShapeFeatures
    loss: float


def nats_of_average(rows: Sequence[dict[str, str]]) -> tuple[float, float]:
    """Intercept and slope of ln(perplexity) over the average of eight tasks, from ParetoQ's rows."""
    pairs = [(float(r["avg"]), log(float(r["wiki_ppl"]))) for r in rows if r["study"] == "paretoq_bits"]
    averages, logarithms = np.array(pairs).T
    slope, intercept = np.polyfit(averages, logarithms, 1)
    return float(intercept), float(slope)


def _architecture(row: dict[str, str]) -> Architecture:
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


def published() -> list[Published]:
    """Every row that is used, in the order of the file, each model once."""
    rows = csv_rows("truth/quality.csv")
    intercept, slope = nats_of_average(rows)
    found: dict[tuple[str, ShapeFeatures, float], Published] = {}
    for row in rows:
        if row["study"] in _ABLATIONS:
            ours = row["train_tokens"] == "0.25T" and "ReLU" not in row["model"] and row["quant"] != "W8A8"
            if not ours or not row["layers"]:
                continue
            group, loss = "MobileLLM", intercept + slope * float(row["avg"])
            features = features_of(_architecture(row), bits_per_weight=_FULL_BITS)
        elif row["study"] == "paretoq_bits":
            group = "ParetoQ 16-bit" if row["quant"] == "BF16" else "ParetoQ"
            loss = log(float(row["wiki_ppl"]))
            features = features_of(_architecture(row), bits_per_weight=_BITS[row["quant"]])
        elif row["study"] == "gguf_ppl":
            layers, width, middle, heads = _LLAMA[row["model"]]
            shape = Architecture(
                vocab_size=32000,
                num_layers=layers,
                hidden_size=width,
                intermediate_size=middle,
                num_heads=heads,
                num_kv_heads=heads,
                head_dim=width // heads,
                tie_embeddings=False,
            )
            group, loss = "LLaMA", log(float(row["wiki_ppl"]))
            features = features_of(shape, bits_per_weight=_BITS[row["quant"]])
        else:
            continue
        found.setdefault((group, features, loss), Published(group, features, loss))
    return list(found.values())


def fitted(rows: Sequence[Published]) -> tuple[dict[Term, tuple[float, float]], float, float]:
    """Slope and deviation of each term, the decay of bits and the number of weights its slope holds at."""
    shapes = [row.features for row in rows]
    groups = sorted({row.group for row in rows})
    member = np.array([[row.group == group for group in groups] for row in rows], np.float64)
    losses = np.array([row.loss for row in rows])
    shares = losses / (member @ (member.T @ losses / member.sum(axis=0)))
    few_bits = [s.parameters for s in shapes if s.bits_per_weight < _FULL_BITS]
    middle = float(f"{np.exp(np.mean(np.log(few_bits))):.3g}")
    best: tuple[float, float, dict[Term, tuple[float, float]]] | None = None
    for decay in _DECAYS:
        prior = LawPrior(slopes={}, bits_decay=decay, bits_parameters=middle)
        forms = [
            _form(member, shapes, prior, (a, b))
            for a in LawSettings().depth_exponents
            for b in LawSettings().width_exponents
        ]
        found = fit(forms, shares)
        error = float(np.mean(((found.loo_weight * found.loo_mean).sum(axis=0) - shares) ** 2))
        weight = np.array([p.weight for p in found.posteriors])
        slopes = {}
        for number, term in enumerate(_TERMS, start=len(groups)):
            values = np.array([p.coefficients[number] for p in found.posteriors])
            mean = float(np.average(values, weights=weight))
            inside = np.array([p.covariance[number, number] for p in found.posteriors])
            slopes[term] = (mean, float(np.average(inside + (values - mean) ** 2, weights=weight)) ** 0.5)
        if best is None or error < best[0]:
            best = (error, decay, slopes)
    assert best is not None
    return best[2], best[1], middle


def _form(
    member: Floats, shapes: Sequence[ShapeFeatures], prior: LawPrior, exponents: tuple[float, float]
) -> Form:
    depth = np.array([s.depth for s in shapes], np.float64)
    width = np.array([s.width for s in shapes], np.float64)
    columns = [
        curved(depth / np.exp(np.log(depth).mean()), exponents[0]),
        curved(width / np.exp(np.log(width).mean()), exponents[1]),
        *(plain_column(term, shapes, prior) for term in _TERMS[2:]),
    ]
    groups = member.shape[1]
    return Form(
        columns=np.column_stack([member, *columns]),
        expected=np.concatenate([np.ones(groups), np.zeros(len(_TERMS))]),
        deviation=np.concatenate([np.full(groups, _FREE_INTERCEPT), np.full(len(_TERMS), _FREE_SLOPE)]),
    )


def document() -> str:
    """Text of the data file."""
    rows = published()
    slopes, decay, middle = fitted(rows)
    counts = {group: sum(r.group == group for r in rows) for group in sorted({r.group for r in rows})}
    lines = [
        "# Slopes of the quality law from published tables, as shares of loss per unit of the term (natural",
        "# logarithms; bits: exp(-decay x bits)). Written by `python benchmarks/law_prior.py`; do not edit.",
        "# least, most: of the models used; for bits_x_size, number of weights.",
        f"# Rows used: {', '.join(f'{group} {n}' for group, n in counts.items())}.",
        "",
        f'source = "{_SOURCE}"',
        "",
        "[bits]",
        f"decay = {decay}",
        f"parameters = {middle:.0f}",
    ]
    for term, (slope, sd) in slopes.items():
        seen = [getattr(row.features, SEEN_AS.get(term, term.value)) for row in rows]
        lines += ["", "[[term]]", f'term = "{term.value}"', f"slope = {slope:.4f}", f"sd = {sd:.4f}"]
        lines += [f"least = {min(seen):.12g}", f"most = {max(seen):.12g}"]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    if not SHARED.is_dir():
        sys.exit(f"law_prior: the published tables are read from {SHARED}, which is not there")
    PRIOR_FILE.write_text(document(), encoding="utf-8")
    print(f"wrote {PRIOR_FILE.relative_to(Path(__file__).resolve().parents[1])}")
