"""The study: names, refusals, and that nothing told is lost to a kill."""

from __future__ import annotations

import json
import math
import socket
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from search.space.initial_points import initial_points
from search.space.space import suggest
from search.store import study as studies
from search.store.records import record_to_json
from search.store.results import TrialStatus
from search.store.stored_records import RECORD
from search.store.study import check_new_study, list_studies, load_result, open_study
from sizer.errors import StudyError
from tests.search.records import proxy, record
from tests.search.store.studies import CONFIG, asked, begin_next, new, stored


def test_names_are_numbered_and_listed(storage: str) -> None:
    assert [new(storage, None).name, new(storage, "mine").name, new(storage, None).name] == [
        "search-1",
        "mine",
        "search-2",
    ]
    assert list_studies(storage) == ("mine", "search-1", "search-2")


def test_a_taken_name_says_how_to_go_on(storage: str) -> None:
    new(storage)
    with pytest.raises(StudyError, match="study: 's' exists already; go on with `sizer search resume s`"):
        new(storage)


def test_an_unknown_study_lists_those_there_are(storage: str) -> None:
    new(storage)
    with pytest.raises(StudyError, match=r"study: 'x' does not exist in .*; there are: s"):
        open_study("x", storage)


def test_a_study_of_another_program_is_refused(storage: str) -> None:
    new(storage)
    optuna.create_study(storage=storage, study_name="other")
    with pytest.raises(StudyError, match="study: 'other' was not made by sizer"):
        open_study("other", storage)


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(StudyError, match="storage: there is no study file"):
        list_studies(f"sqlite:///{'x' * 5000}.db")


def test_what_is_told_is_read_back(storage: str) -> None:
    study = new(storage)
    for told in (record(0, bits=2.0), record(1, bits=1.5, layers=3)):
        asked(study)
        study.tell(told)
    asked(study)
    study.tell(replace(record(2, layers=4), proxy=None, violations=("file 3 MB > 2 MB",)))
    asked(study)
    study.tell(replace(record(3, layers=5), proxy=proxy(status=TrialStatus.DIVERGED)))
    result = load_result("s", storage)
    assert [r.status.value for r in result.records] == ["complete", "complete", "infeasible", "diverged"]
    assert stored(study)[1] == record(1, bits=1.5, layers=3)
    assert (result.corpus, result.corpus_digest, result.trials_requested) == ("builtin", "abc", 5)
    # diverged and infeasible trials never teach the sampler
    states = [t.state.name for t in study.optuna_study.trials]
    assert states == ["COMPLETE", "COMPLETE", "FAIL", "FAIL"]
    assert study.optuna_study.trials[0].values == [100_000, 2.0]


def test_a_killed_trial_goes_on_under_its_number(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    study = new(storage)
    monkeypatch.setattr(
        studies,
        "this_process",
        lambda: {"host": socket.gethostname(), "pid": 2**22 + 1, "started": "1"},
    )
    params = asked(study)
    monkeypatch.undo()
    again = open_study("s", storage)
    assert again.recover() == 0
    (trial,) = again.orphaned_trials()
    assert (trial.number, trial.params) == (0, params)
    assert again.num_asked == 1
    assert again.orphaned_trials() == ()  # it is this process's now
    again.tell(record(0))
    assert stored(again) == (record(0),)


def test_a_trial_put_in_the_queue_and_never_begun_goes_first(storage: str) -> None:
    study = new(storage)
    first, second = initial_points(CONFIG)[:2]
    study.optuna_study.enqueue_trial(first)  # killed here
    assert study.num_asked == 0
    assert study.begin(first).number == 0
    assert study.begin(second).number == 1
    assert study.num_asked == 2


def test_a_trial_of_a_live_process_is_left_alone(storage: str) -> None:
    asked(new(storage))
    again = open_study("s", storage)
    assert again.recover() == 0
    assert again.orphaned_trials() == ()


def test_trials_let_go_can_be_gone_on_with(storage: str) -> None:
    study = new(storage)
    asked(study)
    study.release()
    assert [t.number for t in open_study("s", storage).orphaned_trials()] == [0]


def test_later_runs_are_stored_beside_their_trial(storage: str) -> None:
    study = new(storage)
    for number in range(2):
        asked(study)
        study.tell(record(number, bits=2.0))
    first = record(0, bits=2.0).proxy
    assert first is not None
    longer = replace(first, rung=1, val_bits_per_byte=1.5, steps=30, trained_tokens=3 * first.trained_tokens)
    seeds = [replace(longer, rung=2, seed=seed, val_bits_per_byte=1.4 + seed / 10) for seed in (0, 1)]
    for run in (longer, *seeds):
        study.tell_run(0, run)
    one, other = load_result("s", storage).records
    assert one.runs == (first, longer, *seeds)
    assert one.proxy is not None
    assert one.proxy.val_bits_per_byte == pytest.approx(1.45)
    assert (one.proxy.rung, one.proxy.seeds) == (2, 2)
    # two seeds trained in full; the rungs of one are steps of the same run
    assert one.proxy.trained_tokens == 2 * longer.trained_tokens
    # 0.0707 is their deviation, over the root of 2; the chunks' own error comes on top
    assert one.proxy.val_bits_per_byte_sd == pytest.approx(math.hypot(0.05, first.val_bits_per_byte_sd or 0))
    assert other.runs == (record(1, bits=2.0).proxy,)
    assert [r.number for r in load_result("s", storage).finalists] == [0]


def test_a_kill_between_storing_and_telling_loses_nothing(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = new(storage)
    monkeypatch.setattr(studies, "this_process", lambda: {"host": "node1", "pid": 7, "started": "1"})
    trial = begin_next(study)
    trial.set_user_attr(RECORD, record_to_json(record(0)))
    monkeypatch.undo()
    again = open_study("s", storage)
    assert again.recover() == 1
    assert stored(again) == (record(0),)
    # told as complete, and nothing queued to be trained again
    assert [t.state.name for t in again.optuna_study.trials] == ["COMPLETE"]


def test_a_study_from_before_a_field_existed_is_still_read(storage: str) -> None:
    study = new(storage)
    old = {
        key: value
        for key, value in CONFIG.to_dict().items()
        if key
        not in {
            "vocab_size",
            "allow_fallback",
            "sharing_repeats",
            "tie_embeddings",
            "min_ffn_ratio",
            "max_ffn_ratio",
            "sampler",
            "rungs",
            "final_seeds",
            "audit_pairs",
        }
    }
    before = {**old, "formats": ["Q4_0", "Q4_K_M", "Q8_0"], "min_hidden_size": 64}
    study.optuna_study.set_user_attr(studies._CONFIG, json.dumps(before))
    # a trial as the search asked for it then
    trial = study.optuna_study.ask()
    trial.suggest_categorical("format", before["formats"])
    trial.suggest_int("executed_layers", 2, 24, log=True)
    trial.suggest_categorical("head_dim", (32, 64))
    trial.suggest_categorical("query_heads_per_kv_head", (1, 2, 4))
    trial.suggest_float("ffn_ratio", 1.5, 4.0, step=0.5)
    trial.suggest_categorical("sharing", ("none", "immediate", "repeat-all", "reverse"))
    trial.suggest_float("size_fraction", 0.2, 1.0, log=True)
    study.tell(record(0))
    again = open_study("s", storage)
    assert again.config.space.tie_embeddings == (True,)
    assert again.config.space.sharing_repeats == (2,)
    assert again.config.space.allow_fallback
    # and goes on with the very same questions
    next_trial = again.begin({})
    suggest(next_trial, again.config)
    assert next_trial.distributions == trial.distributions
    assert (
        again.config.training.sampler,
        again.config.training.rungs,
        again.config.training.final_seeds,
    ) == ("tpe", 1, 1)
    assert stored(again) == (record(0),)


def test_a_trial_of_a_dead_process_under_another_host_name_goes_on(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = new(storage)
    monkeypatch.setattr(studies, "this_process", lambda: {"host": "node1", "pid": 7, "started": "1"})
    asked(study)
    monkeypatch.undo()
    assert [trial.number for trial in open_study("s", storage).orphaned_trials()] == [0]


@pytest.mark.parametrize("attribute", ["sizer_config", "sizer_corpus", "sizer_settings"])
@pytest.mark.parametrize("text", ["{", "[" * 5000, "7"])
def test_a_damaged_study_is_one_line(storage: str, attribute: str, text: str) -> None:
    study = new(storage)
    study.optuna_study.set_user_attr(attribute, text)
    if (attribute, text) == ("sizer_settings", "7"):
        load_result("s", storage)  # read, and never asked
        return
    with pytest.raises(StudyError, match="damaged"):
        load_result("s", storage)


@pytest.mark.parametrize(
    "name", ["logs", "sizer.db", "a/b", "a" * 300, "a\n", "", " ", "con*", "con", "NUL.txt", "a."]
)
def test_names_that_no_file_may_have_are_refused(storage: str, name: str) -> None:
    with pytest.raises(StudyError, match="cannot be a name"):
        check_new_study(name, storage)


@pytest.mark.parametrize("suffix", ["", "-journal", "-wal"])
def test_a_name_of_the_storages_own_files_is_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(StudyError, match="files of the storage 'mine.sqlite' are called so"):
        check_new_study(f"mine.sqlite{suffix}", f"sqlite:///{tmp_path}/mine.sqlite")
    check_new_study("mine.sqlite2", f"sqlite:///{tmp_path}/mine.sqlite")


@pytest.mark.parametrize("name", ["console", "aux-1", "com10", "lpt", "a.b"])
def test_names_that_only_begin_like_a_device_are_accepted(storage: str, name: str) -> None:
    check_new_study(name, storage)
