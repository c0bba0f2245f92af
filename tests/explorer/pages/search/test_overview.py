"""The list of studies: figures as stored, filter, notes and archive; what is running opens first."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from explorer.pages.search.overview import COLUMNS, DECISIONS, runs_of, study_rows
from reports.export.documents import frontier_document
from reports.text.decisions import decisions_of
from search.store.remarks import MOST_LETTERS, StudyRemarks, read_remarks, write_remarks
from search.store.results import SearchResult
from search.store.study import load_result
from sizer.errors import StudyError
from tests.explorer.app_pages import STORAGE, fine, search_page
from tests.explorer.studies import store


@pytest.fixture
def two(folder: Path, result: SearchResult) -> tuple[str, str]:
    """Two studies in the storage."""
    store(result, STORAGE)
    store(replace(result, study="other"), STORAGE)
    return result.study, "other"


def listed(root: Path, **query: str) -> AppTest:
    page = search_page(root)
    page.query_params["view"] = "Studies"
    for name, value in query.items():
        page.query_params[name] = value
    return fine(page.run())


def names_in(page: AppTest) -> list[str]:
    return page.dataframe[0].value["study"].tolist() if page.dataframe else []


def test_every_study_has_its_state_budget_and_best_score(
    root: Path, two: tuple[str, str], result: SearchResult
) -> None:
    table = listed(root).dataframe[0].value
    assert tuple(table.columns) == COLUMNS
    assert sorted(table["study"]) == sorted(two)
    row = table[table["study"] == result.study].iloc[0]
    best = frontier_document(result)["points"][-1]
    assert row["best bits per byte"] == f"{best['val_bits_per_byte']:.4f}"
    assert row["frontier"] == str(len(frontier_document(result)["points"]))
    assert row["device"] == "raspberry-pi-5"
    assert row["budget"] == "file at most 6 MB, decode at least 200 tokens/s"
    assert row["state"] == "not running"


def test_decisions_are_counted_if_asked_for(root: Path, two: tuple[str, str]) -> None:
    page = listed(root)
    assert DECISIONS not in page.dataframe[0].value.columns
    page.toggle(key="search_decided").set_value(True)
    table = fine(page.run()).dataframe[0].value.set_index("study")
    found = decisions_of(load_result("other", STORAGE))
    assert found is not None
    assert table.loc["other", DECISIONS] == f"{len(found.settled)} of {len(found.decisions)}"


def test_decisions_are_counted_again_after_a_run_of_another_seed(result: SearchResult) -> None:
    one = result.trained[0]
    assert one.proxy is not None
    settled = replace(one, runs=(*one.runs, replace(one.proxy, seed=7)))
    more = replace(result, records=tuple(settled if r is one else r for r in result.records))
    assert len(more.trained) == len(result.trained)
    assert runs_of(more) == runs_of(result) + 1


def test_notes_are_kept_and_found_and_the_archive_hides(root: Path, two: tuple[str, str]) -> None:
    write_remarks("other", STORAGE, StudyRemarks(note="wide shapes, <b>second</b> try"))
    assert names_in(listed(root, filter="second TRY")) == ["other"]
    assert names_in(listed(root, filter="no such")) == []
    write_remarks("other", STORAGE, replace(read_remarks("other", STORAGE), is_archived=True))
    assert names_in(listed(root)) == [two[0]]
    assert sorted(names_in(listed(root, archived="True"))) == sorted(two)
    assert read_remarks("other", STORAGE).note == "wide shapes, <b>second</b> try"


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"note": 3}', "\\u0000", '{"note": "", "is_archived": "yes"}']
)
def test_remarks_that_cannot_be_read_are_none(two: tuple[str, str], folder: Path, text: str) -> None:
    write_remarks("other", STORAGE, StudyRemarks(note="x", is_archived=True))
    (found,) = folder.rglob("remarks.json")
    found.write_text(text, encoding="utf-8")
    assert not read_remarks("other", STORAGE).is_archived
    with pytest.raises(StudyError, match="note: must have at most"):
        write_remarks("other", STORAGE, StudyRemarks(note="x" * (MOST_LETTERS + 1)))


def test_the_page_opens_on_the_search_that_runs(root: Path, two: tuple[str, str], folder: Path) -> None:
    from search.store.process import process

    launched = folder / "runs" / "logs" / "other.json"
    launched.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "study": "other",
        "owner": process(os.getpid()),
        "arguments": ["search", "run"],
        "began_at_s": 1e12,
        "log_begins_bytes": 0,
    }
    launched.write_text(json.dumps(document), encoding="utf-8")
    assert [row[:2] for row in study_rows(two, STORAGE, with_archived=False)][0] == ("other", "starting")
    page = fine(search_page(root).run())
    assert page.selectbox(key="search_study").value == "other"
