"""The documentation site builds without a warning: no broken link, no page outside the navigation."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from search.config.config import TABLES

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    quiet = {"NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true"}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(r"<(?:script|img|link)[^>]+(?:src|href)=\"?https?://[^\" >]+")
    found = {p.name: loads.findall(p.read_text(encoding="utf-8")) for p in site.rglob("*.html")}
    assert len(found) > 20
    assert {name: urls for name, urls in found.items() if urls} == {}


@pytest.mark.slow
def test_the_reference_is_that_of_the_code(site: Path) -> None:
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    assert "--max-context" in commands
    assert "sizer search settle" in commands
    configuration = (site / "reference" / "configuration.html").read_text(encoding="utf-8")
    assert all(f"<code>{name}</code>" in configuration for table in TABLES.values() for name in table)
    documents = (site / "reference" / "json.html").read_text(encoding="utf-8")
    assert "latency.decode_tokens_per_s.low" in documents
    assert "EstimateRequest" in (site / "reference" / "python.html").read_text(encoding="utf-8")
