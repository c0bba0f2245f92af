"""Trains models and their scaled proxies with the search's own trainer, for docs/proxies.md.

    python benchmarks/replay/proxies.py

Writes benchmarks/proxies.json after every model, and goes on with what it holds; `make replay` reads it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from search.analysis.extrapolation import extrapolate
from search.quality.features import LawRow, ShapeFeatures, features_of
from search.quality.law import LawPrediction
from search.stats.pareto import front
from search.stats.rank_correlation import kendall
from search.training.scaled_proxy import scaled_proxy
from sizer.architecture import Architecture

RESULTS = Path(__file__).with_name("proxies.json")
WIDTHS, DEPTHS, SCALE = (128, 192, 256), (2, 3, 6), 0.25
STEPS, BATCH, SEQ_LEN = 1000, 2, 64
_BITS = 16.0  # of a weight, as scored


def models() -> list[Architecture]:
    """Byte-level decoders, smallest first, with heads of 64."""
    base = Architecture(
        vocab_size=256,
        num_layers=2,
        hidden_size=128,
        intermediate_size=320,
        num_heads=2,
        num_kv_heads=1,
        head_dim=64,
    )
    found = [
        replace(
            base,
            name=f"{depth}x{width}",
            num_layers=depth,
            hidden_size=width,
            intermediate_size=5 * width // 2,
            num_heads=width // 64,
        )
        for width in WIDTHS
        for depth in DEPTHS
    ]
    return sorted(found, key=lambda a: a.num_layers * a.hidden_size**2)


class Trained(NamedTuple):
    """A model, its score and its proxy's, and what is extrapolated from all proxies."""

    model: Architecture
    proxy_bits: float
    model_bits: float
    extrapolated: LawPrediction


def trained() -> list[Trained]:
    """What the file holds of models that were trained themselves and by proxy."""
    scores = {key: run["bits_per_byte"] for key, run in json.loads(RESULTS.read_text("utf-8")).items()}
    found = [model for model in models() if f"model {model.name}" in scores]
    proxies = {model.name: _features(scaled_proxy(model, width_scale=SCALE)) for model in models()}
    rows = [
        LawRow(name=name, features=f, size_bytes=2 * f.parameters, loss=scores[f"proxy {name}"])
        for name, f in proxies.items()
    ]
    said = extrapolate(rows, [_features(m) for m in found])
    return [
        Trained(m, scores[f"proxy {m.name}"], scores[f"model {m.name}"], prediction)
        for m, prediction in zip(found, said, strict=True)
    ]


def _features(architecture: Architecture) -> ShapeFeatures:
    return features_of(architecture, bits_per_weight=_BITS, tokens=STEPS * BATCH * SEQ_LEN)


def taus(found: Sequence[Trained]) -> tuple[float, float, float]:
    """Kendall's tau with the models' scores: of the proxies' scores, of those extrapolated, of counting."""
    scores = [one.model_bits for one in found]
    others = (
        [one.proxy_bits for one in found],
        [one.extrapolated.value for one in found],
        [-_features(one.model).parameters for one in found],
    )
    by_proxy, by_law, by_counting = (kendall(values, scores) or 0.0 for values in others)
    return by_proxy, by_law, by_counting


class Fronts(NamedTuple):
    """Names of the models on the frontier of weights and score."""

    true: frozenset[str]  # by the models' own scores
    by_proxy: frozenset[str]
    by_law: frozenset[str]


def fronts(found: Sequence[Trained]) -> Fronts:
    """The frontier that the models have, and those that their proxies' scores and the law's foresee."""
    weights = [_features(one.model).parameters for one in found]

    def on_front(scores: Sequence[float]) -> frozenset[str]:
        return frozenset(found[i].model.name for i in front(list(zip(weights, scores, strict=True))))

    return Fronts(
        true=on_front([one.model_bits for one in found]),
        by_proxy=on_front([one.proxy_bits for one in found]),
        by_law=on_front([one.extrapolated.value for one in found]),
    )


def train_all(path: Path) -> None:
    """Train what the file does not hold yet: proxies first."""
    import torch

    from search.store.results import Candidate
    from search.text.corpus import load_corpus
    from search.training.score import train_proxy
    from search.training.train_step import ProductPrecision
    from search.training.training_run import TrainConfig

    config = TrainConfig(
        steps=STEPS,
        batch_size=BATCH,
        seq_len=SEQ_LEN,
        warmup_steps=50,
        val_chunks=200,
        dtype=ProductPrecision.FP32,
    )
    torch.set_num_threads(1)
    done = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    corpus = load_corpus("builtin")
    for scaled in (True, False):
        for model in models():
            key = f"{'proxy' if scaled else 'model'} {model.name}"
            if key in done:
                continue
            proxy = scaled_proxy(model, width_scale=SCALE) if scaled else None
            run = train_proxy(Candidate(architecture=model, format="F16"), corpus, config, scaled=proxy)
            done[key] = {
                "bits_per_byte": run.val_bits_per_byte,
                "standard_error": run.val_bits_per_byte_sd,
                "parameters": run.num_parameters,
                "status": run.status.value,
                "wall_s": run.wall_s,
            }
            path.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
            print(key, done[key], flush=True)


if __name__ == "__main__":
    train_all(RESULTS)
