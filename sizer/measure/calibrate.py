"""From timings to a device file: this machine through a runtime, another through its llama-bench output."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from sizer.device import DeviceKind, Fact
from sizer.errors import UnknownName
from sizer.host import measure_host
from sizer.measure import executorch_bench
from sizer.measure.bench_models import (
    BenchModel,
    bench_file_bytes,
    bench_models,
    require_gguf,
    write_bench_model,
)
from sizer.measure.device_file import DeviceFile
from sizer.measure.disk import check_space
from sizer.measure.executorch_models import ExecuTorchModel, executorch_models
from sizer.measure.llama_bench import BenchResults
from sizer.measure.llamacpp_bench import PACKAGE, measure_in_process, require_runtime
from sizer.measure.speed_fit import fit_speed, model_work
from sizer.measure.timings import Measure, Progress, Task, sample_of, time_models

# Runtimes that can be driven from here; what others take is read from rows people published.
RUNTIMES = ("llama.cpp", "executorch")


def check_runtime(name: str) -> str:
    """Canonical name of a runtime that can be measured; UnknownName lists them."""
    for known in RUNTIMES:
        if name.strip().lower() == known:
            return known
    raise UnknownName.of("runtime to calibrate", name, RUNTIMES)


def bench_task(folder: Path, model: BenchModel) -> Task:
    """The task that times a bench model's file in a folder."""
    work = model_work(model.name, model.architecture, model.store(), file_bytes=bench_file_bytes(model))
    return Task(folder / model.file_name, work)


def calibrate_this_machine(
    *,
    name: str,
    kind: DeviceKind,
    threads: int,
    budget_s: float,
    measure: Measure = measure_in_process,
    models: Sequence[BenchModel] | None = None,
    write: Callable[[Path, BenchModel], None] = write_bench_model,
    report: Callable[[Progress], None] = lambda progress: None,
) -> DeviceFile:
    """Write bench models to a temporary folder, time them in llama.cpp, fit; nothing is left behind."""
    runtime_version = require_runtime() if measure is measure_in_process else "injected"
    require_gguf()
    chosen = bench_models() if models is None else models

    def prepare(folder: Path) -> list[Task]:
        check_space(folder, sum(map(bench_file_bytes, chosen)))
        for model in chosen:
            write(folder / model.file_name, model)
        return [bench_task(folder, model) for model in chosen]

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
    report: Callable[[Progress], None] = lambda progress: None,
) -> DeviceFile:
    """Export models to a temporary folder, time them in ExecuTorch, fit; nothing is left behind.

    The budget holds the exports too: as many models as fit in it, and at least three.
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
    )


def _measured(
    *,
    name: str,
    kind: DeviceKind,
    runtime: str,
    package: str,
    threads: int,
    prepare: Callable[[Path], Sequence[Task]],
    left_s: Callable[[], float],
    measure: Measure,
    report: Callable[[Progress], None],
) -> DeviceFile:
    """A device file of this machine from the files that `prepare` writes to a temporary folder."""
    # before the timings: it keeps the memory busy
    host = measure_host()
    with tempfile.TemporaryDirectory(prefix="sizer-calibrate-") as name_of_folder:
        tasks = prepare(Path(name_of_folder))
        timed = time_models(tasks, threads=threads, budget_s=left_s(), measure=measure, report=report)
    rounds = len(timed[0][1])
    repeats = sum(len(timing.decode_s) for timing in timed[0][1])
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
        fit=fit_speed([sample_of(task, timings) for task, timings in timed], runtime=runtime),
    )


def calibrate_from_bench(results: BenchResults, *, name: str, kind: DeviceKind) -> DeviceFile:
    """A device file from what llama-bench measured on another machine."""
    date = results.date or _today()
    facts: dict[str, Fact] = {}
    return DeviceFile(
        name=name,
        title=results.processor.strip() or name,
        kind=kind,
        runtime="llama.cpp",
        backend=results.backend,
        source=(
            f"llama-bench {results.build or 'of unknown build'}, {results.threads} threads, "
            f"median of {results.repeats}"
        ),
        date=date,
        soc=results.processor.strip() or None,
        facts=facts,
        fit=fit_speed(results.samples, backend=results.backend),
    )


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
