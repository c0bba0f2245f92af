"""Write docs/reference_table.md: what the reference table holds, and how it was made.

python benchmarks/reference/card.py [--out docs/reference_table.md]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.reference.models import FORMATS, MODELS, ReferenceModel
from benchmarks.reference.train_table import (
    AVERAGED_SHARE,
    BATCH_SIZE,
    BLOCKS,
    CHUNKS,
    LENGTHS,
    LONG_LENGTHS,
    LONG_TABLE,
    SEQ_LEN,
    TABLE,
    WARMUP_STEPS,
)
from sizer.units import format_bytes, format_count


def card(lines: list[dict[str, Any]]) -> str:
    """Return the page as Markdown."""
    longest, done = max(LENGTHS), [line for line in lines if "scores" in line]
    runs = [line for line in done if line["steps"] == longest]
    seeds = {m.name: sorted(line["seed"] for line in runs if line["model"] == m.name) for m in MODELS}
    names = ", ".join(str(seed) for seed in sorted({line["seed"] for line in done}))
    most, least = (longest * BATCH_SIZE * SEQ_LEN / n for n in _weights(seeds))
    cpu = sum(line["train_cpu_s"] for line in done)
    wall = sum(line["train_s"] + line["score_s"] for line in done)
    text = [
        "# The reference table",
        "",
        "Made by `python benchmarks/reference/card.py` from `benchmarks/reference/table.jsonl`; not to be "
        "edited.",
        "",
        f"Small decoders that differ in one axis at a time, trained alike: {len(runs)} runs of "
        f"{sum(bool(found) for found in seeds.values())} models, "
        f"{sum(len(found) >= 3 for found in seeds.values())} of them with 3 seeds, "
        f"{sum(len(found) >= 2 for found in seeds.values())} with 2 or more. A tabular benchmark: replay a "
        "search, "
        "or any way of predicting which model is better, without training.",
        "",
        "**How long the runs are.** Short: "
        f"{longest:,} optimizer steps of {BATCH_SIZE} x {SEQ_LEN} bytes "
        f"({format_count(longest * BATCH_SIZE * SEQ_LEN)} "
        f"bytes, {least:.1f} to {most:.1f} a weight) and a cool-down of a tenth. They were what one core, "
        "shared "
        "with other "
        "work, trained in an hour and a half. They are no replacement for runs of nights: what is true of "
        "these "
        "models after a hundred times the text, this table does not hold.",
        "",
        "To go on where it stopped: `python benchmarks/reference/train_table.py FOLDER`; it adds the rows "
        "that are "
        "missing.",
        "",
        _long_runs(_lines(LONG_TABLE)),
        "",
        "## How",
        "",
        "- Trainer: the search's own (`search/training/`), revision "
        f"{', '.join(sorted({str(line['revision']) for line in done}))}, learning rates as it scales them "
        "to each "
        f"shape, {WARMUP_STEPS} steps of warm-up, {', '.join(sorted({line['engine'] for line in done}))}, "
        "one thread.",
        f"- Scores: after {' and '.join(f'{n:,}' for n in LENGTHS)} steps, each after a cool-down on a "
        "copy of a tenth "
        f"of the steps, as a search scores a rung; bits per byte of {CHUNKS} chunks of {SEQ_LEN} bytes of "
        "the "
        f"validation text, weights as llama.cpp stores them in {', '.join(FORMATS)} (the first length: F16 "
        "alone).",
        "- Corpus: `builtin` (the library of this Python), digests "
        f"{', '.join(sorted({line['corpus'] for line in done}))} "
        "(bytes, and BPE of 512).",
        f"- Seeds {names}: weights and order of batches. A seed's batches are the same for all models.",
        f"- Machine: two shared cores with AVX2, one thread; {cpu / 60:.0f} minutes of processor time for "
        "training, "
        f"{wall / 60:.0f} minutes by the clock with scoring.",
        "",
        "## Fields of a row",
        "",
        "`model` (as below), `seed`, `steps`, `tokens` (without the cool-down), `cooled_steps`; `scores` "
        "by format in "
        f"bits per byte; `blocks`: the same of {BLOCKS} blocks of neighbouring chunks, for paired errors; "
        "`averaged`: "
        f"of the moving average of the weights (time constant {AVERAGED_SHARE:.0%} of the steps) before the "
        "cool-down, seed 0 alone; `curve`: step and training loss in nats a token, mean of 50 steps; "
        "`train_s`, "
        "`train_cpu_s`, `score_s`: seconds since the row before.",
        "",
        "## Models",
        "",
        f"Files in F16, Q8_0 and Q4_0; bits per byte in F16 after {longest:,} steps, mean over seeds, and "
        "the "
        "deviation of one seed.",
        "",
        "| model | weights | files | seeds | bits per byte | seed's deviation |",
        "|---|---|---|---|---|---|",
        *(_row(m, [line for line in runs if line["model"] == m.name]) for m in MODELS),
        "",
        f"Deviation of one run by its seed, pooled over models with several: {_pooled(runs):.4f} bits per "
        "byte.",
    ]
    return "\n".join([*text, ""])


def _long_runs(lines: list[dict[str, Any]]) -> str:
    """Return a sentence about the runs that will take this table's place."""
    longest = max(LONG_LENGTHS)
    done = [line for line in lines if "scores" in line and line["steps"] == longest]
    seeds = {m.name: len({line["seed"] for line in done if line["model"] == m.name}) for m in MODELS}
    return (
        f"**Longer runs are under way** in `long_table.jsonl` ({longest:,} steps, "
        f"{format_count(longest * BATCH_SIZE * SEQ_LEN)} bytes; the same command with `--long`): {len(done)} "
        f"runs of {sum(map(bool, seeds.values()))} models so far, {sum(n >= 3 for n in seeds.values())} of "
        "them with 3 seeds. Nothing below and no decision rests on them yet; the words of `sizer search "
        "trust` do (verdicts.md)."
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def _weights(seeds: dict[str, list[int]]) -> tuple[int, int]:
    """Return the weights of the smallest and the largest model that has a run."""
    trained = [model.num_parameters for model in MODELS if seeds[model.name]]
    return min(trained), max(trained)


def _row(model: ReferenceModel, runs: list[dict[str, Any]]) -> str:
    scores = [run["scores"]["F16"] for run in runs]
    files = ", ".join(format_bytes(model.file_bytes(name)) for name in FORMATS)
    mean = f"{fmean(scores):.4f}" if scores else "-"
    deviation = f"{stdev(scores):.4f}" if len(scores) > 1 else "-"
    return f"| {model.name} | {model.num_parameters:,} | {files} | {len(runs)} | {mean} | {deviation} |"


def _pooled(runs: list[dict[str, Any]]) -> float:
    """Return the root mean square deviation of one run about its model's mean."""
    squares, freedom = 0.0, 0
    for model in MODELS:
        scores = [run["scores"]["F16"] for run in runs if run["model"] == model.name]
        if len(scores) > 1:
            squares += sum((score - fmean(scores)) ** 2 for score in scores)
            freedom += len(scores) - 1
    return float((squares / freedom) ** 0.5) if freedom else float("nan")


def main() -> None:
    """Print the card, write it where asked."""
    arguments = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    arguments.add_argument("--out", type=Path)
    given = arguments.parse_args()
    text = card(_lines(TABLE))
    print(text)
    if given.out is not None:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
