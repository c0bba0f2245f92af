"""A machine that would train otherwise than the study says refuses, and runs record theirs."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
import torch

from search.text.corpus import Corpus
from search.training import train_step
from search.training.conditions import check_conditions, check_engine, conditions_of, machine
from search.training.fused.kernels import NoKernels
from search.training.score import train_proxy
from search.training.training_run import TRAINER_REVISION, backend_of
from sizer.errors import StudyError
from tests.search.tiny_run import CANDIDATE, CONFIG

EAGER = replace(CONFIG, fused=False)
SETTINGS: dict[str, str | int | float] = {"trainer_revision": TRAINER_REVISION, "engine": "eager"}

pytestmark = pytest.mark.usefixtures("one_thread")


def test_kernels_that_are_missing_are_not_replaced_silently(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(dtype: torch.dtype) -> None:
        raise NoKernels("no C compiler (cc) was found")

    monkeypatch.setattr(train_step, "kernels", fail)
    with pytest.raises(StudyError, match=r"engine: the study trains with compiled kernels.*no C compiler"):
        train_proxy(CANDIDATE, corpus, replace(CONFIG, fused=True, steps=1))
    check_engine(EAGER)
    check_engine(replace(CONFIG, fused=None))


@pytest.mark.parametrize(
    ("name", "settings", "torch_version", "digest"),
    [
        ("trainer", {"trainer_revision": TRAINER_REVISION + 1}, torch.__version__, "abc"),
        ("torch", {}, "1.0.0", "abc"),
        ("corpus", {}, torch.__version__, "abd"),
        ("engine", {"engine": "fused"}, torch.__version__, "abc"),
    ],
)
def test_every_condition_is_compared(
    name: str, settings: dict[str, str | int | float], torch_version: str, digest: str
) -> None:
    wanted = conditions_of({**SETTINGS, **settings}, torch=torch_version, corpus=digest)
    with pytest.raises(StudyError, match=f"^{name}: the study was started with .*, {socket.gethostname()} "):
        check_conditions(wanted, EAGER, corpus="abc")


def test_a_like_machine_is_accepted() -> None:
    wanted = conditions_of(SETTINGS, torch=f"{torch.__version__.partition('+')[0]}+cu130", corpus="abc")
    check_conditions(wanted, EAGER, corpus="abc")
    backend = backend_of(CONFIG)
    settings = {**SETTINGS, "engine": backend.name}
    if backend.reason is not None:
        settings["engine_reason"] = backend.reason
    check_conditions(conditions_of(settings, torch=torch.__version__, corpus="a"), CONFIG, corpus="a")


def test_runs_record_where_they_were_trained(corpus: Corpus) -> None:
    result = train_proxy(CANDIDATE, corpus, replace(EAGER, steps=2, val_chunks=4))
    assert result.machine == machine()
    assert machine().startswith(socket.gethostname())
