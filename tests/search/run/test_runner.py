"""The loop, with real training of tiny models: counts, budget before training, resume, changed text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from search.run import runner
from search.run.loop import LoopEnding
from search.run.progress import SearchProgress
from search.store.results import TrialStatus
from search.store.study import load_result, open_study
from search.training.scaled_proxy import scaled_proxy
from search.training.score import train_proxy
from search.training.training_run import TRAINER_REVISION
from sizer.errors import InvalidFile, NoFit, StudyError, UnknownName
from sizer.tensors import tensor_specs
from tests.search.run.small_searches import quiet, small_config, write_text
from tests.search_runs import TEXT


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_text(tmp_path)


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/runs/sizer.db"


def test_a_search_trains_what_fits_and_says_how_it_went(corpus: Path, storage: str) -> None:
    seen: list[SearchProgress] = []
    result, ending = runner.run(small_config(corpus), name="s", storage=storage, hook=seen.append)
    assert ending is LoopEnding.DONE
    trained = result.trained
    assert len(trained) == 3
    for record in trained:
        assert record.proxy is not None
        assert record.file_bytes <= 120_000
        assert record.proxy.num_parameters == record.num_parameters
        assert record.proxy.steps == 6
        assert 0 < (record.proxy.val_bits_per_byte or 0) < 12
    assert seen[-1].trained == seen[-1].wanted == 3
    assert seen[-1].best is not None
    assert load_result("s", storage) == result


def test_candidates_over_budget_are_never_trained(
    corpus: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained a candidate that breaks the budget")

    monkeypatch.setattr("search.run.executors.train_proxy", never)
    monkeypatch.setattr("search.run.loop.MAX_MISSES_IN_A_ROW", 8)
    config = small_config(corpus, min_decode_tokens_per_s=1e9)
    with pytest.raises(
        NoFit, match=r"budget: 8 proposals in a row do not fit; the last: decode .* < 1e\+09 tokens/s"
    ):
        runner.run(config, name="s", storage=storage, hook=quiet)
    statuses = {r.status for r in load_result("s", storage).records}
    assert statuses == {TrialStatus.INFEASIBLE}


def test_a_proposal_that_cannot_fill_its_share_is_never_trained(
    corpus: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained a model far below its share of the budget")

    monkeypatch.setattr("search.run.executors.train_proxy", never)
    monkeypatch.setattr("search.run.loop.MAX_MISSES_IN_A_ROW", 4)
    config = small_config(corpus, max_size_bytes=5_000_000, max_hidden_size=32, min_size_fraction=0.8)
    with pytest.raises(NoFit, match=r"the last: file: no shape of 2 to 3 layers and a width of 32 to 32 has"):
        runner.run(config, name="s", storage=storage, hook=quiet)


def test_an_interrupted_search_goes_on_without_repeating(
    corpus: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = train_proxy, []

    def counted(candidate, *rest, **named):  # type: ignore[no-untyped-def]
        calls.append(candidate)
        if len(calls) == 2:
            raise KeyboardInterrupt  # as hard as a kill: nothing of this trial is told
        return real(candidate, *rest, **named)

    monkeypatch.setattr("search.run.executors.train_proxy", counted)
    with pytest.raises(KeyboardInterrupt):
        runner.run(small_config(corpus), name="s", storage=storage, hook=quiet)
    first = load_result("s", storage)
    assert len(first.trained) == 1
    result, ending = runner.resume("s", storage=storage, trials=None, hook=quiet)
    assert ending is LoopEnding.DONE
    assert len(result.trained) == 3
    assert result.records[0] == first.records[0]
    # one extra call in all: nothing finished was trained again
    assert len(calls) == 4
    assert len(set(calls[:1] + calls[2:])) == 3


def test_resume_can_ask_for_more(corpus: Path, storage: str) -> None:
    runner.run(small_config(corpus, trials=1), name="s", storage=storage, hook=quiet)
    result, _ = runner.resume("s", storage=storage, trials=2, hook=quiet)
    assert len(result.trained) == 2
    # one number everywhere: what is read back, and what a resume without a number goes on to
    stored = load_result("s", storage)
    assert stored.config is not None
    assert (result.trials_requested, stored.trials_requested, stored.config.training.trials) == (2, 2, 2)
    again, ending = runner.resume("s", storage=storage, trials=None, hook=quiet)
    assert (ending, again.records) == (LoopEnding.DONE, result.records)


def test_the_same_seed_proposes_and_scores_the_same(corpus: Path, tmp_path: Path) -> None:
    def scores(name: str, seed: int) -> list[tuple[object, float | None]]:
        config = small_config(corpus, seed=seed, trials=2)
        result, _ = runner.run(config, name=name, storage=f"sqlite:///{tmp_path}/{name}.db", hook=quiet)
        return [(r.candidate, r.proxy.val_bits_per_byte if r.proxy else None) for r in result.records]

    assert scores("a", 0) == scores("b", 0)
    assert scores("c", 1) != scores("a2", 0)


def test_a_space_with_one_model_ends_early_instead_of_running_for_ever(
    corpus: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.run.loop.MAX_MISSES_IN_A_ROW", 5)
    config = small_config(
        corpus,
        trials=50,
        formats=("Q8_0",),
        sharing=("none",),
        query_heads_per_kv_head=(1,),
        max_executed_layers=2,
        max_hidden_size=32,
    )
    result, ending = runner.run(config, name="s", storage=storage, hook=quiet)
    assert ending is LoopEnding.EXHAUSTED
    assert 1 <= len(result.trained) < 50
    assert len({r.candidate for r in result.trained}) == len(result.trained)
    again, ending = runner.resume("s", storage=storage, trials=None, hook=quiet)
    assert (ending, again.records) == (LoopEnding.EXHAUSTED, result.records)


def test_a_corpus_that_changed_is_refused(corpus: Path, storage: str) -> None:
    runner.run(small_config(corpus, trials=1), name="s", storage=storage, hook=quiet)
    corpus.write_text(TEXT + "one more line", encoding="utf-8")
    with pytest.raises(StudyError, match="corpus: .* has changed since the study began"):
        runner.resume("s", storage=storage, trials=3, hook=quiet)


@pytest.mark.parametrize("revision", [None, TRAINER_REVISION + 1])
def test_a_study_of_another_trainer_is_read_and_not_gone_on_with(
    corpus: Path, storage: str, revision: int | None
) -> None:
    first, _ = runner.run(small_config(corpus, trials=1), name="s", storage=storage, hook=quiet)
    study = open_study("s", storage)
    assert study.settings["trainer_revision"] == TRAINER_REVISION
    settings = {key: value for key, value in study.settings.items() if key != "trainer_revision"}
    if revision is not None:
        settings["trainer_revision"] = revision
    study.optuna_study.set_user_attr("sizer_settings", json.dumps(settings))
    told = rf"study: 's' was started by revision {revision or 1} of the trainer; this is revision \d+"
    with pytest.raises(StudyError, match=told):
        runner.resume("s", storage=storage, trials=3, hook=quiet)
    assert load_result("s", storage).records == first.records


def test_a_missing_corpus_makes_no_study(tmp_path: Path, storage: str) -> None:
    with pytest.raises(InvalidFile, match="corpus"):
        runner.run(small_config(tmp_path / "none.txt"), name="s", storage=storage, hook=quiet)
    assert not (tmp_path / "runs").exists()


def test_a_study_is_run_by_one_process_at_a_time(corpus: Path, storage: str) -> None:
    def hook(progress: SearchProgress) -> None:
        if progress.step:
            with pytest.raises(
                StudyError, match=r"study: 's' is being run by process \d+; wait until it ends"
            ):
                runner.resume("s", storage=storage, trials=None, hook=quiet)

    runner.run(small_config(corpus, trials=1), name="s", storage=storage, hook=hook)


def test_ternary_models_of_bitnet_cpp_are_searched_for(corpus: Path, storage: str) -> None:
    config = small_config(
        corpus,
        runtime="bitnet.cpp",
        formats=("I2_S", "TL1"),
        sharing=("none",),
        max_size_bytes=400_000,
        rungs=2,
        lowest_rung_steps=10,
        steps=30,
    )
    result, ending = runner.run(config, name="b", storage=storage, hook=quiet)
    assert ending is LoopEnding.DONE
    proxies = [record.proxy for record in result.finalists]
    assert proxies
    for proxy in proxies:
        assert proxy is not None
        assert proxy.val_bits_per_byte != proxy.val_bits_per_byte_full
        # 10 steps with 1 aside, then up to 30 and 3 of cool-down
        assert (proxy.trained_tokens, proxy.aside_tokens) == ((33 + 1) * 64, 64)
    with pytest.raises(UnknownName, match="formats: mlx 'mxfp4' cannot be searched.*accepted: 2bit, "):
        runner.run(config.changed(runtime="mlx", formats=("mxfp4",)), name="m", storage=storage, hook=quiet)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runtime", "format_name"),
    [
        ("mlx", "4bit"),
        ("executorch", "8da4w-g32-e8"),
        ("transformers", "nf4-dq"),
        ("web-llm", "q4f16_1"),
        ("transformers.js", "q4"),
    ],
)
def test_formats_of_every_runtime_are_searched(
    corpus: Path, storage: str, runtime: str, format_name: str
) -> None:
    config = small_config(
        corpus, runtime=runtime, formats=(format_name,), trials=2, steps=20, max_size_bytes=600_000
    )
    result, ending = runner.run(config, name="s", storage=storage, hook=quiet)
    assert ending is LoopEnding.DONE
    assert len(result.trained) == 2
    for record in result.trained:
        assert record.candidate is not None
        assert record.candidate.format == format_name
        assert record.file_bytes is not None
        assert record.file_bytes <= 600_000
        assert record.proxy is not None
        rounded, exact = record.proxy.val_bits_per_byte, record.proxy.val_bits_per_byte_full
        assert rounded != exact
        assert rounded == pytest.approx(exact, rel=0.05)


def test_a_search_by_proxies_keeps_the_models_and_says_what_it_trained(corpus: Path, storage: str) -> None:
    config = small_config(
        corpus,
        trials=2,
        vocab_size=1000,
        max_size_bytes=600_000,
        min_hidden_size=64,
        proxy_width_scale=0.5,
        proxy_vocab_size=256,
    )
    result, ending = runner.run(config, name="p", storage=storage, hook=quiet)
    assert ending is LoopEnding.DONE
    assert (result.settings["proxy_width_scale"], result.settings["proxy_vocab_size"]) == (0.5, 256)
    for record in result.trained:
        assert record.proxy is not None
        model, proxy = record.candidate.architecture, record.scaled
        assert proxy == scaled_proxy(model, width_scale=0.5, vocab_size=256)
        assert model.vocab_size == 1000
        assert record.num_parameters == sum(spec.num_elements for spec in tensor_specs(model))
        assert record.proxy.num_parameters == sum(spec.num_elements for spec in tensor_specs(proxy))
    assert load_result("p", storage) == result


def test_a_finalist_that_was_kept_teaches(corpus: Path, storage: str, tmp_path: Path) -> None:
    kept = small_config(corpus, trials=1, keep_finalists=True, formats=("Q8_0",))
    runner.run(kept, name="first", storage=storage, hook=quiet)
    (teacher,) = (tmp_path / "runs" / "first" / "finalists").iterdir()
    assert sorted(path.name for path in teacher.iterdir()) == ["config.json", "model.safetensors"]
    plain = kept.changed(keep_finalists=False)
    scores = []
    for name, config in (("alone", plain), ("taught", plain.changed(teacher=str(teacher), seed=0))):
        result, _ = runner.run(config, name=name, storage=storage, hook=quiet)
        assert not (tmp_path / "runs" / name / "finalists").exists()
        (record,) = result.trained
        assert record.proxy is not None
        scores.append(record.proxy.val_bits_per_byte)
    assert scores[0] != scores[1]
    wrong = plain.changed(teacher=str(teacher), vocab_size=300)
    with pytest.raises(InvalidFile, match="teacher: .* must have a vocabulary of 300, got 256"):
        runner.run(wrong, name="wrong", storage=storage, hook=quiet)
    assert load_result("alone", storage).trained
    with pytest.raises(StudyError):
        load_result("wrong", storage)  # refused before it began
