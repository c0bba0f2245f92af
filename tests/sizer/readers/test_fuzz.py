"""Broken files through each reader: a result or one clear error, in a second and 200 MB."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sizer.readers.mutation import gguf_fields


@pytest.mark.parametrize("count", [300, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "kind",
    [
        *("config", "safetensors", "index", "gguf", "packed", "adapter", "adapter config", "split", "unread"),
        "projector",
    ],
)
def test_broken_files_are_refused_or_read(kind: str, count: int, root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.sizer.readers.fuzzing", kind, str(count), "0"],
        capture_output=True,
        text=True,
        cwd=root,
        check=True,
        timeout=600,
    )
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["files"] == count
    # broken enough to be refused, whole enough to be read past the first field
    assert 0.2 * count < found["refused"] < 0.97 * count


def test_every_number_of_a_gguf_header_is_found() -> None:
    from tests.sizer.readers.handmade import ARRAY, FLOAT32, STRING, array, entry, gguf_bytes, pair, text

    pairs = [pair("k", STRING, text("abc")), pair("l", ARRAY, array(FLOAT32, 3, bytes(12)))]
    data = gguf_bytes(pairs, [entry("t", [32, 2], 8, 0)], 128)
    fields, end = gguf_fields(data)
    # magic, version, two counts; length, type, length; length, type, element type, count; length, number of
    # dimensions, two of them, type, offset
    assert [width for _, width in fields] == [4, 4, 8, 8, 8, 4, 8, 8, 4, 4, 8, 8, 4, 8, 8, 4, 8]
    assert end == 24 + (9 + 4 + 11) + (9 + 4 + 12 + 12) + (9 + 4 + 16 + 4 + 8)
