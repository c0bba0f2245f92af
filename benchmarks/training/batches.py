"""Write docs/batches.md: what other learning rates would score on a larger batch.

    python benchmarks/training/batches.py [--steps 300]
    python benchmarks/training/batches.py --write

Trains two shapes on batches of 8 and of 32 windows of 128 tokens, each at several base rates, with the
search's own trainer, one run after the other on one thread. A score is added to batches.jsonl when its run
ends, and runs that have a score are not repeated. `--write` writes the page from that file.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from rich.progress import Progress

from benchmarks.training.learning_rates import VOCABULARIES, Vocabulary, corpus_of, shape_of
from search.training.score import bits_per_byte
from search.training.training_run import RunEnding, TrainConfig, TrainingRun

ROOT = Path(__file__).resolve().parents[2]
PAGE, RECORD = ROOT / "docs" / "batches.md", Path(__file__).parent / "batches.jsonl"
SHAPES = ((VOCABULARIES[0], 2, 192), (VOCABULARIES[1], 4, 128))
BATCHES = (8, 32)
SEQ_LEN = 128
STEPS = 300
FITTED = 3  # scores that a parabola needs
RATES = (0.5, 1.0, 2.0, 4.0)  # over the trainer's base rate for 8 windows


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRun:
    """One training run; `rate` is over the trainer's own base rate of a small batch."""

    vocabulary: Vocabulary
    layers: int
    width: int
    batch: int
    rate: float
    steps: int

    @property
    def key(self) -> str:
        """Name under which the score is kept."""
        return f"{self.vocabulary.name} {self.layers}x{self.width} b{self.batch} x{self.rate:g} {self.steps}"


def score(run: BatchRun) -> float:
    """Return validation bits per byte after the run's last step; infinite where it diverged."""
    config = TrainConfig(steps=run.steps, batch_size=run.batch, seq_len=SEQ_LEN, warmup_steps=run.steps // 12)
    config = replace(config, learning_rate=config.learning_rate * run.rate)
    corpus = corpus_of(run.vocabulary.size)
    training = TrainingRun(shape_of(run.vocabulary, run.layers, run.width), corpus, config)
    if training.advance(lambda report: None, lambda: False) is not RunEnding.DONE:
        return math.inf
    return float(bits_per_byte(training.model, corpus.val_chunks(config.val_chunks, SEQ_LEN)).mean())


def best_rate(scores: Mapping[float, float]) -> float:
    """Return the rate at the least of a parabola in log rate through the three scores around the best one.

    At an end of the measured rates these are the last three; the result lies within the measured rates.
    """
    rates = sorted(rate for rate, value in scores.items() if math.isfinite(value))
    at = min(range(len(rates)), key=lambda n: scores[rates[n]])
    first = min(max(at - 1, 0), len(rates) - FITTED)
    near = rates[first : first + FITTED]
    a, b, _ = np.polyfit(np.log2(near), [scores[rate] for rate in near], 2)
    return float(np.clip(2 ** (-b / (2 * a)), rates[0], rates[-1]))


def planned(steps: int = STEPS) -> list[BatchRun]:
    """Return the runs, small batches first."""
    return [
        BatchRun(vocabulary=vocabulary, layers=layers, width=width, batch=batch, rate=rate, steps=steps)
        for batch, (vocabulary, layers, width), rate in product(BATCHES, SHAPES, RATES)
    ]


def scores_of(found: Mapping[str, float]) -> dict[tuple[int, int], dict[float, float]]:
    """Return the scores by shape (its place in SHAPES), batch and rate."""
    return {
        (number, batch): {
            run.rate: found[run.key]
            for run in planned()
            if (run.vocabulary, run.layers, run.batch) == (vocabulary, layers, batch) and run.key in found
        }
        for (number, (vocabulary, layers, _)), batch in product(enumerate(SHAPES), BATCHES)
    }


def page(found: Mapping[str, float]) -> str:
    """Return docs/batches.md."""
    lines = []
    for (number, batch), scores in scores_of(found).items():
        vocabulary, layers, width = SHAPES[number]
        cells = [f"{scores[rate]:.3f}" if rate in scores else "-" for rate in RATES]
        best = f"x {best_rate(scores):.2f}" if len(scores) >= FITTED else "-"
        lines.append(
            f"| {vocabulary.name}, {layers} x {width} | {batch} x {SEQ_LEN} | {' | '.join(cells)} | {best} |"
        )
    return _PAGE.format(
        steps=STEPS,
        tokens=BATCHES[0] * SEQ_LEN,
        largest=BATCHES[-1] * SEQ_LEN,
        rates=" | ".join(f"x {rate:g}" for rate in RATES),
        rule="---|" * len(RATES),
        rows="\n".join(lines),
    )


_PAGE = """# Learning rates of larger batches

Written by `python benchmarks/training/batches.py --write` from what the same program has trained; not to be
edited.

Validation bits per byte on `builtin` after {steps} steps, the last fifth of them at a falling rate; one seed.
Rates are over the trainer's base rate, which was chosen at {tokens:,} tokens a step. *Best*: the least of a
parabola in the logarithm of the rate through the three scores around the best one. A dash was not trained.

| shape | batch | {rates} | best |
|---|---|{rule}---|
{rows}

The trainer keeps its base rate for every batch. Each best rate is of one seed, so its noise is not known, and
a square root of the batch is not added. Measured are windows of 128 tokens, up to {largest:,} tokens a step,
few steps of small models, on a processor; nothing is known of larger batches. Where a search trains with
them, try a `learning_rate` of half and twice the base rate of 0.0015 in a short search first.
"""


def kept() -> dict[str, float]:
    """Return the scores that were kept, infinite where a run diverged."""
    if not RECORD.exists():
        return {}
    rows = [json.loads(line) for line in RECORD.read_text(encoding="utf-8").splitlines()]
    return {row["run"]: math.inf if row["bits"] is None else row["bits"] for row in rows}


def train(runs: Sequence[BatchRun]) -> None:
    """Train the runs whose scores are not kept yet, and keep each when it ends."""
    found = kept()
    with Progress() as progress:
        bar = progress.add_task("runs", total=sum(run.batch * run.steps for run in runs))
        for run in runs:
            if run.key not in found:
                value = score(run)
                with RECORD.open("a", encoding="utf-8") as file:
                    row = {"run": run.key, "bits": value if math.isfinite(value) else None}
                    file.write(json.dumps(row) + "\n")
            progress.advance(bar, run.batch * run.steps)


def main() -> None:
    """Train what is missing, or write the page."""
    arguments = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    arguments.add_argument("--steps", type=int, default=STEPS)
    arguments.add_argument("--write", action="store_true")
    given = arguments.parse_args()
    if given.write:
        PAGE.write_text(page(kept()), encoding="utf-8")
        return
    torch.set_num_threads(1)
    train(planned(given.steps))


if __name__ == "__main__":
    main()
