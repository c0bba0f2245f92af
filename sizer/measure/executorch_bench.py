"""Exports models to ExecuTorch on this machine, one on each core, and times the files: a process for each."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import monotonic, sleep

from sizer.errors import MeasurementError
from sizer.measure.disk import check_space
from sizer.measure.executorch_models import ExecuTorchModel
from sizer.measure.speed_fit import RANGE_SHAPES
from sizer.measure.timings import Progress, Task, Timing, physical_cores
from sizer.measure.worker import command_of, failed, time_in_process, why

PACKAGES = ("executorch", "torchao", "torch")
ENGINE = "ExecuTorch"
_WORKER = Path(__file__).with_name("executorch_worker.py")
_TIMEOUT_S = 300.0
# Beside busy programs an export of four layers took nine minutes; one that takes this long hangs.
_EXPORT_TIMEOUT_S = 1800.0
# Of the budget, for exports; the rest is for the rounds.
_EXPORT_SHARE = 0.7
# Seconds for each layer of an export, until one has ended here.
_LAYER_S = 20.0
# Each export holds several copies of its weights.
_MOST_AT_ONCE = 4
_WAIT_S = 0.1

Report = Callable[[Progress], None]
Export = Callable[[Path, Sequence[ExecuTorchModel], float, Report], list[ExecuTorchModel]]


def require_executorch() -> str:
    """Version of ExecuTorch; MeasurementError in one line where one of its packages is not installed."""
    missing = [name for name in PACKAGES if not _is_there(name)]
    if missing:
        raise MeasurementError(
            f"calibrate: ExecuTorch needs the packages {', '.join(PACKAGES)} (extra `calibrate-executorch`), "
            f'not installed: {", ".join(missing)}; accepted: pip install "sizer[calibrate-executorch]"'
        )
    return version(PACKAGES[0])


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None and bool(version(name))
    except (PackageNotFoundError, ValueError):
        return False


def measure_in_process(task: Task, threads: int) -> Timing:
    """Time one file in a process of its own; MeasurementError in one line when that crashes or hangs."""
    request = {
        "action": "measure",
        "model": str(task.path),
        "threads": threads,
        "prompt_tokens": task.prompt_tokens,
        "generated_tokens": task.generated_tokens,
        "repeats": task.repeats,
    }
    return time_in_process(task, request, script=_WORKER, engine=ENGINE, timeout_s=_TIMEOUT_S)


@dataclass(slots=True, kw_only=True)
class _Running:
    """An export that has not ended yet."""

    model: ExecuTorchModel
    path: Path
    process: subprocess.Popen[bytes]
    begin: float
    log: Path


@dataclass(slots=True, kw_only=True)
class _Exports:
    """What is being exported, what is left, and how fast it goes."""

    folder: Path
    budget_s: float
    at_once: int
    begin: float
    waiting: list[ExecuTorchModel]
    running: list[_Running] = field(default_factory=list)
    done: list[ExecuTorchModel] = field(default_factory=list)
    paces: list[float] = field(default_factory=list)

    def seconds(self, model: ExecuTorchModel) -> float:
        """Seconds a model's export is expected to take."""
        return model.export_size * (median(self.paces) if self.paces else _LAYER_S)

    def next(self, now: float) -> ExecuTorchModel | None:
        """The first that is needed or will end in time; None where there is none."""
        if len(self.running) >= self.at_once or not self.waiting:
            return None
        if len(self.done) + len(self.running) < RANGE_SHAPES:
            return self.waiting[0]
        end_s = _EXPORT_SHARE * self.budget_s
        return next((m for m in self.waiting if now - self.begin + self.seconds(m) <= end_s), None)

    def start(self, model: ExecuTorchModel, now: float) -> None:
        """Start the export of a waiting model."""
        path = self.folder / model.file_name
        log = path.with_suffix(".log")
        self.waiting.remove(model)
        # a pipe that nobody reads would fill up and hold the export
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command_of(_WORKER, model.export_request(self.folder)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stream,
            )
        self.running.append(_Running(model=model, path=path, process=process, begin=now, log=log))

    def collect(self, now: float) -> None:
        """Note what has ended; MeasurementError in one line for what failed or hangs."""
        for one in list(self.running):
            code = one.process.poll()
            if code is None:
                if now - one.begin > _EXPORT_TIMEOUT_S:
                    raise failed(ENGINE, one.path, f"not exported within {_EXPORT_TIMEOUT_S:g} s")
                continue
            if code != 0:
                raise failed(ENGINE, one.path, why(code, one.log.read_text(errors="replace")))
            if not one.path.is_file():
                raise failed(ENGINE, one.path, "its export wrote no file")
            one.log.unlink()
            self.running.remove(one)
            self.done.append(one.model)
            self.paces.append((now - one.begin) / one.model.export_size)

    def progress(self, now: float) -> Progress:
        """How far the exports are; the rounds after them are taken to need their share of the budget."""
        left = [max(0.0, self.seconds(one.model) - (now - one.begin)) for one in self.running]
        expected_s = max(sum(left) / self.at_once, *left) if left else 0.0
        return Progress(
            done=len(self.done),
            total=len(self.done) + len(self.running) + len(self.waiting),
            elapsed_s=now - self.begin,
            model=f"exporting {', '.join(one.model.architecture.name for one in self.running)}",
            what="exports",
            expected_left_s=expected_s
            + sum(map(self.seconds, self.waiting)) / self.at_once
            + (1 - _EXPORT_SHARE) * self.budget_s,
        )


def export_models(
    folder: Path,
    models: Sequence[ExecuTorchModel],
    budget_s: float,
    report: Report = lambda progress: None,
) -> list[ExecuTorchModel]:
    """Export models to a folder; those that were written, in the order given.

    The first three are always exported, others only if they will end within 70 % of the budget.
    """
    at_once = max(1, min(_MOST_AT_ONCE, physical_cores()))
    largest = sorted((m.checkpoint_bytes for m in models), reverse=True)[:at_once]
    check_space(folder, sum(m.file_bytes for m in models) + sum(largest))
    exports = _Exports(
        folder=folder, budget_s=budget_s, at_once=at_once, begin=monotonic(), waiting=list(models)
    )
    try:
        while True:
            while (model := exports.next(monotonic())) is not None:
                exports.start(model, monotonic())
            if not exports.running:
                break
            report(exports.progress(monotonic()))
            sleep(_WAIT_S)
            exports.collect(monotonic())
    finally:
        for one in exports.running:
            one.process.kill()
            one.process.wait()
    return [model for model in models if model in exports.done]
