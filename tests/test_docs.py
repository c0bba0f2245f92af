"""The documents: README examples print what they show, paths exist, every command and room is described."""

from __future__ import annotations

import functools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import cli
from sizer.devices.catalogue import load_devices
from sizer.families.hf_config import FAMILIES
from sizer.registry import models

ROOT = Path(__file__).resolve().parents[1]
# Documents for first-time readers. Blocks marked `console` are run; others no two machines print alike.
READ_FIRST = [
    ROOT / "README.md",
    *sorted((ROOT / "docs" / "start").glob("*.md")),
    *sorted((ROOT / "docs" / "guides").glob("*.md")),
]
EXAMPLES = [
    (document, command, shown)
    for document in READ_FIRST
    for command, shown in re.findall(
        r"```console\n\$ (.+?)\n(.*?)```", document.read_text(encoding="utf-8"), flags=re.DOTALL
    )
]


@functools.cache  # documents show some commands twice
def run_example(command: str) -> str:
    """What a shell prints for a README command, standard error included."""
    sizer = f'sizer() {{ {shlex.quote(sys.executable)} {shlex.quote(str(ROOT / "cli.py"))} "$@"; }}'
    done = subprocess.run(
        ["bash", "-c", f"{sizer}\n{command}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # readline, which pytest imports, sets COLUMNS where os.environ does not see it
        env=dict(os.environ),
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout


def test_there_are_examples_to_run() -> None:
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize(
    ("document", "command", "shown"),
    EXAMPLES,
    ids=[f"{path.stem}: {command[:50]}" for path, command, _ in EXAMPLES],
)
def test_examples_print_what_they_show(
    document: Path, command: str, shown: str, request: pytest.FixtureRequest
) -> None:
    printed = run_example(command)
    if request.config.getoption("--overwrite-golden"):
        before = f"```console\n$ {command}\n{shown}```"
        text = document.read_text(encoding="utf-8")
        assert before in text
        document.write_text(text.replace(before, f"```console\n$ {command}\n{printed}```"), encoding="utf-8")
        return
    assert shown == printed


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/method.md"])
def test_files_named_in_documents_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = set(re.findall(r"[`(]([\w./-]+\.(?:py|md|toml|csv|txt|png))[`)]", text))
    rooms = ("", "sizer/", "search/", "reports/", "docs/", "tests/")
    for path in sorted(named):
        assert any((ROOT / room / path).is_file() for room in rooms), f"{document} names {path}"


def test_the_changelog_names_every_command() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for command in cli._COMMANDS:
        assert command in changes


def test_the_changelogs_counts_are_those_of_the_code() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for count in (
        f"{len(models())} models by name",
        f"{len(FAMILIES)} model types is read",
        f"{len(load_devices())} devices,",
    ):
        assert count in changes
