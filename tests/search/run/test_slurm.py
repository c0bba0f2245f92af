"""A search under SLURM, two nodes on this machine, one of which dies: the models of a local search."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.cluster.slurm import missing, search_with_a_node_killed

pytest.importorskip("dask_jobqueue")


@pytest.mark.slow
@pytest.mark.skipif(bool(missing()) or os.geteuid() != 0, reason="needs SLURM's programs, and root")
def test_a_node_killed_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    found, said = search_with_a_node_killed(tmp_path, steps=240)
    assert (found["exit"], found["same"]) == (0, True), said
    assert found["runs_before"] < found["runs"], "the node died when all had ended"
    assert found["processes"] > 0
