"""Trains models and their scaled proxies with the search's own trainer, for docs/proxies.md.

    python benchmarks/proxies.py RESULTS.json

RESULTS.json is written after every model and gone on with; `make replay` reads the copy in benchmarks/.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from search.corpus import load_corpus
from search.results import Candidate
from search.scaled import scaled_proxy
from search.stepper import Precision
from search.train import train_proxy
from search.training import TrainConfig
from sizer.architecture import Architecture

WIDTHS, DEPTHS, SCALE = (128, 192, 256), (2, 3, 6), 0.25
CONFIG = TrainConfig(
    steps=1000, batch_size=2, seq_len=64, warmup_steps=50, val_chunks=200, dtype=Precision.FP32
)


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


def train_all(path: Path) -> None:
    """Train what the file does not hold yet: proxies first."""
    torch.set_num_threads(1)
    done = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    corpus = load_corpus("builtin")
    for scaled in (True, False):
        for model in models():
            key = f"{'proxy' if scaled else 'model'} {model.name}"
            if key in done:
                continue
            proxy = scaled_proxy(model, width_scale=SCALE) if scaled else None
            run = train_proxy(Candidate(architecture=model, format="F16"), corpus, CONFIG, scaled=proxy)
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
    train_all(Path(sys.argv[1]))
