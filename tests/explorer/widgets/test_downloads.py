"""Files that a page offers of a study: those that `sizer search report` writes, to the byte."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from explorer.widgets.downloads import download_name, study_downloads
from search.run.learning_curves import CurvePoint, CurveWriter
from search.store.results import SearchResult
from search.store.study import load_result
from tests.explorer.studies import store

STORAGE = "sqlite:///runs/sizer.db"


def test_every_file_is_the_commands_to_the_byte(sizer: Any, result: SearchResult) -> None:
    store(result, STORAGE, "first")
    writer = CurveWriter(Path("runs/first"))
    for step in range(1, 1001):
        writer.hear(10, 0, CurvePoint(step, 5 - step / 500, 0), 1000)
    assert sizer("search", "report", "first", "--out", "out").code == 0
    made = {d.file_name: d.make() for d in study_downloads(load_result("first", STORAGE), STORAGE)}
    written = {f"first-{path.name}": path.read_bytes() for path in Path("out").iterdir()}
    assert made == written
    assert {"first-report.html", "first-trials.parquet", "first-search.toml"} < set(made)
    assert b"Learning curves" in made["first-report.html"]


@pytest.mark.parametrize(
    ("study", "name"),
    [
        ("search-1", "search-1"),
        ("A.b_c-9", "A.b_c-9"),
        ("../../etc/passwd", "etc-passwd"),
        ("/etc/cron.d/x", "etc-cron.d-x"),
        ("..", "study"),
        (".hidden", "hidden"),
        ("", "study"),
        ("<script>alert(1)</script>", "script-alert-1-script"),
        ('a"; filename="b.exe', "a-filename-b.exe"),
        ("a\r\nSet-Cookie: b", "a-Set-Cookie-b"),
        ("C:\\x\\y", "C-x-y"),
        ("a\u202elmth", "a-lmth"),
        ("小模型", "小模型"),
        ("x" * 500, "x" * 48),
    ],
)
def test_a_studys_name_in_a_files(study: str, name: str) -> None:
    assert download_name(study, "report.html") == f"{name}-report.html"


@given(st.text(st.characters(exclude_categories=()), max_size=300))
def test_any_name_is_a_files_on_every_system(study: str) -> None:
    found = download_name(study, "frontier.parquet")
    assert re.fullmatch(r"\w[\w.-]*-frontier\.parquet", found)
    assert len(found.encode()) <= 255


def test_a_study_of_another_programs_name(result: SearchResult, tmp_path: Path) -> None:
    hostile = replace(result, study="../<script>alert(1)</script>")
    first, *_ = study_downloads(hostile, f"sqlite:///{tmp_path}/runs/sizer.db")
    assert first.file_name == "script-alert-1-script-report.html"
    page = first.make().decode()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
    assert list(tmp_path.iterdir()) == []


def _export(result, storage):  # type: ignore[no-untyped-def] # AppTest runs its source alone
    from explorer.widgets.study_views import show_export

    show_export(result, result.trained[0], storage, key="export")


def test_a_model_of_such_a_study_is_taken_along_too(result: SearchResult) -> None:
    page = AppTest.from_function(
        _export, args=(replace(result, study="../<b>"), STORAGE), default_timeout=60
    ).run()
    assert not page.exception
    assert [button.label for button in page.download_button] == ["Configuration (JSON)"]
    assert "sizer estimate --config b-0.json" in page.code[0].value
