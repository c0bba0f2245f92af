"""Write docs/bits.md: one proxy at 16 to 1.6 bits, rounded after training and in its last steps, and ParetoQ.

    python benchmarks/training/bits.py [--steps 600] [--threads 1] [--out docs/bits.md]

ParetoQ's published table is read from tests/data/quality.csv.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from math import log
from pathlib import Path

import torch

import search.training.cooldown
from search.config.format_bits import format_bits
from search.text.corpus import Corpus, load_corpus
from search.training.low_bit import LowBit, few_bit_types
from search.training.quantize import fake_quantized_state
from search.training.score import bits_per_byte
from search.training.train_step import choose_engine
from search.training.training_run import StepReport, TrainConfig, TrainingRun
from sizer.architecture import Architecture
from tests.published_facts import csv_rows

SHAPE = Architecture(
    vocab_size=256,
    num_layers=3,
    hidden_size=256,
    intermediate_size=512,
    num_heads=8,
    num_kv_heads=8,
    head_dim=32,
)
LLAMA_CPP, BITNET_CPP = "llama.cpp", "bitnet.cpp"
FORMATS = (
    *(("F16", LLAMA_CPP), ("Q8_0", LLAMA_CPP), ("Q4_0", LLAMA_CPP), ("Q4_K_M", LLAMA_CPP)),
    *(("Q3_K_M", LLAMA_CPP), ("Q2_K", LLAMA_CPP), ("TQ1_0", LLAMA_CPP), ("I2_S", BITNET_CPP)),
)
SHARES = (0.05, 0.1, 0.2)
PARETOQ_SIZES = ("125M", "600M", "1.5B")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One format's scores in bits per byte, by share of steps in the cool-down."""

    format: str
    bits: float
    afterwards: tuple[float, ...]
    trained: tuple[float, ...]  # empty: not a format of few bits
    step_s: float


def _silent(report: StepReport) -> None:
    pass


def _never() -> bool:
    return False


class Bench:
    """One model trained at the full rate, and what its ends are worth."""

    def __init__(self, corpus: Corpus, steps: int, folder: Path) -> None:
        self.corpus, self.start = corpus, folder / "start.npz"
        self.config = TrainConfig(steps=steps, cooldown_steps=0)
        self.chunks = corpus.val_chunks(self.config.val_chunks, self.config.seq_len)
        TrainingRun(SHAPE, corpus, self.config).advance(_silent, _never, self.start)

    def end(self, share: float, low_bit: LowBit | None, runtime: str) -> tuple[TrainingRun, float]:
        """The run after a cool-down of that share of its steps, and seconds of a step."""
        run = TrainingRun(SHAPE, self.corpus, replace(self.config, runtime=runtime), low_bit)
        run.load(self.start)
        search.training.cooldown.RUNG_COOLDOWN_SHARE = share
        begin, first = time.perf_counter(), run.step
        run.cool_down_copy(_silent, _never)
        return run, (time.perf_counter() - begin) / (run.step - first)

    def score(self, run: TrainingRun, format_name: str, runtime: str) -> float:
        """Bits per byte as deployed; the run's weights are replaced."""
        run.apply_quantization()
        state = run.model.state_dict()
        run.model.load_state_dict(fake_quantized_state(state, SHAPE, format_name, runtime))
        return float(bits_per_byte(run.model, self.chunks).mean())

    def rows(self) -> list[Row]:
        """Every format at every share."""
        afterwards: dict[str, list[float]] = {}
        seconds = 0.0
        for share in SHARES:
            run, seconds = self.end(share, None, LLAMA_CPP)
            exact = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
            for name, runtime in FORMATS:
                run.model.load_state_dict(exact)
                afterwards.setdefault(name, []).append(self.score(run, name, runtime))
        rows = []
        for name, runtime in FORMATS:
            trained, step_s = [], seconds
            types = few_bit_types(SHAPE, name, runtime)
            for share in SHARES if types else ():
                run, step_s = self.end(share, LowBit(types), runtime)
                trained.append(self.score(run, name, runtime))
            bits = format_bits(runtime, name)
            row = Row(
                format=name,
                bits=bits,
                afterwards=tuple(afterwards[name]),
                trained=tuple(trained),
                step_s=step_s,
            )
            print(row, flush=True)
            rows.append(row)
        return rows


def paretoq() -> list[tuple[str, list[float]]]:
    """Bits and, for each size, the published perplexity."""
    found: dict[str, dict[str, float]] = {}
    for row in csv_rows("quality.csv"):
        if row["study"] == "paretoq_bits":
            size = row["model"].split("-")[2]
            found.setdefault(row["quant"], {})[size] = float(row["wiki_ppl"])
    wanted = ("BF16", "4-bit", "3-bit", "2-bit", "1.58-bit", "1-bit")
    return [(bits, [found[bits][size] for size in PARETOQ_SIZES]) for bits in wanted]


def page(rows: list[Row], steps: int, parameters: int) -> str:
    """The page as Markdown."""
    shares = " | ".join(f"{share:.0%}" for share in SHARES)
    exact = rows[0].afterwards
    lines = [
        "# Bits",
        "",
        "Made by `python benchmarks/training/bits.py`; not to be edited.",
        "",
        f"A byte-level decoder of {SHAPE.num_layers} layers x {SHAPE.hidden_size} ({parameters / 1e6:.2f} M "
        f"parameters), {steps} steps of 8 x 128 bytes at the full rate, then a cool-down of 5, 10 or 20 % of "
        "these steps on a copy. One seed, 200 validation windows; torch "
        f"{torch.__version__.split('+')[0]}, {torch.get_num_threads()} threads, {choose_engine().fastest}.",
        "",
        "*Afterwards*: trained exact, then rounded as the file stores it. *In training*: few-bit matrices "
        "rounded in every product of the cool-down (`search/training/low_bit.py`), the rest afterwards. Bits "
        "per byte; in brackets what they cost over the 16 bits of the same cool-down. Bits: of a weight of "
        "the blocks, scales included.",
        "",
        f"| format | bits | afterwards {shares} | in training {shares} |",
        "|---|---|" + "---|" * (2 * len(SHARES)),
    ]
    for row in rows:
        columns = [_cell(value, base) for value, base in zip(row.afterwards, exact, strict=True)]
        trained = [_cell(value, base) for value, base in zip(row.trained, exact, strict=False)]
        columns += trained or ["-"] * len(SHARES)
        lines.append(f"| {row.format} | {row.bits:.2f} | {' | '.join(columns)} |")
    lines += [
        "",
        "## Beside ParetoQ",
        "",
        "MobileLLM-ParetoQ (github facebookresearch/ParetoQ at 655e3386): perplexity on WikiText-2 after "
        "quantization-aware training, and the natural logarithm's growth over BF16 as a share of BF16's own. "
        "Perplexities of tokens and bits of bytes differ in unit; shares of the loss do not.",
        "",
        "| bits | " + " | ".join(PARETOQ_SIZES) + " |",
        "|---|" + "---|" * len(PARETOQ_SIZES),
    ]
    published = paretoq()
    base = published[0][1]
    for bits, values in published:
        cells = [f"{v:g} ({log(v) / log(b) - 1:+.1%})" for v, b in zip(values, base, strict=True)]
        lines.append(f"| {bits} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_words(rows, published), ""])


def _cell(value: float, base: float) -> str:
    return f"{value:.3f} ({value / base - 1:+.1%})"


def _words(rows: list[Row], published: list[tuple[str, list[float]]]) -> list[str]:
    by_name = {row.format: row for row in rows}
    exact, ternary, two = (by_name[name] for name in ("F16", "TQ1_0", "Q2_K"))
    costs = [f"{t / e - 1:.1%}" for t, e in zip(ternary.trained, exact.afterwards, strict=True)]
    base = published[0][1]
    theirs = {
        bits: " to ".join(
            f"{log(v) / log(b) - 1:.1%}" for v, b in sorted(zip(values, base, strict=True), reverse=True)
        )
        for bits, values in published
    }
    return [
        f"Ternary weights cost {', '.join(costs)} of the loss here, less with every rounded step; ParetoQ's "
        f"{theirs['1.58-bit']} from the smallest to the largest model. Two bits cost "
        f"{two.trained[1] / exact.afterwards[1] - 1:.1%} (Q2_K has a scale and a minimum for every 16 "
        f"weights, and its mix some matrices of 3 bits); theirs, with fewer scales, {theirs['2-bit']}.",
        "",
        "What a proxy of this size cannot tell: the cost of bits falls with parameters and grows with "
        "tokens for each (arXiv 2411.04330), and this one has seen less than one byte for each of its "
        "parameters, so rounding afterwards looks cheaper here than it is for a model trained to its end. "
        "ParetoQ's 3 and 4 bits are better than BF16 because their training has more tokens. One seed: no "
        "range is given, and small differences may be chance.",
    ]


def main() -> None:
    """Train, print, write."""
    arguments = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    arguments.add_argument("--steps", type=int, default=600)
    arguments.add_argument("--threads", type=int)
    arguments.add_argument("--out", type=Path)
    chosen = arguments.parse_args()
    if chosen.threads is not None:
        torch.set_num_threads(chosen.threads)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(load_corpus("builtin"), chosen.steps, Path(folder))
        rows = bench.rows()
        parameters = sum(p.numel() for p in TrainingRun(SHAPE, bench.corpus, bench.config).model.parameters())
    text = page(rows, chosen.steps, parameters)
    print(text)
    if chosen.out is not None:
        chosen.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
