"""Commands on a pseudo-terminal of 80 and of 60 columns: no key, shape or number of an answer is cut."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from search.store.study import load_result
from sizer.devices.catalogue import load_devices
from sizer.registry import models

ROOT = Path(__file__).parents[1]
STUDIES = f"sqlite:///{ROOT / 'docs' / 'studies.db'}"
LONG = max(models(), key=lambda name: (len(name) <= 24, len(name)))  # as long as most names are at most
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")

if sys.platform == "win32":
    pytest.skip("a pseudo-terminal", allow_module_level=True)


def on_terminal(columns: int, *arguments: str) -> str:
    """What a command prints on a terminal of that width in columns, without colours."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    command = [sys.executable, str(ROOT / "cli.py"), *arguments]
    child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    printed = b""
    while True:
        try:
            read = os.read(ours, 65536)
        except OSError:  # how Linux reports the end of a terminal
            break
        if not read:
            break
        printed += read
    os.close(ours)
    assert child.wait() == 0, printed
    return _ESCAPE.sub("", printed.decode()).replace("\r\n", "\n")


def assert_nothing_is_cut(printed: str, columns: int) -> None:
    assert "…" not in printed
    assert max(len(line) for line in printed.splitlines()) <= columns


@pytest.mark.parametrize("columns", [80, 60])
def test_names_are_whole(columns: int) -> None:
    for command, names in (("devices", list(load_devices())), ("models", list(models()))):
        printed = on_terminal(columns, command)
        assert_nothing_is_cut(printed, columns)
        words = set(printed.split())
        assert [name for name in names if name not in words] == []


@pytest.mark.parametrize("columns", [80, 60])
def test_a_frontiers_shapes_formats_and_scores_are_whole(columns: int) -> None:
    printed = on_terminal(columns, "search", "frontier", "guided-0", "--storage", STUDIES)
    assert_nothing_is_cut(printed, columns)
    result = load_result("guided-0", STUDIES)
    words = " ".join(printed.split())
    for number in (2, 14):
        record = next(r for r in result.records if r.number == number)
        a = record.candidate.architecture
        assert f"{a.num_layers} x {a.hidden_size}," in words
        assert record.candidate.format in words
        assert record.proxy is not None
        assert f"{record.proxy.val_bits_per_byte:.4f}" in words


@pytest.mark.parametrize("columns", [80, 60])
def test_an_estimate_is_as_narrow_as_the_terminal(columns: int) -> None:
    printed = on_terminal(columns, "estimate", "SmolLM2-135M", "--device", "raspberry-pi-5")
    assert_nothing_is_cut(printed, columns)
    assert "134,515,008" in printed.split()


@pytest.mark.parametrize("columns", [80, 60])
def test_shapes_that_fill_a_budget_are_whole(columns: int) -> None:
    asked = ("solve", "--device", "raspberry-pi-5", "--max-size", "60MB", "--top", "3")
    printed = on_terminal(columns, *asked)
    assert_nothing_is_cut(printed, columns)
    words = " ".join(printed.split())
    command = [sys.executable, str(ROOT / "cli.py"), *asked, "--json"]
    document = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    for sized in document["estimates"]:
        a = sized["architecture"]
        assert f"{a['num_layers']} x {a['hidden_size']}," in words
        assert f"{a['num_heads']} query / {a['num_kv_heads']} KV heads" in words
        speed = sized["latency"]["decode_tokens_per_s"]["value"]
        assert f"{speed:.3g}" in words


@pytest.mark.parametrize("columns", [80, 60])
@pytest.mark.parametrize(
    ("command", "whole"),
    [
        (("search", "decisions", "guided-0", "--storage", STUDIES), "block sharing: none over"),
        (("search", "trust", "guided-0", "--storage", STUDIES), "pairs within 10 % of size"),
        (("devices", "galaxy-s24"), "ram_bytes"),
        (("quality", "curve", "--params", "350M"), "(40.2 to 42.7)"),
        (("formats", "Q4_K_M"), "Q4_K"),
        (("compare", "SmolLM2-135M", "--device", "pixel-8a", "--device", "raspberry-pi-5"), "SmolLM2-135M"),
        (("compare", "TinyLlama-1.1B", LONG, "--device", "galaxy-s24", "--rank", "quality"), f"{LONG} "),
        (("compare", "SmolLM2-135M", LONG, "--rank", "quality"), f"{LONG} "),
    ],
    ids=["decisions", "trust", "device", "curve", "format", "compare", "on-one-device", "on-none"],
)
def test_nothing_is_cut_in_narrow_columns(
    sizer: Any, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], whole: str, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    printed = sizer(*command).out
    assert "\N{HORIZONTAL ELLIPSIS}" not in printed
    assert whole in " ".join(printed.split())
    tables = printed.partition("verdict:")[0]  # a sentence below a table is for the terminal to wrap
    assert max(map(len, tables.splitlines())) <= columns


@pytest.mark.parametrize("group", [(), ("search",), ("quality",)], ids=["sizer", "search", "quality"])
def test_help_names_each_command_with_a_whole_sentence(
    sizer: Any, monkeypatch: pytest.MonkeyPatch, group: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    printed = sizer(*group, "--help").out
    commands = printed.partition("Commands:\n")[2]
    assert "..." not in commands
    sentences = re.split(r"\n  (?=\S)", commands.strip())
    assert len(sentences) > 2
    assert [one for one in sentences if not one.rstrip().endswith(".")] == []
    assert max(map(len, printed.splitlines())) <= 80
