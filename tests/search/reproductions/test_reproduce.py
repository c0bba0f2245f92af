"""Repeating a publication: what fits into a time, what is kept, and that nothing is trained twice."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search.reproductions import reproduce, reproductions
from search.reproductions.effort import Effort, effort_within, expected_seconds, within
from search.reproductions.reproduction_runs import stored_runs
from search.run import executors
from search.run.tasks import TrainingTask
from search.store.results import Candidate, ProxyResult, TrialStatus
from search.training.score import train_proxy
from search.training.training_run import TRAINER_REVISION
from sizer.errors import InvalidQuantity, StudyError

TOML = """
[tiny]
title = "Tiny: wide against narrow"
source = "arXiv 0000.00000, Table 1"
published = "Wide beats narrow."
metric = "points"
higher_is_better = true
matched = "nothing"
ranked = true
steps = 1000
seeds = 2
core_minutes = 1
batch_size = 2
seq_len = 16
val_chunks = 8
limits = ["it is tiny"]

[[tiny.arms]]
label = "wide"
proxy = { vocab_size = 256, num_layers = 1, hidden_size = 32, intermediate_size = 64, num_heads = 2, num_kv_heads = 1, head_dim = 16 }
value = 45.0

[[tiny.arms]]
label = "narrow"
proxy = { vocab_size = 256, num_layers = 1, hidden_size = 16, intermediate_size = 32, num_heads = 1, num_kv_heads = 1, head_dim = 16 }
value = 44.0

[[tiny.claims]]
text = "wide beats narrow"
better = "wide"
worse = "narrow"
published = [45.0, 44.0]
"""  # noqa: E501  inline tables stand on one line
RUNS = Path("runs/reproductions/tiny/runs.jsonl")
COMMAND = ("search", "reproduce", "tiny", "--steps", "3")


def test_what_fits_into_a_time() -> None:
    step_s = {"a": 0.02, "b": 0.03}
    default = Effort(steps=1000, seeds=3)
    one_seed = expected_seconds(step_s, replace(default, seeds=1))
    # steps, a tenth of them for scoring, half a second for each run
    assert one_seed == pytest.approx(50 * 1.1 + 2 * 0.5)
    assert expected_seconds(step_s, default, workers=2) == pytest.approx(one_seed * 3 / 2)
    assert within(step_s, 4.5 * one_seed, default) == Effort(steps=1000, seeds=4)
    fewer = within(step_s, one_seed, default)
    assert fewer.seeds == 2
    assert 400 < fewer.steps < 500
    assert expected_seconds(step_s, fewer) <= one_seed
    with pytest.raises(InvalidQuantity, match="2 seeds of 20 steps take about 0.1 minutes here, got 0.01"):
        within(step_s, 0.6, default)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Only the reproduction above, in an empty directory."""
    file = tmp_path / "tiny.toml"
    file.write_text(TOML, encoding="utf-8")
    monkeypatch.setattr(reproductions, "_FILE", file)
    reproductions.reproductions.cache_clear()
    yield
    reproductions.reproductions.cache_clear()


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Arms and seeds that training was begun for."""
    begun: list[tuple[str, int]] = []

    def noting(candidate: Candidate, *arguments: Any, **keywords: Any) -> ProxyResult:
        begun.append((candidate.architecture.name, arguments[1].seed))
        return train_proxy(candidate, *arguments, **keywords)

    monkeypatch.setattr(executors, "train_proxy", noting)
    return begun


ALL = [("wide", 0), ("narrow", 0), ("wide", 1), ("narrow", 1)]


def test_a_reproduction_from_the_command_line(tiny: None, trained: list[Any], sizer: Any) -> None:
    ran = sizer(*COMMAND, "--json")
    assert ran.code == 0, ran.err
    assert trained == ALL  # every arm of a seed before the next seed
    assert "4 runs of 3 steps, 0 of them stored, 384 tokens to go" in ran.err
    assert "below 1,000 steps" in ran.err
    assert ran.json["schema"] == "sizer.reproduction/1"
    assert ran.json["cost"]["runs"] == 4
    assert ran.json["cost"]["trained_tokens"] == 384
    assert ran.json["cost"]["cpu_s"] > 0
    (claim,) = ran.json["claims"]
    wide, narrow = ran.json["arms"]
    gap = narrow["val_bits_per_byte"] - wide["val_bits_per_byte"]
    assert claim["difference_bits_per_byte"]["value"] == pytest.approx(gap)
    assert claim["seeds"] == 2
    assert len(RUNS.read_text(encoding="utf-8").splitlines()) == 4

    again = sizer(*COMMAND)
    assert again.code == 0
    assert "4 of them stored, 0 tokens to go" in again.err
    assert "Tiny: wide against narrow" in again.out
    more = sizer(*COMMAND, "--seeds", "3", "--markdown", "page.md")
    assert trained[4:] == [("wide", 2), ("narrow", 2)]  # what was there is not trained again
    assert more.code == 0
    page = Path("page.md").read_text(encoding="utf-8")
    assert "sizer search reproduce tiny --stored --markdown page.md" in page
    assert "6 runs of 3 steps" in page
    stored = sizer("search", "reproduce", "tiny", "--stored", "--json")
    assert stored.json["cost"]["runs"] == 6
    assert len(trained) == 6


class _Killed(BaseException):
    """Ends the command as a kill would: nothing is tidied up."""


def test_a_kill_loses_the_run_under_way_at_most(
    tiny: None, trained: list[Any], sizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = vars(executors)["train_proxy"]

    def killed(*arguments: Any, **keywords: Any) -> ProxyResult:
        if len(trained) == 2:
            raise _Killed
        result: ProxyResult = whole(*arguments, **keywords)
        return result

    monkeypatch.setattr(executors, "train_proxy", killed)
    with pytest.raises(_Killed):
        sizer(*COMMAND)
    first = RUNS.read_text(encoding="utf-8")
    assert len(first.splitlines()) == 2
    with RUNS.open("a", encoding="utf-8") as file:
        file.write('{"schema": "sizer.reproduction-run/1", "label": "wi')  # the next was half written
    monkeypatch.setattr(executors, "train_proxy", whole)
    ran = sizer(*COMMAND, "--json")
    assert ran.code == 0, ran.err
    assert trained == ALL
    assert ran.json["cost"]["runs"] == 4
    assert RUNS.read_text(encoding="utf-8").startswith(first)  # not trained anew: the very same lines


def test_ctrl_c_stops_and_the_same_command_goes_on(
    tiny: None, trained: list[Any], sizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = vars(executors)["train_proxy"]

    def interrupted(*arguments: Any, **keywords: Any) -> ProxyResult:
        if len(trained) == 1:
            signal.raise_signal(signal.SIGINT)
        result: ProxyResult = whole(*arguments, **keywords)
        return result

    monkeypatch.setattr(executors, "train_proxy", interrupted)
    ran = sizer(*COMMAND)
    assert ran.code == 130
    assert "the same command continues" in ran.err
    assert len(RUNS.read_text(encoding="utf-8").splitlines()) == 1  # the run under way is not kept
    monkeypatch.setattr(executors, "train_proxy", whole)
    assert sizer(*COMMAND).code == 0
    assert trained == [*ALL[:2], *ALL[1:]]


def test_workers_stopped_before_they_began_are_no_error(
    tiny: None, sizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(executors.InProcess):
        """As a pool whose workers saw the wish to stop while they were starting."""

        def finished(self) -> list[tuple[TrainingTask, ProxyResult]]:
            signal.raise_signal(signal.SIGTERM)
            raise StudyError("workers: the process that trained trial 0 died 2 times")

    monkeypatch.setattr(reproduce, "InProcess", Stopped)
    ran = sizer(*COMMAND)
    assert ran.code == 130
    assert "the same command continues" in ran.err


def test_other_steps_or_another_shape_are_other_runs(
    tiny: None, trained: list[Any], sizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sizer(*COMMAND).code == 0
    assert sizer("search", "reproduce", "tiny", "--steps", "2").code == 0
    assert len(trained) == 8
    r = reproductions.reproduction("tiny")
    folder = RUNS.parents[1]
    assert [len(stored_runs(r, folder, steps)) for steps in (2, 3, None)] == [4, 4, 4]
    assert {run.proxy.steps for run in stored_runs(r, folder)} == {3}  # the longest, where none is asked for
    narrower = replace(r.arms[0].candidate.architecture, intermediate_size=48)
    changed = replace(r.arms[0], candidate=Candidate(architecture=narrower, format="F16"))
    found = stored_runs(replace(r, arms=(changed, r.arms[1])), folder, 3)
    assert {run.label for run in found} == {"narrow"}  # the other is of a model that is no longer asked for
    assert stored_runs(replace(r, val_chunks=9), folder, 3) == ()
    monkeypatch.setattr("search.reproductions.reproduction_runs.TRAINER_REVISION", TRAINER_REVISION + 1)
    assert stored_runs(r, folder, 3) == ()


def test_runs_of_another_text_are_refused(tiny: None, sizer: Any) -> None:
    assert sizer(*COMMAND).code == 0
    rows = [json.loads(line) for line in RUNS.read_text(encoding="utf-8").splitlines()]
    text = "".join(json.dumps({**row, "corpus_digest": "0" * 64}) + "\n" for row in rows)
    RUNS.write_text(text, encoding="utf-8")
    ran = sizer(*COMMAND, "--seeds", "3")
    assert ran.code == 2
    assert "has runs of another text (digest 000000000000" in ran.err


def test_a_line_that_is_no_run_is_refused_and_other_lines_are_let_be(tiny: None, sizer: Any) -> None:
    RUNS.parent.mkdir(parents=True)
    RUNS.write_text('[]\n{"schema": "another/1"}\n{"schema": "sizer.rep', encoding="utf-8")
    assert sizer("search", "reproduce", "tiny", "--stored").code == 1  # nothing of ours in it
    RUNS.write_text('{"schema": "sizer.reproduction-run/1", "label": "wide"}\n', encoding="utf-8")
    ran = sizer("search", "reproduce", "tiny", "--stored")
    assert ran.code == 2
    assert "has a line without 'corpus_digest'" in ran.err


@pytest.mark.slow
def test_workers_train_the_same_runs(tiny: None, sizer: Any) -> None:
    assert sizer(*COMMAND, "--folder", "alone").code == 0
    ran = sizer(*COMMAND, "--workers", "2", "--folder", "together", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["cost"]["cpu_s"] is None  # of other processes
    r = reproductions.reproduction("tiny")
    alone, together = (stored_runs(r, Path(folder), 3) for folder in ("alone", "together"))
    assert {(run.label, run.seed) for run in together} == set(ALL)
    scores = {(run.label, run.seed): run.proxy.val_bits_per_byte for run in together}
    for run in alone:
        assert run.proxy.val_bits_per_byte == pytest.approx(scores[run.label, run.seed], rel=1e-3)


def test_a_diverged_run_is_kept_and_told(
    tiny: None, sizer: Any, trained: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = vars(executors)["train_proxy"]

    def diverging(candidate: Candidate, *arguments: Any, **keywords: Any) -> ProxyResult:
        result: ProxyResult = whole(candidate, *arguments, **keywords)
        if candidate.architecture.name == "wide" and arguments[1].seed == 0:
            result = replace(
                result,
                status=TrialStatus.DIVERGED,
                val_bits_per_byte=None,
                val_bits_per_byte_sd=None,
                val_chunk_bits=(),
            )
        return result

    monkeypatch.setattr(executors, "train_proxy", diverging)
    ran = sizer(*COMMAND, "--json")
    assert ran.json["arms"][0]["diverged"] == 1
    assert ran.json["claims"][0]["seeds"] == 1
    assert ran.json["claims"][0]["verdict"] == "cannot tell at this size"
    assert sizer(*COMMAND).code == 0
    assert len(trained) == 4


def test_minutes_ask_for_the_same_runs_again(tiny: None, tmp_path: Path) -> None:
    r = reproductions.reproduction("tiny")
    default = Effort(steps=1000, seeds=2)
    first = effort_within(r, {"wide": 0.02, "narrow": 0.02}, 2.0, default, tmp_path)
    busier = effort_within(r, {"wide": 0.09, "narrow": 0.09}, 2.0, default, tmp_path)
    assert first == busier
    other = effort_within(r, {"wide": 0.09, "narrow": 0.09}, 4.0, default, tmp_path)
    assert other == within({"wide": 0.09, "narrow": 0.09}, 240, default) != first


def test_help_has_examples(sizer: Any) -> None:
    ran = sizer("search", "reproduce", "--help")
    assert ran.code == 0
    assert "Examples:" in ran.out
    assert "sizer search reproduce swiglu" in ran.out


def test_nothing_is_trained_where_nothing_is_asked(tiny: None, trained: list[Any], sizer: Any) -> None:
    ran = sizer("search", "reproduce")
    assert ran.code == 0
    assert "tiny" in ran.out
    assert sizer("search", "reproduce", "--json").json["reproductions"][0]["name"] == "tiny"
    dry = sizer(*COMMAND, "--dry-run")
    assert (dry.code, dry.out) == (0, "")
    assert "forecast: tiny, 4 runs of 3 steps" in dry.err
    stored = sizer("search", "reproduce", "--all", "--stored")
    assert stored.code == 1
    assert "nothing is trained yet" in stored.err
    assert trained == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("swiglo",), "unknown reproduction 'swiglo'"),
        (("tiny", "--all"), "--all: repeats all comparisons, got NAME 'tiny' too"),
        (("tiny", "--steps", "0"), "steps: must be from 1"),
        (("tiny", "--seeds", "0"), "seeds: must be from 1 to 100, got 0"),
        (("tiny", "--minutes", "-1"), "minutes: must be more than 0"),
        (("tiny", "--minutes", "5", "--seeds", "2"), "minutes: chooses seeds and steps;"),
        (("tiny", "--workers", "0"), "workers: must be from 1 to 512, got 0"),
    ],
)
def test_bad_input_is_one_line(tiny: None, sizer: Any, arguments: tuple[str, ...], said: str) -> None:
    ran = sizer("search", "reproduce", *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1
    assert ran.out == ""
