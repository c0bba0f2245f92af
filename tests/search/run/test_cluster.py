"""Searches on a real Dask cluster of this machine: the same models as locally, whoever dies."""

from __future__ import annotations

import doctest
import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from search.run import cluster, cluster_address, runner
from search.run.cluster_address import parse_cluster
from search.run.loop import LoopEnding
from search.run.progress import SearchProgress
from search.run.tasks import ClusterRequest, TrainingTask, task_from_dict
from search.store.results import Candidate, SearchResult
from search.store.study import load_result, open_study
from search.text.corpus import load_corpus
from search.text.corpus_file import read_corpus, write_corpus
from search.training.training_run import TrainConfig
from sizer.errors import InvalidFile, InvalidQuantity, StudyError, UnknownName
from tests.dask_cluster import DaskCluster
from tests.search.run.small_searches import quiet, small_config, write_text
from tests.search.tiny_run import TINY

LONG = {"trials": 3, "steps": 400, "lowest_rung_steps": 200, "eta": 2.0, "workers": 2}


def test_the_examples() -> None:
    assert doctest.testmod(cluster_address).failed == 0


def test_a_task_is_plain_data_and_back(tmp_path: Path) -> None:
    task = TrainingTask(
        number=3,
        rung=1,
        candidate=Candidate(architecture=TINY, format="Q4_0"),
        training=TrainConfig(steps=7, teacher=tmp_path / "t"),
        checkpoint=tmp_path / "3-0.npz",
        scaled=replace(TINY, hidden_size=32, num_heads=1),
    )
    assert task_from_dict(json.loads(json.dumps(task.to_dict()))) == task


@pytest.mark.parametrize("where", ["banana", "http://head:8786", "pbs:queue=a"])
def test_a_cluster_of_no_kind_is_refused(where: str) -> None:
    with pytest.raises(UnknownName, match="cluster: .* is neither an address nor a batch system; accepted"):
        parse_cluster(where)
    with pytest.raises(InvalidQuantity, match="options of slurm are key=value"):
        parse_cluster("slurm:queue")


def test_a_scheduler_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_S", 0.5)
    config, storage = small_config(write_text(tmp_path)), f"sqlite:///{tmp_path}/runs/sizer.db"
    with pytest.raises(StudyError, match=r"cluster: no scheduler answers at 'tcp://127.0.0.1:9'"):
        runner.run(
            config, name="s", storage=storage, hook=quiet, cluster=ClusterRequest(where="tcp://127.0.0.1:9")
        )
    assert not (tmp_path / "runs" / "sizer.db").exists()


def test_a_corpus_travels_whole_or_not_at_all(tmp_path: Path) -> None:
    corpus = load_corpus(str(write_text(tmp_path)))
    path, digest = write_corpus(corpus, tmp_path)
    again = read_corpus(path, digest)
    assert (again.digest, again.name, again.vocab_size) == (corpus.digest, corpus.name, 256)
    assert again.train.equal(corpus.train)
    assert again.validation.equal(corpus.validation)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InvalidFile, match="is not the study's"):
        read_corpus(path, digest)


def _scores(result: SearchResult) -> list[tuple[int, int, int, int, float | None]]:
    return [
        (r.number, run.rung, run.seed, run.steps, run.val_bits_per_byte)
        for r in result.records
        for run in r.runs
    ]


@pytest.mark.slow
def test_a_search_whose_worker_and_scheduler_die_has_the_models_of_a_local_one(tmp_path: Path) -> None:
    config, storage = small_config(write_text(tmp_path), **LONG), f"sqlite:///{tmp_path}/runs/sizer.db"
    local, _ = runner.run(config, name="local", storage=storage, hook=quiet)

    with DaskCluster(tmp_path, workers=2) as dask:
        request, heard = ClusterRequest(where=dask.address), set[tuple[int, int]]()

        def kill_one(progress: SearchProgress) -> None:
            heard.update((run.number, run.step) for run in progress.in_training if run.step)
            if len(heard) > 3:
                dask.workers[0].kill()

        result, ending = runner.run(config, name="s", storage=storage, hook=kill_one, cluster=request)
        assert dask.workers[0].wait(timeout=10) != 0
        assert ending is LoopEnding.DONE
        assert _scores(result) == _scores(local)
        assert list((tmp_path / "runs" / "s" / "curves").iterdir())
        assert result.settings["threads"] == 1

        def kill_scheduler(progress: SearchProgress) -> None:
            if progress.trained == 2 and progress.step:
                dask.scheduler.kill()

        with pytest.raises(StudyError, match="cluster: the scheduler at .* has gone; start it again"):
            runner.run(config, name="t", storage=storage, hook=kill_scheduler, cluster=request)
        dask.scheduler.wait()
        with DaskCluster(tmp_path, workers=1, port=dask.port):
            result, ending = runner.resume("t", storage=storage, trials=None, hook=quiet, cluster=request)
        assert ending is LoopEnding.DONE
        assert _scores(result) == _scores(local)


@pytest.mark.slow
def test_a_stopped_search_leaves_its_checkpoints_and_an_unlike_worker_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = small_config(write_text(tmp_path), **{**LONG, "steps": 100_000, "rungs": 1})
    storage, asked = f"sqlite:///{tmp_path}/runs/sizer.db", threading.Event()
    monkeypatch.setattr("search.run.runner.stop_on_signal", lambda: _Asked(asked))
    with DaskCluster(tmp_path, workers=1) as dask:
        request = ClusterRequest(where=dask.address)

        def stop(progress: SearchProgress) -> None:
            if any(run.step for run in progress.in_training):
                asked.set()

        _, ending = runner.run(config, name="s", storage=storage, hook=stop, cluster=request)
        assert ending is LoopEnding.STOPPED
        assert list((tmp_path / "runs" / "s" / "checkpoints").glob("*.npz"))
        asked.clear()
        study = open_study("s", storage)
        versions = json.dumps({**load_result("s", storage).versions, "torch": "1.0.0"})
        study.optuna_study.set_user_attr("sizer_versions", versions)
        with pytest.raises(StudyError, match=r"no worker can train this study: torch: the study was"):
            runner.resume("s", storage=storage, trials=None, hook=quiet, cluster=request)
        assert "is not used: torch: the study was started with '1.0.0'" in caplog.text


class _Asked:
    """What `stop_on_signal` yields, asked by the test instead of by a signal."""

    def __init__(self, asked: threading.Event) -> None:
        self._asked = asked

    def __enter__(self) -> object:
        return self._asked.is_set

    def __exit__(self, *_: object) -> None: ...
