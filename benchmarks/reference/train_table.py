"""Train the reference table: every model of models.py with several seeds, scored at several lengths.

    python benchmarks/reference/train_table.py FOLDER [--long] [--until 16:40] [--seeds 3]

Rows are added to benchmarks/reference/table.jsonl as runs end; a run whose rows are there is not repeated.
With --long, runs are nine times as long and go to long_table.jsonl, which takes the other's place once it has
three seeds of every model.
FOLDER keeps the checkpoint of the run under way, so that the same command goes on after a kill. One thread;
the trainer is the search's own (search/training/). A length is scored as a search scores a rung: after a
cool-down on a copy of a tenth of its steps. The moving average of the weights is scored as well, before it.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from torch import Tensor

from benchmarks.reference.models import FORMATS, MODELS, RUNTIME, ReferenceModel
from search.config.config import BYTE_VOCABULARY, Tokenizer
from search.text.corpus import Corpus, ValidationChunks, load_corpus
from search.training.checkpoint import load_checkpoint, save_checkpoint
from search.training.quantize import deployed_model
from search.training.score import bits_per_byte, overall
from search.training.training_run import (
    TRAINER_REVISION,
    RunEnding,
    StepReport,
    TrainConfig,
    TrainingRun,
    backend_of,
)
from sizer.errors import InvalidFile

TABLE = Path(__file__).with_name("table.jsonl")
LONG_TABLE = Path(__file__).with_name("long_table.jsonl")

LENGTHS = (333, 1000)  # optimizer steps at which a run is scored
LONG_LENGTHS = (1000, 3000, 9000)  # of --long
BATCH_SIZE, SEQ_LEN = 2, 128
WARMUP_STEPS = 16
CHUNKS = 384
BLOCKS = 32  # neighbouring chunks are kept as means of blocks: enough for paired errors
AVERAGED_SHARE = 0.05  # of a length's steps: time constant of the moving average
CURVE_EVERY = 50  # steps between points of the learning curve

FIRST_FORMATS = ("F16",)  # after all lengths but the last, whose scores are in every format
AVERAGED_SEED = 0  # whose moving averages are scored: all models have it


@dataclass(slots=True)
class Average:
    """Exponential moving average of a model's weights, taken where the trainer reports (every 10 steps)."""

    weights: dict[str, Tensor]
    step: int

    def take(self, model: torch.nn.Module, step: int, constant: float) -> None:
        """Move towards the model's weights by the steps since the last time."""
        share = 1 - math.exp(-(step - self.step) / constant)
        self.step = step
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                self.weights[name].lerp_(parameter, share)


class Run:
    """One model in training, with its moving average and learning curve; resumes from its files."""

    def __init__(self, model: ReferenceModel, seed: int, folder: Path, lengths: Sequence[int]) -> None:
        self.model, self.seed, self.folder, self.lengths = model, seed, folder, lengths
        self.corpus = corpus_of(model.architecture.vocab_size)
        self.chunks = self.corpus.val_chunks(CHUNKS, SEQ_LEN)
        self.curve: list[tuple[int, float]] = []
        self._since: list[float] = []

    def rows(self, write: Callable[[dict[str, Any]], None], done: set[int]) -> None:
        """Train to each length, score it, and write its row."""
        checkpoint, average = self.folder / "run.npz", self.folder / "average.npz"
        kept: Average | None = None
        for length in self.lengths:
            if length in done:
                continue
            began, cpu = time.perf_counter(), time.process_time()
            run = self._start(length, checkpoint)
            if kept is None:
                kept = self._average(run, average)
            ending = run.advance(self._watch(run, kept, length), lambda: False, checkpoint)
            if ending is not RunEnding.DONE:
                write({**self._about(length), "diverged_at": run.step})
                return
            save_checkpoint(average, kept.weights, {"step": kept.step, "curve": self.curve})
            averaged = self._score_averaged(run, kept) if self.seed == AVERAGED_SEED else None
            ending = run.cool_down_copy(lambda report: None, lambda: False)
            trained_s, trained_cpu = time.perf_counter() - began, time.process_time() - cpu
            formats = FORMATS if length == self.lengths[-1] else FIRST_FORMATS
            scores = {name: self._score(run, name) for name in formats}
            write(
                {
                    **self._about(length),
                    "cooled_steps": run.step - length,
                    "scores": {name: _rounded(overall(bits, self.chunks)) for name, bits in scores.items()},
                    "blocks": {name: _blocks(bits, self.chunks) for name, bits in scores.items()},
                    "averaged": None if averaged is None else _rounded(overall(averaged, self.chunks)),
                    "curve": [[step, _rounded(loss)] for step, loss in self.curve],
                    "learning_rate": run.config.learning_rate,
                    "engine": f"{backend_of(run.config).name} {run.dtype}".replace("torch.", ""),
                    "train_s": round(trained_s, 1),
                    "train_cpu_s": round(trained_cpu, 1),
                    "score_s": round(time.perf_counter() - began - trained_s, 1),
                }
            )
        checkpoint.unlink(missing_ok=True)
        average.unlink(missing_ok=True)

    def _about(self, length: int) -> dict[str, Any]:
        return {
            "model": self.model.name,
            "seed": self.seed,
            "steps": length,
            "tokens": length * BATCH_SIZE * SEQ_LEN,
            "corpus": self.corpus.digest[:16],
            "revision": TRAINER_REVISION,
        }

    def _start(self, length: int, checkpoint: Path) -> TrainingRun:
        config = TrainConfig(
            steps=length,
            cooldown_steps=0,
            batch_size=BATCH_SIZE,
            seq_len=SEQ_LEN,
            warmup_steps=WARMUP_STEPS,
            val_chunks=CHUNKS,
            seed=self.seed,
            score_on_copy=True,
        )
        run = TrainingRun(self.model.architecture, self.corpus, config)
        if checkpoint.exists():
            try:
                run.load(checkpoint)
            except InvalidFile:  # of another run, or cut short: the run starts again
                checkpoint.unlink()
                return self._start(length, checkpoint)
        return run

    def _average(self, run: TrainingRun, path: Path) -> Average:
        weights = {name: p.detach().clone() for name, p in run.model.named_parameters()}
        if run.step and path.exists():
            try:
                stored, meta = load_checkpoint(path)
                self.curve = [(int(step), float(loss)) for step, loss in meta["curve"]]
                return Average({name: stored[name] for name in weights}, int(meta["step"]))
            except (InvalidFile, KeyError):
                self.curve = []
        return Average(weights, run.step)

    def _watch(self, run: TrainingRun, kept: Average, length: int) -> Callable[[StepReport], None]:
        def watch(report: StepReport) -> None:
            kept.take(run.model, report.step, AVERAGED_SHARE * length)
            self._since.append(report.loss)
            if report.step % CURVE_EVERY == 0:
                self.curve.append((report.step, sum(self._since) / len(self._since)))
                self._since = []

        return watch

    def _score(self, run: TrainingRun, format_name: str) -> Tensor:
        copy = TrainingRun(self.model.architecture, self.corpus, run.config).model
        copy.load_state_dict(run.model.state_dict())
        return bits_per_byte(deployed_model(copy, self.model.architecture, format_name, RUNTIME), self.chunks)

    def _score_averaged(self, run: TrainingRun, kept: Average) -> Tensor:
        before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
        try:
            _fill(run.model, kept.weights)
            return bits_per_byte(run.model, self.chunks)
        finally:
            _fill(run.model, before)


def _fill(model: torch.nn.Module, weights: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])


def _rounded(value: float) -> float:
    return round(value, 5)


def _blocks(bits: Tensor, chunks: ValidationChunks) -> list[float]:
    """Return bits per byte of blocks of neighbouring chunks."""
    sizes = chunks.num_bytes.double()
    whole, weights = (bits * sizes).tensor_split(BLOCKS), sizes.tensor_split(BLOCKS)
    return [round(float(b.sum() / w.sum()), 4) for b, w in zip(whole, weights, strict=True)]


@cache
def corpus_of(vocab_size: int) -> Corpus:
    """Return the table's text, in bytes or in tokens of a byte-level BPE."""
    if vocab_size == BYTE_VOCABULARY:
        return load_corpus("builtin")
    return load_corpus("builtin", tokenizer=Tokenizer.BPE, vocab_size=vocab_size)


def rows_done(path: Path, lengths: Sequence[int]) -> dict[tuple[str, int], set[int]]:
    """Return the lengths of each model and seed that the table has."""
    found: dict[tuple[str, int], set[int]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            there = found.setdefault((row["model"], row["seed"]), set())
            there |= set(lengths) if "diverged_at" in row else {row["steps"]}
    return found


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a row as one line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(row["model"], row["seed"], row["steps"], row.get("scores"), row.get("train_s"), flush=True)


def main() -> None:
    """Train what the table lacks, one seed of all models after the other, the largest models last."""
    arguments = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--long", action="store_true", help=f"runs of {LONG_LENGTHS[-1]:,} steps")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--until", help="UTC time after which no run is started, such as 16:40")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    table, lengths = (LONG_TABLE, LONG_LENGTHS) if given.long else (TABLE, LENGTHS)
    ends = given.until or "99:99"
    planned = [(m, seed) for seed in range(given.seeds) for m in MODELS if m.size != "l"]
    planned += [(m, seed) for seed in range(given.seeds) for m in MODELS if m.size == "l"]
    for model, seed in planned:
        done = rows_done(table, lengths).get((model.name, seed), set())
        if set(lengths) <= done:
            continue
        if datetime.now(UTC).strftime("%H:%M") >= ends:
            print("out of time", flush=True)
            return
        folder = given.folder / f"{model.name} {seed}".replace(" ", "_").replace("/", "-")
        folder.mkdir(parents=True, exist_ok=True)
        Run(model, seed, folder, lengths).rows(lambda row: append(table, row), done)


if __name__ == "__main__":
    main()
