"""One piece of training as plain data, and what runs it: the contract between the loop and its executors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from search.store.results import Candidate, ProxyResult
from search.training.train_step import ProductPrecision
from search.training.training_run import StepReport, TrainConfig
from sizer.architecture import Architecture
from sizer.families.hf_config import architecture_from_config, config_from_architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTask:
    """One piece of training: a trial's candidate up to a step, from its checkpoint where there is one."""

    number: int
    rung: int  # from 0; runs to the last end with a falling rate
    candidate: Candidate
    training: TrainConfig
    checkpoint: Path | None
    scaled: Architecture | None = None  # trained in the candidate's place

    @property
    def trained(self) -> Architecture:
        """The shape that is trained."""
        return self.candidate.architecture if self.scaled is None else self.scaled

    def to_dict(self) -> dict[str, Any]:
        """Return the task as JSON values, paths absolute: another machine has another working directory."""
        training = {
            key: str(value.resolve()) if isinstance(value, Path) else value
            for key, value in asdict(self.training).items()
        }
        return {
            "number": self.number,
            "rung": self.rung,
            "candidate": _candidate_to_dict(self.candidate),
            "training": {**training, "dtype": self.training.dtype.value},
            "checkpoint": None if self.checkpoint is None else str(self.checkpoint.resolve()),
            "scaled": None if self.scaled is None else _architecture_to_dict(self.scaled),
        }


def task_from_dict(values: Mapping[str, Any]) -> TrainingTask:
    """Read what `TrainingTask.to_dict` returned."""
    known = {field.name for field in fields(TrainConfig)}
    training = {key: value for key, value in values["training"].items() if key in known}
    teacher = training["teacher"]
    return TrainingTask(
        number=values["number"],
        rung=values["rung"],
        candidate=_candidate_from_dict(values["candidate"]),
        training=TrainConfig(
            **{
                **training,
                "dtype": ProductPrecision(training["dtype"]),
                "teacher": None if teacher is None else Path(teacher),
            }
        ),
        checkpoint=None if values["checkpoint"] is None else Path(values["checkpoint"]),
        scaled=None if values["scaled"] is None else _architecture_from_dict(values["scaled"]),
    )


def _candidate_to_dict(candidate: Candidate) -> dict[str, Any]:
    plain = {f.name: getattr(candidate, f.name) for f in fields(Candidate) if f.name != "architecture"}
    return {"architecture": _architecture_to_dict(candidate.architecture), **plain}


def _candidate_from_dict(values: Mapping[str, Any]) -> Candidate:
    return Candidate(**{**values, "architecture": _architecture_from_dict(values["architecture"])})


def _architecture_to_dict(architecture: Architecture) -> dict[str, Any]:
    return {"name": architecture.name, "config": config_from_architecture(architecture)}


def _architecture_from_dict(values: Mapping[str, Any]) -> Architecture:
    return architecture_from_config(values["config"], values["name"])


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRequest:
    """A cluster to train on, as a user names it, and the threads that train a model there."""

    where: str  # tcp://HOST:PORT, or slurm with its options
    threads: int | None = None  # None: as many as a local search on this machine would use


StepHook = Callable[[TrainingTask, StepReport], None]


class Executor(Protocol):
    """Runs tasks, as many at a time as it has slots."""

    @property
    def free(self) -> int:
        """Slots without a task."""
        ...

    def start(self, task: TrainingTask) -> None:
        """Begin a task; there must be a free slot."""
        ...

    def finished(self) -> list[tuple[TrainingTask, ProxyResult]]:
        """Wait until a task ends; every task that has ended since, and what came of it."""
        ...

    def close(self) -> None:
        """Release processes and connections."""
        ...
