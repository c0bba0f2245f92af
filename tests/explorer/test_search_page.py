"""The page "Search": the form asks for what it shows, a study is shown as stored, nothing else is opened."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import search.store.study
from explorer.pages.search import start as search_start
from explorer.pages.search.compare import compared_rows, differences
from explorer.pages.search.studies import next_name
from search.analysis.reliability import control_hypervolumes
from search.store.results import SearchResult
from sizer.errors import StudyError
from tests.explorer.app_pages import STORAGE, command, fine, html, rows, search_page
from tests.explorer.studies import store
from tests.worked_study import study_of_proxies


@pytest.fixture
def page(root: Path, folder: Path) -> AppTest:
    """The page, not yet run."""
    return search_page(root)


def test_the_form_shows_its_command(page: AppTest) -> None:
    assert command(page.run()) == "sizer search run --study=search-1"
    page.text_input(key="search_max_size").set_value("800KB")
    page.number_input(key="search_trials").set_value(5).run()
    assert command(page) == "sizer search run --max-size=800KB --trials=5 --study=search-1"
    assert "5 models for 1,000 steps" in page.caption[0].value
    page.selectbox(key="search_length").set_value("minutes").run()
    page.number_input(key="search_minutes").set_value(7.0).run()
    assert command(page) == "sizer search run --max-size=800KB --minutes=7 --study=search-1"


def test_a_preset_fills_the_fields(page: AppTest) -> None:
    page.run()
    page.selectbox(key="search_preset").set_value("raspberry-pi-5-tiny").run()
    assert page.text_input(key="search_max_size").value == "4MB"
    assert page.text_input(key="search_max_memory").value == "200MB"
    assert command(page) == "sizer search run --preset=raspberry-pi-5-tiny --study=search-1"
    page.text_input(key="search_max_memory").set_value("").run()
    assert "memory at most 200 MB" in page.caption[0].value  # empty is what the preset says


def test_what_cannot_be_is_shown_in_one_line_and_cannot_be_begun(page: AppTest) -> None:
    page.run()
    page.text_input(key="search_max_size").set_value("*two* <b>").run()
    assert [e.value for e in fine(page).error][0].startswith(r"max-size: cannot read '\*two\* \<b\>'")
    assert not [b for b in page.button if b.key == "search_begin"]


def test_a_link_fills_the_form(page: AppTest) -> None:
    page.query_params["device"] = "iphone-15-pro"
    page.query_params["max_size"] = "3MB"
    page.query_params["max_memory"] = "100MB"
    page.query_params["min_decode"] = "50"
    assert command(page.run()) == (
        "sizer search run --device=iphone-15-pro --max-size=3MB --max-memory=100MB --min-decode=50.0 "
        "--study=search-1"
    )
    # once filled the fields are the reader's
    page.text_input(key="search_max_size").set_value("4MB").run()
    assert "--max-size=4MB" in command(page)


def test_a_bad_link_opens_the_form(page: AppTest) -> None:
    page.query_params["device"] = "<b>"
    page.query_params["min_decode"] = "<img src=x>"
    page.query_params["view"] = "nothing"
    page.run()
    assert page.selectbox(key="search_device").value == "raspberry-pi-5"
    assert page.error[0].value.startswith(r"min-decode: cannot read '\<img src=x\>'")


def test_start_begins_what_is_shown_and_goes_over_to_watching(
    page: AppTest, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[Any, ...]] = []
    monkeypatch.setattr(search_start, "launch", lambda *given: started.append(given))
    page.run()
    page.text_input(key="search_name").set_value("mine").run()
    page.number_input(key="search_trials").set_value(2).run()
    page.button(key="search_begin").click().run()
    fine(page)
    assert started == [("mine", ["run", "--trials=2", "--study=mine"], STORAGE)]
    assert page.session_state["search_view"] == "Watch"


def test_a_start_that_fails_is_one_line(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise StudyError("study: 'x' cannot be started: <disk> full")

    monkeypatch.setattr(search_start, "launch", refuse)
    page.run()
    page.button(key="search_begin").click().run()
    assert [e.value for e in fine(page).error] == [r"study: 'x' cannot be started: \<disk\> full"]
    assert page.session_state["search_view"] == "Start"


def test_no_study_yet(page: AppTest, folder: Path) -> None:
    page.query_params["view"] = "Watch"
    page.run()
    assert [i.value for i in fine(page).info] == ["There is no study yet: start a search in the view Start."]
    assert not list(folder.iterdir())


def test_names_from_a_storage_are_escaped(page: AppTest, result: SearchResult) -> None:
    name = "<script>alert(1)</script>[x](y)"
    store(replace(result, study=name, corpus="<img src=x>"), STORAGE)
    store(result, STORAGE)
    page.query_params["study"] = name
    page.run()
    assert fine(page).selectbox(key="search_study").value == name
    texts = [*page.markdown, *page.caption, *page.info, *page.error]
    for text in texts:
        assert not re.search(r"(?<!\\)<(script|img)", text.value), text.value
        assert "[x](y)" not in text.value
    assert "<script" not in html(page)
    for chart in page.get("plotly_chart"):
        assert "<script" not in chart.proto.spec
    commands = "\n".join(block.value for block in page.code)  # code is no HTML
    assert f"sizer search report '{name}'" in commands
    page.session_state["search_view"] = "Compare"
    page.run()
    page.multiselect(key="search_studies").set_value([name, result.study]).run()
    assert "<script" not in html(fine(page))
    for chart in page.get("plotly_chart"):
        assert "<script" not in chart.proto.spec


@pytest.mark.parametrize("asked", ["../elsewhere", "/etc", "unknown", ""])
def test_only_studies_of_the_storage_are_opened(
    page: AppTest, result: SearchResult, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    store(result, STORAGE)
    page.query_params["view"] = "Watch"
    page.query_params["study"] = asked
    opened: list[str] = []
    real = search.store.study.open_study

    def noted(name: str, storage: str) -> search.store.study.OpenStudy:
        opened.append(name)
        return real(name, storage)

    monkeypatch.setattr(search.store.study, "open_study", noted)
    page.run()
    assert page.selectbox(key="search_study").value == "pi5-6mb"
    assert set(opened) <= {"pi5-6mb"}
    assert not [widget for widget in page.text_input if "storage" in widget.label.lower()]


def test_a_study_that_is_a_path_is_one_line(page: AppTest, folder: Path) -> None:
    import optuna

    (folder / "runs").mkdir()
    optuna.create_study(study_name="../../etc", storage=STORAGE)
    page.query_params["view"] = "Watch"
    page.run()
    assert "cannot be the name of a folder" in fine(page).error[0].value


def test_studies_side_by_side(page: AppTest, result: SearchResult, result_of: Callable[..., Any]) -> None:
    store(result, STORAGE)
    small = replace(result_of("raspberry-pi-5", (0, 1, 2)), corpus_digest="another", study="small")
    store(small, STORAGE, sampler="random")
    page.query_params["view"] = "Compare"
    page.run()
    assert fine(page).info[0].value == "Choose two or more studies with trained models."
    page.multiselect(key="search_studies").set_value(["pi5-6mb", "small"]).run()
    ours, theirs = control_hypervolumes(result, small)
    assert [row[-1] for row in rows(page)] == ["hypervolume", f"{ours:.4f}", f"{theirs:.4f}"]
    assert "different texts" in page.warning[0].value
    (chart,) = [json.loads(c.proto.spec) for c in page.get("plotly_chart")]
    assert [trace["name"] for trace in chart["data"]] == ["pi5-6mb", "small"]
    assert page.query_params["studies"] == ["pi5-6mb", "small"]


def test_scores_carried_over_beside_others_are_said_to_be(
    result: SearchResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, found = study_of_proxies()
    monkeypatch.setattr("search.analysis.extrapolation.extrapolate_study", lambda _: found)
    assert "Scores of proxies are extrapolated" in differences([study, result])[-1]
    assert "by a law each" in differences([study, study])[-1]
    assert not differences([result, result])


def test_rows_of_the_comparison(result: SearchResult, result_of: Callable[..., SearchResult]) -> None:
    small = result_of("raspberry-pi-5", (0, 1, 2))
    ours, theirs = control_hypervolumes(result, small)
    rows = compared_rows([result, small])
    assert [row[-1] for row in rows] == [f"{ours:.4f}", f"{theirs:.4f}"]
    assert [row[3] for row in rows] == ["11", "3"]


def test_next_name() -> None:
    assert next_name(()) == "search-1"
    assert next_name(("search-1", "search-3", "x")) == "search-2"
