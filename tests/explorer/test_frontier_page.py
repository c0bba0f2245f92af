"""The page "Results": its counts, the chosen model's figures, and what it says when there is nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from explorer.widgets import downloads
from reports.text.decisions import decision_lines, decisions_of
from search.store.results import SearchResult
from sizer.errors import StudyError
from sizer.units import format_bytes, format_bytes_binary, format_count
from tests.explorer.app_pages import figures
from tests.worked_study import CARRIED_FRONT, study_of_proxies

Studies = dict[str, SearchResult]


@pytest.fixture
def page(root: Path, studies: Studies) -> AppTest:
    """The page, not yet run: a test may first change what the storage holds."""
    return AppTest.from_file(str(root / "explorer" / "pages" / "study" / "page.py"), default_timeout=30)


def test_counts_of_the_study(page: AppTest) -> None:
    shown = figures(page.run())
    assert shown["Trained"] == "11 of 12"
    assert shown["On the frontier"] == "7"
    assert shown["Over the budget"] == "2"
    assert shown["Diverged"] == "1"
    assert shown["Tokens"] == "11.45M"


def test_opens_on_the_most_accurate_model(page: AppTest, result: SearchResult) -> None:
    page.run()
    assert page.selectbox(key="trial").value == 10
    check_model(page, result, 10)


def test_choosing_a_dominated_model_shows_it(page: AppTest, result: SearchResult) -> None:
    page.run()
    page.selectbox(key="trial").set_value(6).run()
    check_model(page, result, 6)


def check_model(page: AppTest, result: SearchResult, number: int) -> None:
    sized = result.deployment(result.records[number])
    shown = figures(page)
    assert shown["Parameters"] == format_count(sized.parameters.total)
    assert shown["File"] == format_bytes(sized.file.total) == format_bytes(result.records[number].file_bytes)
    assert shown["Memory"] == format_bytes_binary(sized.memory.total_bytes)
    assert any(subheader.value == f"Trial {number}" for subheader in page.subheader)


def test_downloads_are_offered_and_not_made(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(*_: object) -> bytes:
        raise AssertionError("made before it was asked for")

    monkeypatch.setattr(downloads, "_make", made)
    page.run()
    assert not page.exception
    assert [button.label for button in page.download_button] == [
        "Configuration (JSON)",  # of the chosen model
        *("Report (HTML)", "Frontier (JSON)", "Frontier (CSV)", "Frontier (Parquet)"),
        *("Trials (CSV)", "Trials (Parquet)", "Runs (CSV)", "Runs (Parquet)"),
    ]


def test_no_storage_says_how_to_make_one(page: AppTest) -> None:
    page.run()
    page.text_input(key="study_storage").set_value("sqlite:///elsewhere.db").run()
    assert not page.exception
    assert "there is no study file" in page.info[0].value
    assert any("sizer search run" in str(text.value) for text in page.markdown)


@pytest.mark.parametrize("address", ["sqlite:////etc/passwd", "postgresql://me@there/x", "<script>"])
def test_a_storage_elsewhere_is_neither_opened_nor_looked_at(
    page: AppTest, studies: Studies, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    asked: list[str] = []
    held = sys.modules["search.store.study"]
    known = held.list_studies

    def listed(storage: str) -> tuple[str, ...]:
        asked.append(storage)
        return tuple(known(storage))

    monkeypatch.setattr(held, "list_studies", listed)
    page.query_params["storage"] = address
    page.run()
    assert not page.exception
    assert asked == []
    assert [error.value.replace("\\", "") for error in page.error] == [
        f"storage: '{address}' is not opened from a page; accepted: an SQLite file in the directory that the "
        "explorer was started in, such as sqlite:///runs/sizer.db, or the storage that it was started with "
        "(`sizer app --storage`)"
    ]
    assert not figures(page)
    # and what is typed is checked as a link is
    page.text_input(key="study_storage").set_value("").run()
    assert asked == ["sqlite:///runs/sizer.db"]
    assert figures(page)["Trained"] == "11 of 12"
    page.text_input(key="study_storage").set_value("sqlite:///../elsewhere.db").run()
    assert len(page.error) == 1
    assert set(asked) == {"sqlite:///runs/sizer.db"}


def test_an_address_with_a_password_is_not_shown(
    page: AppTest, studies: Studies, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, held = "postgresql://me:word@there/x", sys.modules["search.store.study"]
    monkeypatch.setattr("search.store.storage.default_storage", lambda: own)
    monkeypatch.setattr(held, "list_studies", lambda storage: tuple(studies) if storage == own else ())
    page.run()
    assert figures(page)["Trained"] == "11 of 12"
    assert page.text_input(key="study_storage").value == ""
    assert "word" not in str(page.query_params)


def test_no_study_says_how_to_make_one(page: AppTest, studies: Studies) -> None:
    studies.clear()
    page.run()
    assert not page.exception
    assert page.info[0].value == "This storage holds no study yet."


def test_nothing_trained_yet(page: AppTest, studies: Studies, result_of: Callable[..., SearchResult]) -> None:
    studies["pi5-6mb"] = result_of("raspberry-pi-5", (3, 7))
    page.run()
    assert figures(page)["Trained"] == "0 of 12"
    assert page.info[0].value == "Study pi5-6mb has no trained model yet: 2 trials so far."


def test_a_study_without_a_device(
    page: AppTest, studies: Studies, result_of: Callable[..., SearchResult]
) -> None:
    studies["pi5-6mb"] = result_of(None)
    assert figures(page.run())["Decode, tokens/s"] == "-"


def test_another_study_forgets_the_chosen_model(
    page: AppTest, studies: Studies, result: SearchResult
) -> None:
    studies["small"] = replace(result, study="small", records=result.records[:3])
    page.run()
    page.selectbox(key="study_study").set_value("small").run()
    assert figures(page)["Trained"] == "3 of 12"
    assert page.selectbox(key="trial").value == 1


def test_a_study_that_cannot_be_read_is_one_line(
    page: AppTest, studies: Studies, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str, storage: str) -> SearchResult:
        raise StudyError(f"study: {name!r} was written by another version")

    monkeypatch.setattr(sys.modules["search.store.study"], "load_result", broken)
    page.run()
    assert not page.exception
    assert [error.value for error in page.error] == ["study: 'pi5-6mb' was written by another version"]


def test_a_link_opens_the_study(page: AppTest, studies: Studies, result: SearchResult) -> None:
    studies["a-first"] = replace(result, study="a-first", records=result.records[:2])
    page.query_params["study"] = "pi5-6mb"
    page.run()
    assert page.selectbox(key="study_study").value == "pi5-6mb"


def test_explorer_imports_neither_torch_nor_optuna(root: Path) -> None:
    code = (
        "import sys, explorer.widgets.controls, explorer.widgets.estimate_widgets, reports.html.study_page\n"
        "import explorer.pages.search.start, explorer.pages.search.watch, explorer.pages.search.compare\n"
        "print([name for name in ('torch', 'optuna') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_scaled_proxies_are_ranked_by_what_is_carried_over(
    page: AppTest, studies: Studies, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, found = study_of_proxies()
    monkeypatch.setattr("search.analysis.extrapolation.extrapolate_study", lambda _: found)
    studies.clear()
    studies[study.study] = study
    shown = figures(page.run())
    assert shown["On the frontier"] == str(len(CARRIED_FRONT))
    menu = page.selectbox(key="trial")
    assert menu.value == CARRIED_FRONT[-1]
    assert menu.options[:3] == [
        "trial 0: 2 x 256, 4 query / 4 KV heads, Q4_0, 100 KB, 2.800 (2.672 to 2.928)",
        "trial 2: 4 x 384, 6 query / 6 KV heads, Q4_0, 300 KB, 2.700 (2.572 to 2.828)",
        "trial 3: 5 x 448, 7 query / 7 KV heads, Q4_0, 400 KB, 2.400 (2.272 to 2.528)",
    ]
    assert any("the frontier would be trials 1, 2." in caption.value for caption in page.caption)
    headline = "**2.400 (2.272 to 2.528) bits per byte (extrapolated), 2.6000 ± 0.0100 of its proxy**"
    assert any(str(text.value).startswith(headline) for text in page.markdown)


def test_results_open_with_the_decisions(page: AppTest, studies: Studies, in_rungs: SearchResult) -> None:
    studies.clear()
    studies[in_rungs.study] = in_rungs
    found = decisions_of(in_rungs)
    assert found is not None
    count, *lines = decision_lines(found)
    page.run()
    assert not page.exception
    shown = [str(block.value).replace("\\", "") for block in page.markdown]
    assert f"**{count}.**" in shown
    assert "\n".join(f"- {line.strip()}" for line in lines) in shown
    headings = [heading.value for heading in page.subheader]
    assert headings.index("Decisions") < headings.index("Trial 1")


def test_the_grid_is_filtered_by_words(page: AppTest) -> None:
    page.run()
    assert len(page.dataframe[0].value) == 16
    page.text_input(key="study_filter").set_value("diverged q4_0").run()
    assert not page.exception
    assert list(page.dataframe[0].value["trial"]) == [7, 15]
    assert any(caption.value.startswith("2 of 16 trials;") for caption in page.caption)
