"""The search page's view of one study: shown as stored, stopped and gone on with by the command's ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from explorer.pages.search import actions as search_actions
from explorer.pages.search import watch as search_watch
from explorer.pages.search.actions import resume_arguments
from reports.export.documents import frontier_document
from reports.text.trust import trust_line, trust_sentence
from search.run.launch import Activity
from search.run.learning_curves import CurvePoint, CurveWriter
from search.run.live import LiveStatus, State
from search.run.progress import InTraining
from search.store.process import this_process
from search.store.results import SearchResult
from sizer.errors import StudyError
from sizer.units import format_bytes, format_count
from tests.explorer.app_pages import STORAGE, command, figures, fine, html, rows, search_page, text
from tests.explorer.studies import store
from tests.worked_study import study_of_proxies

REPORT = "Report (HTML)"


@pytest.fixture
def page(root: Path, folder: Path) -> AppTest:
    """The page, not yet run."""
    return search_page(root)


@pytest.fixture
def watched(page: AppTest, result: SearchResult) -> AppTest:
    """The page on a stored study."""
    store(result, STORAGE)
    page.query_params["view"], page.query_params["study"] = "Watch", result.study
    return page


def test_a_study_is_shown_as_stored(watched: AppTest, result: SearchResult) -> None:
    shown = figures(watched.run())
    assert shown["Trained"] == "12 of 12"
    assert shown["Over the budget"] == "2"
    assert shown["Diverged or failed"] == "1"
    best = frontier_document(result)["points"][-1]
    assert shown["Best bits per byte"] == f"{best['val_bits_per_byte']:.4f}"
    assert ("1", "1,000", "11 of 12", "1") in [row[:4] for row in rows(watched)]
    # it opens on the most accurate model, with the numbers of `sizer search frontier --json`
    assert watched.selectbox(key="search_trial").value == best["trial"]
    assert shown["File"] == format_bytes(best["file_bytes"])
    assert shown["Parameters"] == format_count(best["num_parameters"])


def test_a_study_of_proxies_is_ranked_by_what_is_carried_over(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, found = study_of_proxies()
    monkeypatch.setattr("search.analysis.extrapolation.extrapolate_study", lambda _: found)
    store(study, STORAGE)
    page.query_params["view"], page.query_params["study"] = "Watch", study.study
    shown = figures(page.run())
    assert shown["Best bits per byte, extrapolated"] == "2.4000"
    assert page.selectbox(key="search_trial").value == 3
    (chart,) = [json.loads(c.proto.spec) for c in page.get("plotly_chart")][:1]
    assert chart["layout"]["yaxis"]["title"]["text"].startswith("bits per byte of the model,<br>extrapolated")
    assert any("the frontier would be trials 1, 2." in caption.value for caption in page.caption)
    assert any("which are not the ranking here" in str(m.value) for m in page.markdown)


def test_another_model(watched: AppTest, result: SearchResult) -> None:
    watched.run()
    watched.selectbox(key="search_trial").set_value(6).run()
    sized = result.deployment(result.records[6])
    assert figures(watched)["Parameters"] == format_count(sized.parameters.total)
    assert any(s.value == "Trial 6" for s in watched.subheader)
    assert "sizer estimate --config pi5-6mb-6.json --format Q4_K_M" in watched.code[1].value
    link = next(m.value for m in watched.markdown if "Open on Size" in m.value)
    assert "device=raspberry-pi-5" in link  # not the device that was last chosen on another page
    assert "start=by+hand" in link


def test_trust_is_told_as_the_command_tells_it(watched: AppTest, result: SearchResult) -> None:
    watched.run()
    # beside the best score, in its own colours, and with the table of reliability
    assert [w.value.replace("\\", "") for w in watched.warning] == [trust_sentence(trust_line(result))]
    order = [element.type for element in watched.main]
    assert order.index("warning") < order.index("plotly_chart")
    assert f"**Verdict:** {trust_line(result)}" in [m.value.replace("\\", "") for m in watched.markdown]


def test_curves_of_the_study_are_drawn(watched: AppTest, folder: Path) -> None:
    writer = CurveWriter(folder / "runs" / "pi5-6mb")
    for step in (100, 500, 1000):
        writer.hear(10, 0, CurvePoint(step, 300 / step, 0), 1000)
    watched.run()
    charts = [json.loads(chart.proto.spec) for chart in fine(watched).get("plotly_chart")]
    assert "Learning curves" in text(watched)
    (drawn,) = [c for c in charts if [trace["name"] for trace in c["data"]] == ["trial 10"]]
    assert "text" not in drawn["layout"].get("title", {})  # its words stand above it, where they wrap


def test_a_running_search_is_shown_with_its_steps_and_can_be_stopped(
    page: AppTest, result: SearchResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(result, STORAGE, trials=20)
    page.query_params["view"], page.query_params["study"] = "Watch", result.study
    owner = {"host": "<board>", "pid": 77, "started": "1"}
    training = InTraining(
        number=12,
        seed=0,
        rung=0,
        step=250,
        steps=1000,
        loss=2.5,
        tokens_per_s=1240.4,
        model="<i>8x64</i>",
        format="Q4_0",
    )
    live = LiveStatus(
        state=State.RUNNING,
        reason="",
        owner=owner,
        written_at_s=0.0,
        trained=12,
        wanted=20,
        infeasible=2,
        rungs=1,
        done_steps=12_250,
        total_steps=20_000,
        eta_s=125.0,
        tokens_per_s=1240.4,
        best_trial=10,
        in_training=(training,),
    )
    running = Activity(owner=owner, state=State.RUNNING, reason="", live=live)
    stopped: list[tuple[str, str]] = []
    for module in (search_watch, search_actions):
        monkeypatch.setattr(module, "activity", lambda *given: running)
    monkeypatch.setattr(search_actions, "stop", lambda *given: stopped.append(given))
    page.run()
    assert figures(page)["Trained"] == "12 of 20"
    assert r"Running (process 77 on \<board\>)" in page.info[0].value
    # a progress bar has no class of its own in AppTest
    (bar,) = page.get("progress")
    assert bar.proto.text == "12,250 of 20,000 steps, about 2m 05s left"
    assert bar.proto.value == 61
    assert ("12", "<i>8x64</i>", "Q4_0") in [row[:3] for row in rows(page)]
    assert "<i>8x64" not in html(page)
    assert "250 of 1,000" in text(page)
    assert REPORT not in [button.label for button in page.download_button]
    page.button(key="search_stop").click().run()
    assert stopped == [("pi5-6mb", STORAGE)]
    assert "Stopping after" in page.info[0].value


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (State.STOPPED, "Stopped. Resume continues"),
        (State.KILLED, "Its process has died."),
        (State.EXHAUSTED, "Ended early"),
        (None, "Not running"),
    ],
)
def test_one_that_is_not_at_work_can_be_resumed(
    watched: AppTest, monkeypatch: pytest.MonkeyPatch, state: State | None, message: str
) -> None:
    started: list[tuple[Any, ...]] = []
    now = Activity(owner=None, state=state, reason="", live=None)
    monkeypatch.setattr(search_watch, "activity", lambda *given: now)
    monkeypatch.setattr(search_actions, "launch", lambda *given: started.append(given))
    watched.run()
    assert fine(watched).info[0].value.startswith(message)
    assert REPORT in [button.label for button in watched.download_button]
    watched.button(key="search_resume").click().run()
    assert started == [("pi5-6mb", ["resume", "pi5-6mb"], STORAGE)]


def ended(state: State) -> Activity:
    """Activity of the stored study after its process ended."""
    live = LiveStatus(
        state=state,
        reason="",
        owner={"host": "board", "pid": 77, "started": "1"},
        written_at_s=0.0,
        trained=12,
        wanted=12,
        infeasible=2,
        rungs=1,
        done_steps=12_000,
        total_steps=12_000,
        eta_s=None,
        tokens_per_s=0.0,
        best_trial=10,
        in_training=(),
    )
    return Activity(owner=None, state=state, reason="", live=live)


def models_field(page: AppTest) -> Any:
    (field,) = [n for n in fine(page).number_input if n.label == "Total models to train"]
    return field


def test_a_done_study_goes_on_with_more_models(watched: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[Any, ...]] = []
    monkeypatch.setattr(search_watch, "activity", lambda *_: ended(State.DONE))
    monkeypatch.setattr(search_actions, "launch", lambda *args: started.append(args))
    watched.run()
    assert fine(watched).info[0].value.startswith("Done: all requested models are trained.")
    button = watched.button(key="search_resume")
    assert button.label == "Extend"
    assert not [c for c in watched.code if "resume" in c.value]
    # no more than there are: said, and nothing is started
    button.click().run()
    assert [e.value for e in fine(watched).error] == [
        "models: 12 are trained already; accepted: a number above that"
    ]
    assert not started
    models_field(watched).set_value(16).run()
    assert command(watched) == "sizer search resume --trials=16 pi5-6mb"
    assert not watched.error
    watched.button(key="search_resume").click().run()
    assert started == [("pi5-6mb", ["resume", "--trials=16", "pi5-6mb"], STORAGE)]


def test_a_number_typed_just_before_the_click_counts(
    watched: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[Any, ...]] = []
    monkeypatch.setattr(search_watch, "activity", lambda *_: ended(State.STOPPED))
    monkeypatch.setattr(search_actions, "launch", lambda *args: started.append(args))
    watched.run()
    models_field(watched).set_value(20)
    watched.button(key="search_resume").click().run()
    assert [arguments for _, arguments, _ in started] == [["resume", "--trials=20", "pi5-6mb"]]


def test_a_resume_goes_on_to_the_number_that_the_study_stores(
    page: AppTest, result: SearchResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resume with another number stores it (tests/search/run/test_runner.py): none is needed again."""
    store(result, STORAGE, trials=30)
    page.query_params["view"], page.query_params["study"] = "Watch", result.study
    monkeypatch.setattr(search_watch, "activity", lambda *_: ended(State.STOPPED))
    page.run()
    field = models_field(page)
    assert (field.value, field.min) == (30, 12)
    assert command(page) == "sizer search resume pi5-6mb"
    assert figures(page)["Trained"] == "12 of 30"


@pytest.mark.parametrize(
    ("name", "models", "words"),
    [
        ("s", 12, ["resume", "s"]),
        ("s", 13, ["resume", "--trials=13", "s"]),
        ("-s", 12, ["resume", "--", "-s"]),
        ("--json", 9, ["resume", "--trials=9", "--", "--json"]),
    ],
)
def test_the_command_line_takes_the_arguments_as_they_are_meant(
    name: str, models: int, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import cli
    from search.run import runner

    assert resume_arguments(name, models, 12) == words
    asked: list[tuple[str, int | None]] = []

    def caught(name: str, *, trials: int | None, **_: Any) -> None:
        asked.append((name, trials))
        raise StudyError("caught")

    monkeypatch.setattr(runner, "resume", caught)
    assert cli.main(["search", *words]) == 2
    assert asked == [(name, None if models == 12 else models)]


def test_a_failure_is_one_line(watched: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    now = Activity(owner=None, state=State.FAILED, reason="corpus: '<b>' has changed", live=None)
    monkeypatch.setattr(search_watch, "activity", lambda *given: now)
    assert [e.value for e in fine(watched.run()).error] == [r"corpus: '\<b\>' has changed"]


def write_launch(folder: Path, name: str, *, log: str, options: tuple[str, ...] = ()) -> None:
    """What `launch` leaves of a search whose process is gone."""
    logs = folder / "runs" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    owner = {**this_process(), "started": "1"}
    started = {"study": name, "owner": owner, "arguments": ["search", "run", *options, f"--study={name}"]}
    (logs / f"{name}.json").write_text(json.dumps({**started, "began_at_s": 1.0, "log_begins_bytes": 0}))
    (logs / f"{name}.log").write_text(log)


def test_a_search_that_never_became_a_study_says_why_and_is_forgotten(watched: AppTest, folder: Path) -> None:
    printed = "".join(f"warning: <i>{n}</i>\n" for n in range(40)) + "error: corpus: '<b>' is empty\n"
    write_launch(folder, "broken", log=printed, options=("--corpus=<b>", "--trials=2"))
    watched.query_params["study"] = "broken"
    watched.run()
    assert [e.value for e in fine(watched).error] == [r"corpus: '\<b\>' is empty"]
    assert watched.selectbox(key="search_study").value == "broken"
    ran, last = (code.value for code in watched.code)
    assert ran == "sizer search run '--corpus=<b>' --trials=2 --study=broken"
    # the error itself is said once
    assert last.splitlines() == [f"warning: <i>{n}</i>" for n in range(20, 40)]
    assert not [b for b in watched.button if b.key == "search_resume"]
    watched.button(key="search_forget").click().run()
    assert not fine(watched).error
    assert [t.value for t in watched.toast] == ["broken is removed."]
    assert watched.selectbox(key="search_study").options == ["pi5-6mb"]
    assert figures(watched)["Trained"] == "12 of 12"
    assert watched.query_params["study"] == "pi5-6mb"
    assert not list((folder / "runs" / "logs").iterdir())


def test_the_last_one_forgotten_leaves_an_empty_page(page: AppTest, folder: Path) -> None:
    write_launch(folder, "broken", log="error: budget: nothing fits\n")
    page.query_params["study"] = "broken"
    page.run()
    assert [e.value for e in fine(page).error] == ["budget: nothing fits"]
    assert len(page.code) == 1  # there is nothing in the log but that
    page.button(key="search_forget").click().run()
    assert [i.value for i in fine(page).info] == ["There is no study yet: start a search in the view Start."]
    assert "study" not in page.query_params


def test_what_is_written_down_of_a_study_cannot_be_forgotten(watched: AppTest, folder: Path) -> None:
    write_launch(folder, "pi5-6mb", log="error: corpus: has changed\n")
    watched.run()
    assert [e.value for e in fine(watched).error] == ["corpus: has changed"]
    assert not [b for b in watched.button if b.key == "search_forget"]
    assert watched.button(key="search_resume")


def test_one_stored_since_the_page_was_drawn_is_not_forgotten(
    watched: AppTest, result: SearchResult, folder: Path
) -> None:
    write_launch(folder, "late", log="")
    watched.query_params["study"] = "late"
    watched.run()
    assert [e.value for e in fine(watched).error] == ["ended before it trained anything"]
    store(result, STORAGE, "late")
    watched.button(key="search_forget").click().run()
    assert "study: 'late' is stored" in fine(watched).error[-1].value
    assert (folder / "runs" / "logs" / "late.json").is_file()


def test_a_study_that_cannot_be_read_is_not_forgotten_either(page: AppTest, folder: Path) -> None:
    import optuna

    write_launch(folder, "other", log="error: study: was not made by sizer\n")
    optuna.create_study(study_name="other", storage=STORAGE)
    page.query_params["study"] = "other"
    page.run()
    assert [e.value for e in fine(page).error] == ["study: was not made by sizer"]
    assert not [b for b in page.button if b.key in ("search_forget", "search_resume")]
