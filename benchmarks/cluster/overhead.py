"""Time tasks of a known length on a Dask cluster of two slots: what the cluster adds to them.

    python benchmarks/cluster/overhead.py [--tasks 20] [--seconds 20]

A task sleeps instead of training, so that other work on the machine does not lengthen it; corpus, conditions,
messages and results are those of a search. Starting scheduler and workers is not counted.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.cluster.measured import add  # noqa: E402
from search.config.config import SearchConfig  # noqa: E402
from search.run.cluster import OnCluster  # noqa: E402
from search.run.places import corpus_of  # noqa: E402
from search.run.tasks import ClusterRequest, TrainingTask  # noqa: E402
from search.store.results import Candidate  # noqa: E402
from search.store.study import OpenStudy, create_study  # noqa: E402
from search.training.train_step import ProductPrecision  # noqa: E402
from search.training.training_run import TrainConfig  # noqa: E402
from tests.dask_cluster import DaskCluster  # noqa: E402
from tests.search.tiny_run import TINY  # noqa: E402
from tests.search_runs import TEXT  # noqa: E402

SLOTS = 2


def main() -> None:
    """Run the tasks and print what they took."""
    parser = argparse.ArgumentParser(description="Time tasks of a known length on a cluster.")
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    os.environ["TASK_S"] = str(given.seconds)
    with tempfile.TemporaryDirectory(prefix="sizer-overhead-") as name:
        folder = Path(name)
        (folder / "text.py").write_text(TEXT, encoding="utf-8")
        preload = Path(__file__).parent / "sleeping_worker.py"
        with DaskCluster(folder, workers=SLOTS, preload=preload) as dask:
            wall_s = _timed(folder, dask.address, given.tasks)
    alone_s = given.tasks * given.seconds / SLOTS
    overhead = round(wall_s / alone_s - 1, 4)
    add(
        "overhead", tasks=given.tasks, task_s=given.seconds, slots=SLOTS, wall_s=round(wall_s, 2),
        overhead=overhead,
    )  # fmt: skip


def _timed(folder: Path, address: str, tasks: int) -> float:
    config = SearchConfig.build(corpus=str(folder / "text.py"), workers=SLOTS, steps=20)
    storage = f"sqlite:///{folder}/runs/sizer.db"
    place = OnCluster(ClusterRequest(where=address, threads=1), slots=SLOTS)
    corpus = corpus_of(config, storage)()
    study = create_study(
        config,
        name="s",
        storage=storage,
        settings=place.settings(config),
        corpus={"name": corpus.name, "digest": corpus.digest},
    )
    executor = place.executor(study, corpus, on_step=lambda task, step: None, should_stop=lambda: False)
    began, left, ended = time.monotonic(), list(range(tasks)), 0
    while ended < tasks:
        while left and executor.free:
            executor.start(_task(left.pop(0), study))
        ended += len(executor.finished())
    wall_s = time.monotonic() - began
    executor.close()
    place.close()
    return wall_s


def _task(number: int, study: OpenStudy) -> TrainingTask:
    return TrainingTask(
        number=number,
        rung=0,
        candidate=Candidate(architecture=TINY, format="Q4_0"),
        training=TrainConfig(
            steps=20,
            fused=study.settings["engine"] == "fused",
            dtype=ProductPrecision(str(study.settings["dtype"])),
        ),
        checkpoint=study.checkpoints / f"{number}-0.npz",
    )


if __name__ == "__main__":
    main()
