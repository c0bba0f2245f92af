"""What decides a run's numbers besides its seed: the trainer, torch, the kind of training step, the text.

A study fixes them when it is made. A machine that would train in another way refuses, so that the models of
one study can be compared wherever they were trained.
"""

from __future__ import annotations

import platform
import socket
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from search.training.train_step import FUSED
from search.training.training_run import TRAINER_REVISION, TrainConfig, backend_of
from sizer.errors import StudyError

Conditions = Mapping[str, str | int]


def check_engine(config: TrainConfig) -> None:
    """Raise StudyError where compiled kernels are asked for and this machine has none.

    Steps by autograd in their place would end with other numbers.
    """
    if config.fused is True and config.teacher is None:
        backend = backend_of(config)
        if backend.name != FUSED:
            raise StudyError(
                f"engine: the study trains with compiled kernels, and on {socket.gethostname()} "
                f"{backend.reason}; accepted: a machine that has them, or a new study"
            )


def conditions_of(settings: Mapping[str, str | int | float], *, torch: str, corpus: str) -> Conditions:
    """Return the conditions that a study's settings, torch version and corpus digest stand for."""
    return {
        "trainer": int(settings.get("trainer_revision", 1)),
        "torch": _without_build(torch),
        "engine": str(settings["engine"]),
        "kernels": str(settings.get("engine_reason", "")),
        "corpus": corpus,
    }


def check_conditions(study: Conditions, config: TrainConfig, *, corpus: str) -> None:
    """Raise StudyError naming the first condition of a study that this machine does not meet."""
    check_engine(config)
    backend = backend_of(config)
    here = conditions_of(
        {
            "trainer_revision": TRAINER_REVISION,
            "engine": backend.name,
            **({} if backend.reason is None else {"engine_reason": backend.reason}),
        },
        torch=version("torch"),
        corpus=corpus,
    )
    for name, wanted in study.items():
        # of autograd's steps the reason why they are no kernels does not matter
        if name == "kernels" and backend.name != FUSED:
            continue
        if here[name] != wanted:
            raise StudyError(
                f"{name}: the study was started with {wanted or 'all kernels'!r}, {socket.gethostname()} has "
                f"{here[name] or 'all kernels'!r}; accepted: a machine like those that started it"
            )


def _without_build(release: str) -> str:
    """Return a version without what it was built for, such as +cpu: the study's engine names the device."""
    return release.partition("+")[0]


@lru_cache(maxsize=1)
def machine() -> str:
    """Return this machine as runs record it: host name and processor."""
    return f"{socket.gethostname()}, {_processor()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())
