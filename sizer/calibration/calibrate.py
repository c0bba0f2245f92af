"""Device files from timings: of this machine through a runtime, of another from its llama-bench output."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from sizer.calibration import executorch_bench
from sizer.calibration.bench_models import (
    LONG_PROMPT,
    BenchModel,
    bench_file_bytes,
    bench_models,
    require_gguf,
    write_bench_model,
)
from sizer.calibration.device_file import DeviceFile
from sizer.calibration.disk import check_space
from sizer.calibration.executorch_models import ExecuTorchModel, executorch_models
from sizer.calibration.llama_bench import BenchResults
from sizer.calibration.llamacpp_bench import PACKAGE, measure_in_process, require_runtime
from sizer.calibration.quiet import load_now, timing_doubts
from sizer.calibration.samples import RANGE_SHAPES, Sample, SpeedFit, timed_model
from sizer.calibration.timings import Measure, TimingProgress, TimingTask, sample_of, time_models
from sizer.devices.device import DeviceKind
from sizer.devices.host import measure_host
from sizer.errors import UnknownName

# Runtimes that can be timed on this machine; constants of others are fitted to published measurements.
RUNTIMES = ("llama.cpp", "executorch")


def check_runtime(name: str) -> str:
    """Return the canonical name of a runtime that can be measured; UnknownName lists them."""
    for known in RUNTIMES:
        if name.strip().lower() == known:
            return known
    raise UnknownName.of("runtime to calibrate", name, RUNTIMES)


def bench_task(folder: Path, model: BenchModel) -> TimingTask:
    """Return the task that times a bench model's file in a folder."""
    timed = timed_model(model.name, model.architecture, model.store(), file_bytes=bench_file_bytes(model))
    return TimingTask(folder / model.file_name, timed)


def calibrate_this_machine(
    *,
    name: str,
    kind: DeviceKind,
    threads: int,
    budget_s: float,
    measure: Measure = measure_in_process,
    models: Sequence[BenchModel] | None = None,
    write: Callable[[Path, BenchModel], None] = write_bench_model,
    report: Callable[[TimingProgress], None] = lambda progress: None,
) -> DeviceFile:
    """Write bench models to a temporary folder, time them in llama.cpp, remove them, fit."""
    runtime_version = require_runtime() if measure is measure_in_process else "injected"
    require_gguf()
    chosen = bench_models() if models is None else models

    def prepare(folder: Path) -> list[TimingTask]:
        check_space(folder, sum(map(bench_file_bytes, chosen)))
        for model in chosen:
            write(folder / model.file_name, model)
        return [
            *(bench_task(folder, model) for model in chosen),
            *(
                bench_task(folder, model)._replace(prompt_tokens=LONG_PROMPT)
                for model in chosen
                if model.is_long
            ),
        ]

    return _measured(
        name=name,
        kind=kind,
        runtime="llama.cpp",
        package=f"{PACKAGE} {runtime_version}",
        threads=threads,
        prepare=prepare,
        left_s=lambda: budget_s,
        measure=measure,
        report=report,
    )


def calibrate_executorch(
    *,
    name: str,
    kind: DeviceKind,
    threads: int,
    budget_s: float,
    measure: Measure = executorch_bench.measure_in_process,
    models: Sequence[ExecuTorchModel] | None = None,
    export: executorch_bench.Export = executorch_bench.export_models,
    report: Callable[[TimingProgress], None] = lambda progress: None,
) -> DeviceFile:
    """Export models to a temporary folder, time them in ExecuTorch, remove them, fit.

    The budget includes the exports: as many models as fit in it, and at least one.
    """
    is_real = measure is executorch_bench.measure_in_process
    runtime_version = executorch_bench.require_executorch() if is_real else "injected"
    chosen = executorch_models() if models is None else models
    begin = monotonic()
    return _measured(
        name=name,
        kind=kind,
        runtime="executorch",
        package=f"ExecuTorch {runtime_version} with XNNPACK",
        threads=threads,
        prepare=lambda folder: [m.task(folder) for m in export(folder, chosen, budget_s, report)],
        left_s=lambda: budget_s - (monotonic() - begin),
        measure=measure,
        report=report,
        whole_round=False,
    )


def _measured(
    *,
    name: str,
    kind: DeviceKind,
    runtime: str,
    package: str,
    threads: int,
    prepare: Callable[[Path], Sequence[TimingTask]],
    left_s: Callable[[], float],
    measure: Measure,
    report: Callable[[TimingProgress], None],
    whole_round: bool = True,
) -> DeviceFile:
    """Return a device file of this machine from the files that `prepare` writes to a temporary folder."""
    # before the timings: one looks at what others do, the other loads the memory
    load = load_now()
    host = measure_host()
    with tempfile.TemporaryDirectory(prefix="sizer-calibrate-") as name_of_folder:
        tasks = prepare(Path(name_of_folder))
        timed = time_models(
            tasks,
            threads=threads,
            budget_s=left_s(),
            whole_round=whole_round,
            measure=measure,
            report=report,
        )
    rounds = len(timed[0][1])
    repeats = sum(len(timing.decode_s) for timing in timed[0][1])
    doubts = timing_doubts(timed, load)
    if len(timed) < RANGE_SHAPES:
        doubts = (*doubts, f"only {len(timed)} of the models could be measured in time")
    return DeviceFile(
        name=name,
        title=host.title,
        kind=kind,
        runtime=runtime,
        backend="cpu",
        source=f"sizer calibrate, {package}, {threads} threads, median of {repeats} in {rounds} rounds",
        date=_today(),
        soc=host.soc,
        facts=host.facts,
        fit=_fit(
            [sample_of(task, timings) for task, timings in timed], runtime=runtime, doubted=bool(doubts)
        ),
        doubts=doubts,
    )


def calibrate_from_bench(results: BenchResults, *, name: str, kind: DeviceKind) -> DeviceFile:
    """Return a device file from llama-bench results of another machine."""
    processor = results.processor.strip()
    return DeviceFile(
        name=name,
        title=processor or name,
        kind=kind,
        runtime="llama.cpp",
        backend=results.backend,
        source=(
            f"llama-bench {results.build or 'of unknown build'}, {results.setup}, "
            f"{f'median of {results.repeats}' if results.repeats else 'mean of the repeats'}"
        ),
        date=results.date or _today(),
        soc=processor or None,
        facts={},
        fit=_fit(results.samples, backend=results.backend, doubted=bool(results.doubts)),
        doubts=results.doubts,
    )


def _fit(
    samples: Sequence[Sample], *, runtime: str = "llama.cpp", backend: str = "cpu", doubted: bool = False
) -> SpeedFit:
    # numpy and scipy take most of a second to load: `sizer --help` and bad options do without
    from sizer.calibration.speed_fit import fit_speed

    return fit_speed(samples, runtime=runtime, backend=backend, doubted=doubted)


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
