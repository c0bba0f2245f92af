"""Time what checkpoints take of training runs: with intervals as in a search, or shorter ones.

    python benchmarks/cluster/checkpoint_time.py [--seconds 60] [--every 30] [--layers 4] [--hidden 256]

One run is trained for some seconds and ended, which saves once more.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.cluster.measured import add  # noqa: E402
from search.text.corpus import load_corpus  # noqa: E402
from search.training import training_run  # noqa: E402
from search.training.training_run import TrainConfig, TrainingRun  # noqa: E402
from sizer.architecture import Architecture  # noqa: E402
from sizer.tensors import count_parameters, tensor_specs  # noqa: E402


class Timed(TrainingRun):
    """A run that adds up the seconds of its checkpoints."""

    saving_s, saves = 0.0, 0

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        began = time.perf_counter()
        super().save(path)
        self.saving_s += time.perf_counter() - began
        self.saves += 1


def main() -> None:
    """Train, and print what part of the time went into checkpoints."""
    parser = argparse.ArgumentParser(description="Time the checkpoints of a run.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=training_run.SAVE_EVERY_S)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=256)
    given = parser.parse_args()
    training_run.SAVE_EVERY_S = given.every
    shape = Architecture(
        vocab_size=256,
        num_layers=given.layers,
        hidden_size=given.hidden,
        intermediate_size=4 * given.hidden,
        num_heads=given.hidden // 64,
        num_kv_heads=given.hidden // 64,
        head_dim=64,
    )
    run = Timed(shape, load_corpus("builtin"), TrainConfig(steps=1_000_000))
    with tempfile.TemporaryDirectory(prefix="sizer-checkpoints-") as folder:
        path, began = Path(folder) / "0-0.npz", time.perf_counter()
        run.advance(lambda report: None, lambda: time.perf_counter() - began > given.seconds, path)
        wall_s = time.perf_counter() - began
        size = path.stat().st_size
    parameters = count_parameters(tensor_specs(shape)).total
    add(
        "checkpoint_time", parameters=parameters, saves=run.saves, bytes=size, wall_s=round(wall_s, 1),
        saving_s=round(run.saving_s, 2), every_s=given.every, share=round(run.saving_s / wall_s, 4),
    )  # fmt: skip


if __name__ == "__main__":
    main()
