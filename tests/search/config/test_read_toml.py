"""A configuration file is read whole, or refused in one line: never hung on, never a traceback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from search.config.reading import MAX_TOML_BYTES, read_toml
from sizer.errors import InvalidFile


@pytest.mark.parametrize(
    "text",
    ["a = " + "[" * 900, "trials = " + "9" * 5000, "a = 1\na = 2", "= 3", "a" * (MAX_TOML_BYTES + 1)],
)
def test_bad_text_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidFile) as caught:
        read_toml(path)
    assert len(str(caught.value)) < 500


def test_a_pipe_and_a_device_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path, tmp_path / "none"):
        with pytest.raises(InvalidFile, match="config: "):
            read_toml(path)
