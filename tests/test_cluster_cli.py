"""`sizer cluster` prints commands that exist; `--cluster` is refused in one line where it cannot be used."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import Any

import pytest


def test_recipes_name_the_scheduler_and_the_slots(sizer: Any) -> None:
    ran = sizer("cluster", "--host", "node1", "--port", "8799", "--slots", "3")
    assert ran.code == 0
    assert "dask scheduler --port 8799" in ran.out
    assert "dask worker tcp://node1:8799 --nworkers 3" in ran.out
    assert "sizer search run --workers 3 --cluster tcp://node1:8799 --study mine" in ran.out
    recipes = sizer("cluster", "--json").json
    assert recipes["schema"] == "sizer.cluster/1"
    assert any("slurm:" in line for lines in recipes["recipes"].values() for line in lines)


@pytest.mark.parametrize("program", ["scheduler", "worker"])
def test_options_of_the_printed_commands_are_dasks(sizer: Any, program: str) -> None:
    out = sizer("cluster").out
    lines = re.findall(rf"^.*dask {program} .*$", out, re.MULTILINE)
    assert lines
    help_text = subprocess.run(
        [sys.executable, "-m", f"distributed.cli.dask_{program}", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    for option in {word for line in lines for word in shlex.split(line.replace('"', "")) if word[:2] == "--"}:
        assert option in help_text, option


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--cluster", "banana"), "cluster: 'banana' is neither an address nor a batch system"),
        (("--threads", "2"), "threads: goes with --cluster"),
        (("--cluster", "tcp://h:1", "--minutes", "3"), "minutes, dry-run: how fast a cluster trains is not"),
    ],
)
def test_a_cluster_that_cannot_be_used_is_one_line(
    sizer: Any, arguments: tuple[str, ...], message: str
) -> None:
    ran = sizer("search", "run", *arguments)
    assert ran.code == 2
    assert message in ran.err
    assert len(ran.err.strip().splitlines()) == 1
