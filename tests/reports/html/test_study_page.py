"""The report: one page that needs no network, escapes what it is given, and is never left half written."""

from __future__ import annotations

import gzip
import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from plotly.offline import get_plotlyjs

from reports.export import files as exports
from reports.export.documents import frontier_document
from reports.figures.study import study_figures
from reports.html.page import PLOTLY_BASIC
from reports.html.study_page import report_html, write_report
from reports.html.study_sections import trials_table
from reports.text.decisions import decision_cells, decision_lines, decisions_of
from reports.text.rerun import search_toml
from reports.text.rungs import reasons
from reports.text.trust import trust_line, trust_table
from reports.text.trust_notes import trust_notes
from search.analysis.frontier import drawn_costs
from search.analysis.reliability import rung_trust
from search.analysis.rung_history import rung_history
from search.config.config import SearchConfig
from search.config.presets import presets
from search.config.reading import config_from_dict
from search.run.learning_curves import CurvePoint, LearningCurve
from search.store.results import SearchResult
from sizer.errors import InvalidFile
from tests.reports.html.html_reader import HtmlReader
from tests.reports.plain_text import plain_text

ResultOf = Callable[..., SearchResult]


def _text(page: str) -> str:
    return HtmlReader(page).text


def test_writes_files_that_agree(in_rungs: SearchResult, tmp_path: Path) -> None:
    files = write_report(in_rungs, tmp_path / "new" / "report")
    beside = files.others
    assert json.loads(beside["frontier.json"].read_text(encoding="utf-8")) == frontier_document(in_rungs)
    assert list(pd.read_csv(beside["frontier.csv"])["trial"]) == [1]
    assert len(pd.read_csv(beside["trials.csv"])) == 6
    assert len(pd.read_csv(beside["runs.csv"])) == 10
    for name in ("frontier", "trials", "runs"):
        table = pd.read_parquet(beside[f"{name}.parquet"])
        assert list(table.columns) == list(pd.read_csv(beside[f"{name}.csv"]).columns)
        assert len(table) == len(pd.read_csv(beside[f"{name}.csv"]))
    assert files.notes == ()
    assert files.html.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert sorted(p.name for p in files.html.parent.iterdir()) == sorted(["report.html", *beside])


def test_without_pyarrow_there_are_no_parquet_files_and_a_note(
    in_rungs: SearchResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "find_spec", lambda name: None)
    files = write_report(in_rungs, tmp_path)
    assert not any(name.endswith(".parquet") for name in files.others)
    assert files.notes == ("no Parquet files: pyarrow is not installed (pip install 'sizer[parquet]')",)


def test_needs_nothing_from_the_network(result: SearchResult) -> None:
    page = report_html(result)
    for tag, attributes in HtmlReader(page).tags:
        for name in ("src", "href", "data", "action"):
            assert not (attributes.get(name) or "").startswith(("http:", "https:", "//")), (tag, attributes)
    assert "url(http" not in page
    assert page.count("H4sI") == 1  # how base64 of a gzip file begins
    assert len(page.encode()) <= 1_000_000
    assert "default-src 'none'" in page
    assert '"plotlyServerURL"' not in page.split("</head>")[1]


def test_says_what_was_asked_and_what_came_of_it(result: SearchResult) -> None:
    text = _text(report_html(result))
    for words in (
        "pi5-6mb",
        "device raspberry-pi-5",
        "budget file at most 6 MB; decode at least 200 tokens/s",
        "corpus builtin (digest 6f1c3c0d9b3a)",
        "trained 11 of 12",
        "on the frontier 7",
        "over the budget, not trained 2",
        "diverged 1",
        "tokens trained on 11.45M",
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
    reader = HtmlReader(report_html(poisoned))
    clean = HtmlReader(report_html(result))
    assert sum(tag == "script" for tag, _ in reader.tags) == sum(tag == "script" for tag, _ in clean.tags)
    assert not any("onclick" in attributes for _, attributes in reader.tags)
    assert "alert(1)" in reader.text


def test_an_unknown_device_costs_the_breakdown_only(result: SearchResult) -> None:
    text = _text(report_html(replace(result, device="toaster-9000")))
    assert "No breakdown: unknown device 'toaster-9000'" in text
    assert "All trials" in text


def test_an_unknown_format_costs_what_needs_to_know_it(result: SearchResult) -> None:
    first, *others = result.records
    strange = replace(first, candidate=replace(first.candidate, format="Q9_X"))
    poisoned = replace(result, records=(strange, *others))
    text = _text(report_html(poisoned))
    assert "Shapes cannot be compared: unknown llama.cpp format 'Q9_X'" in text
    assert "All trials" in text
    assert set(study_figures(poisoned)) == {f"frontier-{cost.key}" for cost in drawn_costs(poisoned)}


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
    assert len(pd.read_csv(files.others["frontier.csv"])) == int(5 in numbers)


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
    before = {path: path.read_bytes() for path in (files.html, *files.others.values())}

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InvalidFile, match="No space left on device"):
        write_report(replace(result, study="another"), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_report_is_readable_by_others(result_of: ResultOf, tmp_path: Path) -> None:
    files = write_report(result_of("raspberry-pi-5", (5,)), tmp_path)
    assert {path.stat().st_mode & 0o777 for path in (files.html, *files.others.values())} == {0o644}


def test_ties_are_counted_in_standard_errors(result: SearchResult) -> None:
    # neighbours on the frontier, smallest first, differ by 0.0920, 0.1830, 0.0375, 0.0207, 0.0426 and 0.0012;
    # two standard errors of a difference are about 0.016 to 0.019
    (note,) = (note for note in trust_notes(result) if "pairs of neighbours" in note)
    assert note.startswith("1 of 6 pairs of neighbours")
    assert "(taken as independent)" in note


def test_trust_notes_claim_only_what_was_done(result: SearchResult) -> None:
    notes = " ".join(trust_notes(result))
    assert "11 models were trained for 1,000 steps, 1.024M tokens each." in notes
    assert "Every model was trained once (seed 0)." in notes
    assert "1 trial diverged" in notes
    assert "not finished" not in notes
    assert "The study is not finished" in " ".join(trust_notes(replace(result, trials_requested=40)))


def test_no_path_of_the_machine_that_made_it(result: SearchResult, root: Path) -> None:
    assert str(root) not in re.sub(r"<script>.*?</script>", "", report_html(result), flags=re.DOTALL)


def test_rungs_say_who_went_on_and_why(in_rungs: SearchResult) -> None:
    text = _text(report_html(in_rungs))
    assert "shallowest of its size: trial 0; best of its size: trial 1; deepest of its size: trial 2" in text
    assert "trained to its end: trial 1" in text
    (first, *_) = rung_history(in_rungs)
    assert reasons(first)["deepest of its size"] == (2,)


def test_the_trust_table_has_the_numbers_of_the_command(in_rungs: SearchResult) -> None:
    reports = rung_trust(in_rungs)
    text = _text(report_html(in_rungs))
    (report,) = reports
    assert (report.early_steps, report.late_steps, report.report.models) == (100, 300, 3)
    for number in (report.report.spearman, report.report.kendall):
        assert f"{number:.2f}" in text
    assert f"verdict: {trust_line(in_rungs)}" in plain_text(trust_table(in_rungs, reports, None), 200)
    assert trust_line(in_rungs) in text


def test_tables_and_headings_can_be_read_aloud(in_rungs: SearchResult) -> None:
    tags = HtmlReader(report_html(in_rungs)).tags
    tables = [attributes for tag, attributes in tags if tag == "table"]
    captions = sum(tag == "caption" for tag, _ in tags)
    titles = {attributes.get("id") for tag, attributes in tags if re.fullmatch("h[1-6]", tag)}
    assert captions >= 4
    titled = [t["aria-labelledby"] for t in tables if "aria-labelledby" in t]
    assert len(tables) == captions + len(titled)
    assert set(titled) <= titles
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in tags if tag == "th")
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_it_says_how_to_run_the_study_again(in_rungs: SearchResult) -> None:
    text = _text(report_html(in_rungs))
    assert "sizer search run --config search.toml --study by-hand" in text
    assert "sizer 0.1.0, commit abc; python 3.11.7; torch 2.13.0; optuna 5.0.0" in text


def test_folders_of_the_machine_are_left_out(in_rungs: SearchResult, tmp_path: Path) -> None:
    assert in_rungs.config is not None
    corpus = str(tmp_path / "secret" / "notes.jsonl:body")
    poisoned = replace(in_rungs, config=in_rungs.config.changed(corpus=corpus, teacher="/secret/t.npz"))
    page = report_html(poisoned)
    toml = search_toml(poisoned.config or in_rungs.config, "0" * 32)
    assert "secret" not in page + toml
    assert 'corpus = "notes.jsonl:body"  # put its path here  # digest 000000000000' in toml


@pytest.mark.parametrize("name", sorted(presets()))
def test_the_toml_says_the_search_it_was_made_from(name: str) -> None:
    config = presets()[name].config
    assert config_from_dict(tomllib.loads(search_toml(config, "0" * 32))) == config


def test_the_toml_keeps_any_text() -> None:
    config = SearchConfig.build(corpus='a "b" \\ \t \x7f \N{GRINNING FACE} # c')
    assert config_from_dict(tomllib.loads(search_toml(config, "0" * 32))) == config


def test_learning_curves_are_drawn_where_they_were_kept(in_rungs: SearchResult) -> None:
    curve = LearningCurve(1, 0, (CurvePoint(1, 5.5, 0), CurvePoint(100, 3.25, 0)))
    page = report_html(in_rungs, (curve,))
    assert "Learning curves" in _text(page)
    assert "No learning curves were kept" not in _text(page)
    assert "No learning curves were kept" in _text(report_html(in_rungs))


def test_the_compressed_plotly_is_the_python_packages_version_and_draws_what_reports_have(
    in_rungs: SearchResult,
) -> None:
    script = gzip.decompress(PLOTLY_BASIC.read_bytes()).decode()
    version = re.search(r"plotly\.js v([\d.]+)", get_plotlyjs()[:400])
    assert version is not None
    assert f"v{version[1]}" in script[:400]
    kinds = {trace.type for figure in study_figures(in_rungs).values() for trace in figure.data}
    assert kinds <= {"scatter", "bar", "pie"}  # the traces of the basic bundle


def test_opens_with_the_answer_and_how_far_to_trust_it(result: SearchResult) -> None:
    text = _text(report_html(result))
    answer = text.index("Most accurate within the budget: trial 10")
    assert answer < text.index(trust_line(result)) < text.index("Frontier", answer) < text.index("Request")
    nothing = replace(result, records=())
    assert "No model has been trained to a score yet." in _text(report_html(nothing))


def test_decisions_come_before_the_frontier(in_rungs: SearchResult, result_of: ResultOf) -> None:
    page = report_html(in_rungs)
    found = decisions_of(in_rungs)
    assert found is not None
    count, first, *_ = decision_lines(found)
    text = _text(page)
    assert text.index(count) < text.index(first.strip()) < text.index("Bits per byte against file size")
    rows = [row for table in HtmlReader(page).tables for row in table]
    assert all(tuple(row) in {tuple(r) for r in rows} for row in decision_cells(found))
    # two models say nothing that the published law does not say
    assert "decisions settled" not in _text(report_html(result_of("raspberry-pi-5", (5,))))


def test_a_table_without_remarks_has_no_column_for_them(result: SearchResult) -> None:
    """On paper an empty one would take half of the page from the others."""
    assert ">remark</th>" in trials_table(result)
    plain = tuple(record for record in result.trained if record.repeats is None)
    assert ">remark</th>" not in trials_table(replace(result, records=plain))
