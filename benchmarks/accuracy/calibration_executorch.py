"""Predicted against measured on this machine in ExecuTorch: four shapes not among those a calibration fits.

    pip install "sizer[calibrate-executorch]"
    python benchmarks/accuracy/calibration_executorch.py FOLDER [--max-time 4m] [--threads N] [--json FILE]

Exports every model to FOLDER that is not there yet (ten minutes and more of processor time). The four
are timed in the same rounds as the bench models (shuffled, medians of undisturbed rounds). Only the bench
models are fitted; predictions go through the device file and `estimate`, as with --device.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.accuracy.calibration import print_found, reporter, row_of
from sizer.calibration.bench_models import bench_shape
from sizer.calibration.device_file import DeviceFile
from sizer.calibration.executorch_bench import export_models, measure_in_process, require_executorch
from sizer.calibration.executorch_models import FORMAT, ExecuTorchModel, executorch_models, workload
from sizer.calibration.speed_fit import fit_speed
from sizer.calibration.timings import check_threads, sample_of, time_models
from sizer.devices.catalogue import device
from sizer.devices.device import DeviceKind
from sizer.devices.host import measure_host
from sizer.model_estimate import estimate
from sizer.units import parse_seconds

UNSEEN = tuple(
    ExecuTorchModel(shape)
    for shape in (
        bench_shape("thin", layers=5, width=384, mlp=1024, kv_heads=2, vocab=8192),
        bench_shape("square", layers=3, width=512, mlp=1536, kv_heads=8, vocab=32000),
        bench_shape("tall", layers=2, width=640, mlp=1792, kv_heads=5, vocab=16384),
        bench_shape("broad", layers=2, width=1280, mlp=3584, kv_heads=4, vocab=16000),
    )
)
# Seconds for exports: no shape is left out.
_AMPLE_S = 1e6


def main() -> None:
    """Export, time, fit, predict, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--max-time", default="4m")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    threads = check_threads(options.threads)
    runtime_version = require_executorch()
    folder, report = options.folder, reporter()
    folder.mkdir(parents=True, exist_ok=True)
    bench = executorch_models()
    models = [*bench, *UNSEEN]
    export_models(folder, [m for m in models if not (folder / m.file_name).exists()], _AMPLE_S, report)
    timed = time_models(
        [model.task(folder) for model in models],
        threads=threads,
        budget_s=parse_seconds(options.max_time),
        rounds=12,
        measure=measure_in_process,
        report=report,
    )
    host = measure_host()
    samples = [sample_of(task, timings) for task, timings in timed[: len(bench)]]
    found = DeviceFile(
        name="here",
        title=host.title,
        kind=DeviceKind.DESKTOP,
        runtime="executorch",
        backend="cpu",
        source=f"ExecuTorch {runtime_version}, {threads} threads, {len(timed[0][1])} rounds",
        date="today",
        facts=host.facts,
        fit=fit_speed(samples, runtime="executorch"),
    )
    path = folder / "here.toml"
    path.write_text(found.text(), encoding="utf-8")
    here = device(str(path))
    rows: list[dict[str, Any]] = []
    for model, (task, timings) in zip(UNSEEN, timed[len(bench) :], strict=True):
        sized = estimate(
            architecture=model.architecture,
            format=FORMAT,
            runtime="executorch",
            device=here,
            workload=workload(),
        )
        name, held = model.architecture.name, sized.memory.total_bytes
        written = task.path.stat().st_size
        rows.append(row_of(name, task, timings, sized, written=written, file=model.file_bytes, held=held))
    print_found(found, timed, rows)
    if options.json:
        taken = {task.model.name: [t._asdict() for t in of_one] for task, of_one in timed}
        options.json.write_text(json.dumps({"models": rows, "timings": taken}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
