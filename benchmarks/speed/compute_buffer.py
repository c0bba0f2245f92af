"""Measure how far closed forms of llama.cpp's compute buffer are off, as a share of total memory.

    python benchmarks/speed/compute_buffer.py [--shapes 1500]

Two forms are compared with ggml's allocator, which equals all figures that llama.cpp printed: the largest of
logits, feed-forward block and attention (`approximate_compute_buffer_bytes`), and the largest sum of tensors
alive at once in the whole graph. Rows: the oracle's shapes and workloads, and random shapes of a grid. The
columns of ggml's allocator in `sizer/grid/` (allocator.py) are kept while both are off by more than 2 %.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sizer.architecture import Architecture
from sizer.runtimes import runtime
from sizer.runtimes.ggml_allocator import FreeBlocks, lay_out, plan
from sizer.runtimes.llamacpp import approximate_compute_buffer_bytes, compute_buffer_bytes
from sizer.runtimes.llamacpp_graph import Graph, Widths, graph_kind
from sizer.shapes.near_count import llama_shape
from sizer.workload import Workload
from tests.published_facts import json_lines
from tests.sizer.test_formats_llamacpp import oracle_architecture
from tests.sizer.test_memory import oracle_workload

Case = tuple[Architecture, Workload]
FORMATS = ("Q8_0", "Q4_K_M", "Q2_K")
LIMIT = 0.02


class LiveSum(FreeBlocks):
    """An allocator that leaves no holes: it only adds up what is held."""

    def __init__(self) -> None:
        super().__init__()
        self.held_bytes = 0

    def take(self, size: int) -> int:
        """Count a tensor."""
        self.held_bytes += size
        self.ends.append(self.held_bytes)
        return 0

    def give(self, start: int, size: int) -> None:
        """Count a tensor no longer."""
        self.held_bytes -= size


def largest_live_bytes(a: Architecture, w: Workload) -> int:
    """Return the largest sum of tensors alive at once, of three layers, which are alike."""
    sums = LiveSum()
    nodes = Graph(graph_kind(a, w, min(a.executed_layers, 3)), Widths.of(a), w).nodes
    lay_out(plan(nodes), {node.num_bytes: node.num_bytes for node in nodes}, sums)
    return sums.peak_bytes


def random_cases(count: int) -> Iterator[Case]:
    """Yield shapes and workloads like those that a grid of a search has, the same in every run."""
    random, like = np.random.default_rng(0), llama_shape(512, 32_000, True)
    for _ in range(count):
        head_dim = int(random.choice([32, 48, 64, 80, 96, 128]))
        step = int(np.lcm(head_dim, 32))
        width = step * int(random.integers(1, 4096 // step))
        heads = width // head_dim
        groups = [kv for kv in range(1, heads + 1) if heads % kv == 0 and heads // kv <= 16]
        a = replace(
            like,
            num_layers=int(random.integers(1, 48)),
            hidden_size=width,
            intermediate_size=32 * int(random.integers(width // 16, 3 * width // 32 + 2)),
            num_heads=heads,
            num_kv_heads=int(random.choice(groups)),
            head_dim=head_dim,
            vocab_size=int(random.choice([256, 1024, 4096, 8192, 16_000, 32_000, 49_152, 128_256])),
        )
        w = Workload.within(int(random.choice([512, 2048, 4096, 8192])), "F16")
        yield a, replace(w, flash_attention=bool(random.random() < 0.7))


def errors(cases: list[Case], format_name: str, form: Callable[[Architecture, Workload], int]) -> np.ndarray:
    """Return the form's errors as shares of total memory."""
    engine = runtime("llama.cpp")
    return np.array(
        [
            (form(a, w) - compute_buffer_bytes(a, w))
            / engine.memory(a, engine.store(a, format_name), w).total_bytes
            for a, w in cases
        ]
    )


def main() -> None:
    """Print the range of errors of each form on each kind of rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shapes", type=int, default=1500, help="random shapes")
    count = parser.parse_args().shapes
    oracle = json_lines("oracle_llama_memory.jsonl")
    if not oracle:
        raise SystemExit("no oracle_llama_memory.jsonl: tests/shared_facts.py looks for it")
    rows = {
        "oracle": [(oracle_architecture(row["shape"]), oracle_workload(row)) for row in oracle],
        "random": list(random_cases(count)),
    }
    forms: dict[str, Callable[[Architecture, Workload], int]] = {
        "largest of three": approximate_compute_buffer_bytes,
        "largest live sum": largest_live_bytes,
    }
    for kind, cases in rows.items():
        for format_name in FORMATS:
            for name, form in forms.items():
                off = errors(cases, format_name, form)
                beyond = f"{(abs(off) > LIMIT).sum()} of {len(off)} rows beyond {100 * LIMIT:.0f} %"
                worst = f"{100 * off.min():6.1f} to {100 * off.max():5.1f} % of total memory"
                print(f"{kind:7} {format_name:7} {name:17} {worst}, {beyond}")


if __name__ == "__main__":
    main()
