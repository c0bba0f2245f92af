"""Broken TOML, bench output, batch lines, codes, databases and checkpoints: a result or one clear error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sizer.errors import InvalidFile, InvalidQuantity
from sizer.request import EstimateRequest
from tests.search.mutated_files import KINDS


@pytest.mark.parametrize("count", [30, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_broken_files_are_refused_or_read(kind: str, count: int, root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.search.mutated_files", kind, str(count), "0"],
        capture_output=True,
        text=True,
        cwd=root,
        check=True,
        timeout=600,
    )
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["files"] == count
    assert 0.2 * count < found["refused"] <= count


def test_a_batch_lines_config_is_an_object_beside_a_model_too() -> None:
    with pytest.raises(InvalidFile, match=r"config: must be an object, got \[1\]; accepted"):
        EstimateRequest.from_json({"model": "SmolLM2-135M", "config": [1]})


def test_a_share_of_hundreds_of_digits_is_one_line() -> None:
    with pytest.raises(InvalidQuantity, match="sparsity: must be above 0 and below 1, got a number of about"):
        EstimateRequest.from_json({"model": "SmolLM2-135M", "sparsity": 10**400}).run()
