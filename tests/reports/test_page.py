"""The report: one page that needs no network, escapes what it is given, and is never left half written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from reports.documents import frontier_document
from reports.page import report_html, write_report
from reports.trust_notes import trust_notes, unresolved_pairs
from search.results import SearchResult
from sizer.errors import InvalidFile

ResultOf = Callable[..., SearchResult]


class _Reader(HTMLParser):
    """Tags with their attributes, and the text outside scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._skipping = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._skipping = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._skipping = False

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self.text.append(data)


def _read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    return reader


def _text(page: str) -> str:
    return " ".join(" ".join(_read(page).text).split())


def test_writes_four_files_that_agree(result: SearchResult, tmp_path: Path) -> None:
    files = write_report(result, tmp_path / "new" / "report")
    assert json.loads(files.frontier_json.read_text(encoding="utf-8")) == frontier_document(result)
    assert list(pd.read_csv(files.frontier_csv)["trial"]) == [12, 0, 1, 4, 5, 8, 10]
    assert len(pd.read_csv(files.trials_csv)) == 16
    assert files.html.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert sorted(p.name for p in files.html.parent.iterdir()) == sorted(p.name for p in files)


def test_needs_nothing_from_the_network(result: SearchResult) -> None:
    page = report_html(result)
    for tag, attributes in _read(page).tags:
        for name in ("src", "href", "data", "action"):
            assert not (attributes.get(name) or "").startswith(("http:", "https:", "//")), (tag, attributes)
    assert "url(http" not in page
    assert page.count("* plotly.js v") == 1
    assert "default-src 'none'" in page
    assert '"plotlyServerURL"' not in page.split("</head>")[1]


def test_says_what_was_asked_and_what_came_of_it(result: SearchResult) -> None:
    text = _text(report_html(result))
    for words in (
        "pi5-6mb",
        "device raspberry-pi-5",
        "budget file at most 6 MB; decode at least 200 tokens/s",
        "corpus builtin (digest 6f1c3c0d9b3a)",
        "12 trials asked for",
        "11 trained to a score",
        "7 on the frontier",
        "2 over the budget, not trained",
        "1 diverged",
        "11.45M tokens trained on",
        "Most accurate model: trial 10",
        "Smallest model: trial 12",
        "file 8.781 MB > 6 MB",
        "same as trial 4",
    ):
        assert words in text, words


def test_everything_is_escaped(result: SearchResult) -> None:
    evil = "<script>alert(1)</script><b onclick='x'>&\"</b>"
    poisoned = replace(
        result, study=evil, corpus=evil, corpus_digest=evil[:12], settings={**result.settings, evil: evil}
    )
    reader = _read(report_html(poisoned))
    clean = _read(report_html(result))
    assert sum(tag == "script" for tag, _ in reader.tags) == sum(tag == "script" for tag, _ in clean.tags)
    assert not any("onclick" in attributes for _, attributes in reader.tags)
    assert "alert(1)" in "".join(reader.text)


def test_an_unknown_device_costs_the_breakdown_only(result: SearchResult) -> None:
    text = _text(report_html(replace(result, device="toaster-9000")))
    assert "No breakdown: unknown device 'toaster-9000'" in text
    assert "All trials" in text


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((), "No trial came to a score, so there is no frontier yet."),
        ((3, 7), "No trial came to a score, so there is no frontier yet."),
        ((5,), "The frontier has one model only"),
    ],
)
def test_no_frontier_or_one_model(
    result_of: ResultOf, tmp_path: Path, numbers: tuple[int, ...], words: str
) -> None:
    files = write_report(result_of("raspberry-pi-5", numbers), tmp_path)
    assert words in _text(files.html.read_text(encoding="utf-8"))
    assert len(pd.read_csv(files.frontier_csv)) == int(5 in numbers)


def test_without_a_device(result_of: ResultOf) -> None:
    text = _text(report_html(result_of(None)))
    assert "device none: no speed was predicted" in text
    assert "No device was given" in text


def test_a_directory_that_cannot_be_written(result_of: ResultOf, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(
        InvalidFile, match=r"^out: cannot write to '.*file/report': .*; accepted: a directory"
    ):
        write_report(result_of("raspberry-pi-5", (5,)), tmp_path / "file" / "report")


def test_a_failed_write_leaves_the_old_report(
    result_of: ResultOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = result_of("raspberry-pi-5", (5,))
    files = write_report(result, tmp_path)
    before = {path: path.read_bytes() for path in files}

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InvalidFile, match="No space left on device"):
        write_report(replace(result, study="another"), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_report_is_readable_by_others(result_of: ResultOf, tmp_path: Path) -> None:
    files = write_report(result_of("raspberry-pi-5", (5,)), tmp_path)
    assert {path.stat().st_mode & 0o777 for path in files} == {0o644}


def test_ties_are_counted_in_standard_errors(result: SearchResult) -> None:
    # neighbours on the frontier, smallest first, differ by 0.0920, 0.1830, 0.0375, 0.0207, 0.0426 and 0.0012;
    # two standard errors of a difference are about 0.016 to 0.019
    assert unresolved_pairs(result) == (1, 6)
    assert any("1 of the 6 pairs of neighbours" in note for note in trust_notes(result))


def test_trust_notes_claim_only_what_was_done(result: SearchResult) -> None:
    notes = " ".join(trust_notes(result))
    assert "11 models were trained for 1,000 steps, 1.024M tokens each." in notes
    assert "Every model was trained once (seed 0)." in notes
    assert "1 trial diverged" in notes
    assert "not finished" not in notes
    assert "The study is not finished" in " ".join(trust_notes(replace(result, trials_requested=40)))


def test_no_path_of_the_machine_that_made_it(result: SearchResult, root: Path) -> None:
    assert str(root) not in re.sub(r"<script>.*?</script>", "", report_html(result), flags=re.DOTALL)
