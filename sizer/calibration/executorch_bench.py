"""Exports to ExecuTorch on this machine, one per core, and timings of the files: a process each."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from statistics import median
from time import monotonic, sleep

from sizer.calibration.disk import check_space
from sizer.calibration.executorch_models import ExecuTorchModel
from sizer.calibration.samples import RANGE_SHAPES
from sizer.calibration.timings import Timing, TimingProgress, TimingTask, physical_cores
from sizer.calibration.worker import command_of, failed, time_in_process, why
from sizer.errors import MeasurementError
from sizer.units import format_seconds

PACKAGES = ("executorch", "torchao", "torch")
ENGINE = "ExecuTorch"
WORKER = Path(__file__).with_name("executorch_worker.py")
_TIMEOUT_S = 300.0
# On a busy machine an export of four layers took nine minutes; one that takes this long hangs.
_EXPORT_TIMEOUT_S = 1800.0
# Share of the budget for exports; the rest is for the rounds. Without a single export it may be more.
_EXPORT_SHARE = 0.7
_FIRST_EXPORT_SHARE = 0.9
# Seconds per layer of an export, until the first has finished.
_LAYER_S = 20.0
_LEAST_BUDGET_S = 240.0
# Each export holds several copies of its weights.
_MOST_AT_ONCE = 4
_WAIT_S = 0.1

Report = Callable[[TimingProgress], None]
Export = Callable[[Path, Sequence[ExecuTorchModel], float, Report], list[ExecuTorchModel]]


def require_executorch(what: str = "calibrate") -> str:
    """Return the version of ExecuTorch; MeasurementError of `what` if one of its packages is missing."""
    missing = [name for name in PACKAGES if not _is_installed(name)]
    if missing:
        raise MeasurementError(
            f"{what}: ExecuTorch needs the packages {', '.join(PACKAGES)} (extra `calibrate-executorch`), "
            f'not installed: {", ".join(missing)}; accepted: pip install "sizer[calibrate-executorch]"'
        )
    return version(PACKAGES[0])


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None and bool(version(name))
    except (PackageNotFoundError, ValueError):
        return False


def measure_in_process(task: TimingTask, threads: int) -> Timing:
    """Time one file in a separate process; MeasurementError if that crashes or hangs."""
    request = {
        "action": "measure",
        "model": str(task.path),
        "threads": threads,
        "prompt_tokens": task.prompt_tokens,
        "generated_tokens": task.generated_tokens,
        "repeats": task.repeats,
    }
    return time_in_process(task, request, script=WORKER, engine=ENGINE, timeout_s=_TIMEOUT_S)


@dataclass(slots=True, kw_only=True)
class _Running:
    """A running export."""

    model: ExecuTorchModel
    path: Path
    process: subprocess.Popen[bytes]
    begin: float
    log: Path


@dataclass(slots=True, kw_only=True)
class _Exports:
    """State of the exports: waiting, running and finished models, and the pace so far."""

    folder: Path
    budget_s: float
    at_once: int
    begin: float
    waiting: list[ExecuTorchModel]
    running: list[_Running] = field(default_factory=list)
    done: list[ExecuTorchModel] = field(default_factory=list)
    paces: list[float] = field(default_factory=list)

    def seconds(self, model: ExecuTorchModel) -> float:
        """Return the expected seconds of a model's export."""
        return model.export_size * (median(self.paces) if self.paces else _LAYER_S)

    def next(self, now: float) -> ExecuTorchModel | None:
        """Return the next model that is required or will finish in time; None without one."""
        if len(self.running) >= self.at_once or not self.waiting:
            return None
        if len(self.done) + len(self.running) < RANGE_SHAPES:
            return self.waiting[0]
        end_s = _EXPORT_SHARE * self.budget_s
        return next((m for m in self.waiting if now - self.begin + self.seconds(m) <= end_s), None)

    def is_over(self, now: float) -> bool:
        """True if no time is left for the running exports; MeasurementError if not even one has finished."""
        spent_s = now - self.begin
        if not self.done and spent_s > _FIRST_EXPORT_SHARE * self.budget_s:
            needed_s = max(_LEAST_BUDGET_S, 4 * self.budget_s)
            raise MeasurementError(
                f"calibrate: no model was exported to {ENGINE} within {format_seconds(spent_s)}; accepted: "
                f"--max-time with more, such as {ceil(needed_s / 60)}m, and no other programs running"
            )
        return bool(self.done) and spent_s > _EXPORT_SHARE * self.budget_s

    def start(self, model: ExecuTorchModel, now: float) -> None:
        """Start the export of a waiting model."""
        path = self.folder / model.file_name
        log = path.with_suffix(".log")
        self.waiting.remove(model)
        # an unread pipe would fill up and block the export
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command_of(WORKER, model.export_request(self.folder)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stream,
            )
        self.running.append(_Running(model=model, path=path, process=process, begin=now, log=log))

    def collect(self, now: float) -> None:
        """Record finished exports; MeasurementError for one that failed or hangs."""
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

    def progress(self, now: float) -> TimingProgress:
        """Return the progress of the exports; the rounds after them count with their share of the budget."""
        left = [max(0.0, self.seconds(one.model) - (now - one.begin)) for one in self.running]
        expected_s = max(sum(left) / self.at_once, *left) if left else 0.0
        return TimingProgress(
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
    """Export models to a folder; return those written, in the order given.

    The first three are started in any case, others only if they will finish within 70 % of the budget; what
    has not finished by then is given up.
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
            if exports.is_over(monotonic()):
                break
    finally:
        for one in exports.running:
            one.process.kill()
            one.process.wait()
            for path in (one.path, one.log):
                path.unlink(missing_ok=True)
    return [model for model in models if model in exports.done]
