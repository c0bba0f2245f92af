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
from explorer import search_start, search_watch
from explorer.search_compare import compared_rows, differences
from explorer.search_request import Form, base_config, request
from explorer.search_studies import next_name
from explorer.study_views import trust_html
from reports.deployment import deployed_estimate
from reports.documents import frontier_document
from reports.trust_text import trust_line
from search.run.curves import CurvePoint, CurveWriter
from search.run.launch import Activity
from search.run.live import InTraining, Live, State
from search.space.config import SearchConfig
from search.space.presets import presets
from search.store.results import SearchResult
from search.trust.trust import beside_control
from sizer.errors import SizerError, StudyError
from sizer.units import format_bytes, format_count
from tests.explorer.studies import store
from tests.worked_study import study_of_proxies

STORAGE = "sqlite:///runs/sizer.db"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIZER_STORAGE", raising=False)
    return tmp_path


@pytest.fixture
def page(root: Path, folder: Path) -> AppTest:
    """The page, not yet run."""
    return AppTest.from_file(str(root / "explorer" / "searches.py"), default_timeout=60)


def fine(page: AppTest) -> AppTest:
    assert not page.exception
    return page


def html(page: AppTest) -> str:
    return "\n".join(str(block.proto.body) for block in page.get("html"))


def command(page: AppTest) -> str:
    return str(fine(page).code[0].value)


FORM = Form(
    preset="none",
    device="raspberry-pi-5",
    max_size="2MB",
    max_memory="",
    min_decode="",
    trials=20,
    steps=1000,
    minutes=None,
    sampler="auto",
    workers=1,
    seed=0,
    corpus="",
    keep_finalists=False,
    study="s",
)


class TestRequest:
    """The form's fields as a configuration and as options of the command line."""

    def test_the_form_as_it_opens_is_the_default_search(self, folder: Path) -> None:
        wanted = request(FORM, folder)
        assert wanted.config == SearchConfig()
        assert wanted.options == ()

    def test_every_field(self, folder: Path) -> None:
        (folder / "text.jsonl").write_text("{}")
        wanted = request(
            FORM._replace(
                device="iphone-15-pro",
                max_size="1.5MB",
                max_memory="300 MB",
                min_decode="12.5",
                trials=8,
                steps=4000,
                sampler="random",
                workers=2,
                seed=7,
                corpus="text.jsonl:story",
                keep_finalists=True,
            ),
            folder,
        )
        assert wanted.options == (
            "--device=iphone-15-pro",
            "--max-size=1.5MB",
            "--max-memory=300MB",
            "--min-decode=12.5",
            "--steps=4000",
            "--sampler=random",
            "--workers=2",
            "--seed=7",
            "--corpus=text.jsonl:story",
            "--trials=8",
            "--keep-finalists",
        )
        c = wanted.config
        assert (c.device, c.max_size_bytes, c.max_memory_bytes) == ("iphone-15-pro", 1_500_000, 300_000_000)
        assert (c.trials, c.steps, c.seed, c.keep_finalists) == (8, 4000, 7, True)

    @pytest.mark.parametrize("name", sorted(presets()))
    def test_the_command_line_reads_it_as_the_page_does(
        self, folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What `sizer search run` makes of the options is the configuration that the page showed."""
        import cli
        from search.run import runner

        base = base_config(name)
        form = FORM._replace(preset=name, device=base.device or "", trials=9, max_size="123457B", steps=900)
        wanted = request(form._replace(max_memory="", min_decode="", minutes=None), folder)
        seen: list[SearchConfig] = []

        def caught(config: SearchConfig, *_: Any) -> None:
            seen.append(config)
            raise StudyError("caught")

        monkeypatch.setattr(runner, "check", caught)
        assert cli.main(["search", "run", *wanted.options, "--study=s"]) == 2
        assert seen == [wanted.config]
        assert wanted.config == replace(
            base, trials=9, max_size_bytes=123457, steps=900, sampler="auto", workers=1, seed=0
        )

    def test_minutes_leave_the_number_of_models_open(self, folder: Path) -> None:
        assert request(FORM._replace(minutes=12.5, trials=3), folder).options == ("--minutes=12.5",)

    @pytest.mark.parametrize(
        ("field", "value", "says"),
        [
            ("max_size", "two", "max-size: cannot read 'two'"),
            ("max_size", "5kB", "max_size_bytes: must be a whole number from 10000"),
            ("max_memory", "-1MB", "max-memory: "),
            ("min_decode", "fast", "min-decode: cannot read 'fast'"),
            ("min_decode", "-1", "min_decode_tokens_per_s: must be more than 0"),
            ("min_decode", "inf", "min_decode_tokens_per_s: must be more than 0"),
            ("device", "toaster", "unknown device 'toaster'"),
            ("sampler", "dice", "unknown sampler 'dice'"),
            ("trials", 0, "trials: must be a whole number from 1"),
            ("minutes", 0.0, "minutes: must be more than 0"),
            ("study", "<script>", "study: '<script>' cannot be a name"),
            ("study", "../s", "cannot be a name"),
            ("corpus", "nowhere.txt", "corpus: 'nowhere.txt' is no file or directory in the directory"),
            ("corpus", "/etc/hostname", "is no file or directory in the directory"),
            ("corpus", "..", "is no file or directory in the directory"),
            ("corpus", "link/hostname", "is no file or directory in the directory"),
            ("corpus", "link", "is no file or directory in the directory"),
            ("corpus", "hf:roneneldan/TinyStories", "is no file or directory in the directory"),
            ("corpus", "a\0b", "is no file or directory in the directory"),
            ("corpus", "x" * 5000, "is no file or directory in the directory"),
        ],
    )
    def test_what_cannot_be_is_one_line(self, folder: Path, field: str, value: Any, says: str) -> None:
        (folder / "link").symlink_to("/etc")
        with pytest.raises(SizerError) as caught:
            request(FORM._replace(**{field: value}), folder)
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_link_within_the_directory_is_followed(self, folder: Path) -> None:
        (folder / "texts").mkdir()
        (folder / "here").symlink_to("texts")
        assert request(FORM._replace(corpus="here"), folder).config.corpus == "here"


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
    assert "memory at most 190.7 MiB" in page.caption[0].value  # empty is what the preset says


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
    begun: list[tuple[Any, ...]] = []
    monkeypatch.setattr(search_start, "launch", lambda *told: begun.append(told))
    page.run()
    page.text_input(key="search_name").set_value("mine").run()
    page.number_input(key="search_trials").set_value(2).run()
    page.button(key="search_begin").click().run()
    fine(page)
    assert begun == [("mine", ["run", "--trials=2", "--study=mine"], STORAGE)]
    assert page.session_state["search_view"] == "Watch"


def test_a_start_that_fails_is_one_line(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*told: object) -> None:
        raise StudyError("study: 'x' cannot be begun: <disk> full")

    monkeypatch.setattr(search_start, "launch", refuse)
    page.run()
    page.button(key="search_begin").click().run()
    assert [e.value for e in fine(page).error] == [r"study: 'x' cannot be begun: \<disk\> full"]
    assert page.session_state["search_view"] == "Start"


def test_no_study_yet(page: AppTest, folder: Path) -> None:
    page.query_params["view"] = "Watch"
    page.run()
    assert [i.value for i in fine(page).info] == ["There is no study yet: begin one under Start."]
    assert not list(folder.iterdir())


@pytest.fixture
def watched(page: AppTest, result: SearchResult) -> AppTest:
    """The page on a stored study."""
    store(result, STORAGE)
    page.query_params["view"], page.query_params["study"] = "Watch", result.study
    return page


def figures(page: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in fine(page).metric}


def test_a_study_is_shown_as_stored(watched: AppTest, result: SearchResult) -> None:
    shown = figures(watched.run())
    assert shown["Trained"] == "12 of 12"
    assert shown["Over the budget"] == "2"
    assert shown["Diverged or failed"] == "1"
    best = frontier_document(result)["points"][-1]
    assert shown["Best bits per byte"] == f"{best['val_bits_per_byte']:.4f}"
    assert "<td class=left>1</td><td>1,000</td><td>11 of 12</td><td>1</td>" in html(watched)
    # it opens on the most accurate model, with the numbers of `sizer search frontier --json`
    assert watched.selectbox(key="search_trial").value == best["trial"]
    assert shown["File"] == format_bytes(best["file_bytes"])
    assert shown["Parameters"] == format_count(best["num_parameters"])


def test_a_study_of_proxies_is_ranked_by_what_is_carried_over(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, found = study_of_proxies()
    monkeypatch.setattr("search.law.carry.carried_over", lambda _: found)
    store(study, STORAGE)
    page.query_params["view"], page.query_params["study"] = "Watch", study.study
    shown = figures(page.run())
    assert shown["Best bits per byte, carried over"] == "2.4000"
    assert page.selectbox(key="search_trial").value == 3
    (chart,) = [json.loads(c.proto.spec) for c in page.get("plotly_chart")][:1]
    assert chart["layout"]["yaxis"]["title"]["text"].startswith("predicted bits per byte of the model")
    assert any("the frontier would be trials 1, 2." in caption.value for caption in page.caption)
    assert any("which do not rank here" in str(m.value) for m in page.markdown)


def test_another_model(watched: AppTest, result: SearchResult) -> None:
    watched.run()
    watched.selectbox(key="search_trial").set_value(6).run()
    sized = deployed_estimate(result, result.records[6])
    assert figures(watched)["Parameters"] == format_count(sized.parameters.total)
    assert any(s.value == "Trial 6" for s in watched.subheader)
    assert "sizer estimate --config pi5-6mb-6.json --format Q4_K_M" in watched.code[0].value
    link = next(m.value for m in watched.markdown if "Open in Size" in m.value)
    assert "device=raspberry-pi-5" not in link  # the size page's own first device
    assert "(/?start=by+hand" in link


def test_trust_is_told_as_the_command_tells_it(watched: AppTest, result: SearchResult) -> None:
    watched.run()
    assert f"**Verdict:** {trust_line(result)}" in [m.value.replace("\\", "") for m in watched.markdown]


def test_curves_of_the_study_are_drawn(watched: AppTest, folder: Path) -> None:
    writer = CurveWriter(folder / "runs" / "pi5-6mb")
    for step in (100, 500, 1000):
        writer.hear(10, 0, CurvePoint(step, 300 / step, 0), 1000)
    watched.run()
    charts = [json.loads(chart.proto.spec) for chart in fine(watched).get("plotly_chart")]
    (drawn,) = [c for c in charts if c["layout"]["title"]["text"] == "Learning curves"]
    assert [trace["name"] for trace in drawn["data"]] == ["trial 10"]


def test_a_running_search_is_shown_with_its_steps_and_can_be_stopped(
    watched: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    live = Live(
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
    monkeypatch.setattr(search_watch, "activity", lambda *told: running)
    monkeypatch.setattr(search_watch, "stop", lambda *told: stopped.append(told))
    watched.run()
    assert figures(watched)["Trained"] == "12 of 20"
    assert r"Running (process 77 on \<board\>)" in watched.info[0].value
    # a progress bar has no class of its own in AppTest
    (bar,) = watched.get("progress")
    assert bar.proto.text == "12,250 of 20,000 steps, about 2m 05s left"
    assert bar.proto.value == 61
    assert "&lt;i&gt;8x64&lt;/i&gt;" in html(watched)
    assert "<i>8x64" not in html(watched)
    assert "250 of 1,000" in html(watched)
    watched.button(key="search_stop").click().run()
    assert stopped == [("pi5-6mb", STORAGE)]
    assert "Asked to stop" in watched.info[0].value


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (State.STOPPED, "Stopped. Resume goes on"),
        (State.KILLED, "Its process is gone."),
        (State.EXHAUSTED, "Ended early"),
        (None, "Not running"),
    ],
)
def test_one_that_is_not_at_work_can_be_resumed(
    watched: AppTest, monkeypatch: pytest.MonkeyPatch, state: State | None, says: str
) -> None:
    begun: list[tuple[Any, ...]] = []
    now = Activity(owner=None, state=state, reason="", live=None)
    monkeypatch.setattr(search_watch, "activity", lambda *told: now)
    monkeypatch.setattr(search_watch, "launch", lambda *told: begun.append(told))
    watched.run()
    assert fine(watched).info[0].value.startswith(says)
    watched.button(key="search_resume").click().run()
    assert begun == [("pi5-6mb", ["resume", "--", "pi5-6mb"], STORAGE)]


def test_a_failure_is_one_line(watched: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    now = Activity(owner=None, state=State.FAILED, reason="corpus: '<b>' has changed", live=None)
    monkeypatch.setattr(search_watch, "activity", lambda *told: now)
    assert [e.value for e in fine(watched.run()).error] == [r"corpus: '\<b\>' has changed"]


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
    assert "sizer search report '<script>alert(1)</script>[x](y)'" in page.code[0].value  # code is no HTML
    page.session_state["search_view"] = "Compare"
    page.run()
    page.multiselect(key="search_compared").set_value([name, result.study]).run()
    assert "<script" not in html(fine(page))
    for chart in page.get("plotly_chart"):
        assert "<script" not in chart.proto.spec


@pytest.mark.parametrize("asked", ["../elsewhere", "/etc", "unknown", ""])
def test_only_studies_of_the_storage_are_opened(
    watched: AppTest, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    watched.query_params["study"] = asked
    opened: list[str] = []
    real = search.store.study.open_study

    def noted(name: str, storage: str) -> search.store.study.OpenStudy:
        opened.append(name)
        return real(name, storage)

    monkeypatch.setattr(search.store.study, "open_study", noted)
    watched.run()
    assert watched.selectbox(key="search_study").value == "pi5-6mb"
    assert set(opened) <= {"pi5-6mb"}
    assert not [widget for widget in watched.text_input if "storage" in widget.label.lower()]


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
    page.multiselect(key="search_compared").set_value(["pi5-6mb", "small"]).run()
    ours, theirs = beside_control(result, small)
    assert f"<td>{ours:.4f}</td>" in html(fine(page))
    assert f"<td>{theirs:.4f}</td>" in html(page)
    assert "different texts" in page.warning[0].value
    (chart,) = [json.loads(c.proto.spec) for c in page.get("plotly_chart")]
    assert [trace["name"] for trace in chart["data"]] == ["pi5-6mb", "small"]
    assert page.query_params["studies"] == ["pi5-6mb", "small"]


def test_scores_carried_over_beside_others_are_said_to_be(
    result: SearchResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, found = study_of_proxies()
    monkeypatch.setattr("search.law.carry.carried_over", lambda _: found)
    assert "Scores of proxies are carried over" in differences([study, result])[-1]
    assert "by a law each" in differences([study, study])[-1]
    assert not differences([result, result])


def test_rows_of_the_comparison(result: SearchResult, result_of: Callable[..., SearchResult]) -> None:
    small = result_of("raspberry-pi-5", (0, 1, 2))
    ours, theirs = beside_control(result, small)
    rows = compared_rows([result, small])
    assert [row[-1] for row in rows] == [f"{ours:.4f}", f"{theirs:.4f}"]
    assert [row[3] for row in rows] == ["11", "3"]


def test_no_trust_table_without_a_second_rung() -> None:
    assert trust_html(()) == ""


def test_next_name() -> None:
    assert next_name(()) == "search-1"
    assert next_name(("search-1", "search-3", "x")) == "search-2"
