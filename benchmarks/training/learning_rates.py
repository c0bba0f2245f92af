"""Write docs/learning_rates.md: what other learning rates than the trainer's would score, table by table.

    python benchmarks/training/learning_rates.py [--steps 600] [--seeds 1] [--workers 2] [--out FILE]

Trains three shapes in three vocabularies, each at several rates of the embedding tables, then at several
base rates, with the search's own trainer (search/training/learning_rates.py), one core each.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from rich.progress import Progress

from search.config.config import BYTE_VOCABULARY, Tokenizer
from search.text.corpus import Corpus, load_corpus
from search.training import learning_rates as scaling
from search.training.score import bits_per_byte
from search.training.training_run import TrainConfig, TrainingRun
from sizer.architecture import Architecture

SHAPES = ((2, 192), (4, 128), (8, 96))
TABLE_RATES = (1.0, 2.0, 4.0, 8.0)
BASE_RATES = (0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """A vocabulary, and whether one table reads and writes it."""

    size: int
    tied: bool

    @property
    def name(self) -> str:
        what = "bytes" if self.size == BYTE_VOCABULARY else f"BPE of {self.size:,}"
        return f"{what}, {'tied' if self.tied else 'untied'}"


VOCABULARIES = (
    Vocabulary(size=BYTE_VOCABULARY, tied=True),
    Vocabulary(size=2000, tied=True),
    Vocabulary(size=2000, tied=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training run; rates are over the trainer's own base rate."""

    vocabulary: Vocabulary
    layers: int
    width: int
    table_rate: float
    base_rate: float
    seed: int
    steps: int


@cache
def corpus_of(vocab_size: int) -> Corpus:
    """Return the text, in bytes or in tokens of a byte-level BPE."""
    if vocab_size == BYTE_VOCABULARY:
        return load_corpus("builtin")
    return load_corpus("builtin", tokenizer=Tokenizer.BPE, vocab_size=vocab_size)


def shape_of(vocabulary: Vocabulary, layers: int, width: int) -> Architecture:
    """Return a decoder with heads of 32 and a feed-forward width of 2.5 times its own."""
    return Architecture(
        vocab_size=vocabulary.size,
        num_layers=layers,
        hidden_size=width,
        intermediate_size=5 * width // 2,
        num_heads=width // 32,
        num_kv_heads=width // 32,
        head_dim=32,
        tie_embeddings=vocabulary.tied,
    )


def score(run: Run) -> float:
    """Validation bits per byte after the run's last step, with the cool-down of a run that ends."""
    torch.set_num_threads(1)
    shape = shape_of(run.vocabulary, run.layers, run.width)
    base = TrainConfig(steps=1).learning_rate
    scaling.TABLE_RATE = run.table_rate
    corpus = corpus_of(run.vocabulary.size)
    config = TrainConfig(steps=run.steps, learning_rate=base * run.base_rate, seed=run.seed)
    training = TrainingRun(shape, corpus, config)
    training.advance(lambda report: None, lambda: False)
    chunks = corpus.val_chunks(config.val_chunks, config.seq_len)
    return float(bits_per_byte(training.model, chunks).mean())


def scored(runs: list[Run], workers: int) -> dict[Run, float]:
    """The score of every run, some at a time."""
    found: dict[Run, float] = {}
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    with pool, Progress() as progress:
        bar = progress.add_task("runs", total=len(runs))
        for run, value in zip(runs, pool.map(score, runs), strict=True):
            found[run] = value
            print(run, f"{value:.4f}", flush=True)
            progress.advance(bar)
    return found


def _table(
    found: dict[Run, float], rates: tuple[float, ...], names: tuple[str, ...], chosen: dict[str, float]
) -> list[str]:
    """Bits per byte at each rate of one kind, over those chosen in bold, the other kind as it is."""
    kind, other = chosen
    lines = [
        "| vocabulary | layers x width | " + " | ".join(names) + " |",
        "|---|---|" + "---|" * len(rates),
    ]
    for vocabulary, (layers, width) in product(VOCABULARIES, SHAPES):
        cells = []
        for rate in rates:
            wanted = {kind: rate, other: chosen[other]}
            scores = [
                value
                for run, value in found.items()
                if (run.vocabulary, run.layers, run.width) == (vocabulary, layers, width)
                and all(getattr(run, name) == value for name, value in wanted.items())
            ]
            cells.append(f"**{mean(scores):.3f}**" if rate == chosen[kind] else f"{mean(scores):.3f}")
        lines.append(f"| {vocabulary.name} | {layers} x {width} | {' | '.join(cells)} |")
    return lines


def page(found: dict[Run, float], steps: int, seeds: int) -> str:
    """The page as Markdown."""
    return "\n".join(
        [
            "# Learning rates",
            "",
            "Made by `python benchmarks/training/learning_rates.py`; not to be edited.",
            "",
            f"Validation bits per byte on `builtin` after {steps} steps of 8 x 128 tokens, the last fifth of "
            f"them at a falling rate; {seeds} seed{'s' if seeds > 1 else ''}. In bold what the trainer does "
            "(`search/training/learning_rates.py`); less is better.",
            "",
            "## Rate of the embedding tables",
            "",
            "Over the base rate, at width 160.",
            "",
            *_table(
                found,
                TABLE_RATES,
                tuple(f"x {rate:g}" for rate in TABLE_RATES),
                {"table_rate": scaling.TABLE_RATE, "base_rate": 1.0},
            ),
            "",
            "## Base rate",
            "",
            "Of everything, over the trainer's.",
            "",
            *_table(
                found,
                BASE_RATES,
                tuple(f"x {rate:g}" for rate in BASE_RATES),
                {"base_rate": 1.0, "table_rate": scaling.TABLE_RATE},
            ),
            "",
        ]
    )


def main() -> None:
    """Train, print, write."""
    arguments = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    arguments.add_argument("--steps", type=int, default=600)
    arguments.add_argument("--seeds", type=int, default=1)
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--out", type=Path)
    given = arguments.parse_args()
    pairs = dict.fromkeys(
        [(rate, 1.0) for rate in TABLE_RATES] + [(scaling.TABLE_RATE, rate) for rate in BASE_RATES]
    )
    runs = [
        Run(
            vocabulary=vocabulary,
            layers=layers,
            width=width,
            table_rate=table_rate,
            base_rate=base_rate,
            seed=seed,
            steps=given.steps,
        )
        for seed in range(given.seeds)
        for table_rate, base_rate in pairs
        for vocabulary, (layers, width) in product(VOCABULARIES, SHAPES)
    ]
    text = page(scored(runs, given.workers), given.steps, given.seeds)
    print(text)
    if given.out is not None:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
