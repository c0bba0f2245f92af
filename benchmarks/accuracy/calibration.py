"""Predicted against measured on this machine: nine shapes that are not among those a calibration fits.

    pip install "sizer[calibrate]"
    python benchmarks/accuracy/calibration.py [--max-time 4m] [--threads N] [--json FILE]
        [--timings FILE] [--without-elements]

`--timings` takes a file that `--json` wrote, fits to its timings again and times nothing;
`--without-elements` leaves out the cost of rows and columns, to see what it brings. The shapes are timed in
the same rounds as the bench models (shuffled, medians of undisturbed rounds). Only the bench models
are fitted; predictions go through the device file and `estimate`, as with --device.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sizer.architecture import Architecture
from sizer.calibration.bench_models import (
    bench_models,
    bench_shape,
    metadata_bytes,
    random_file_bytes,
    write_bench_model,
    write_random_model,
)
from sizer.calibration.calibrate import bench_task
from sizer.calibration.device_file import DeviceFile
from sizer.calibration.llamacpp_bench import measure_in_process, require_runtime
from sizer.calibration.resident import resident_bytes
from sizer.calibration.samples import median_error, timed_model
from sizer.calibration.speed_fit import STEP_ELEMENT_SHARE, fit_speed
from sizer.calibration.timings import (
    Timing,
    TimingProgress,
    TimingTask,
    check_threads,
    sample_of,
    time_models,
)
from sizer.devices.catalogue import device
from sizer.devices.device import DeviceKind
from sizer.devices.host import measure_host
from sizer.formats.gguf import ALIGNMENT
from sizer.formats.llamacpp import mix
from sizer.formats.stored import StoredTensor
from sizer.model_estimate import Estimate, estimate
from sizer.tensors import tensor_specs
from sizer.units import format_seconds, parse_seconds
from sizer.workload import Workload

MIB = 2**20


class Unseen(NamedTuple):
    """A shape in a mix, neither of which is among the bench models."""

    architecture: Architecture
    format: str

    @property
    def stored(self) -> tuple[StoredTensor, ...]:
        """Its tensors as llama-quantize would type them."""
        return mix(self.format).assign(self.architecture, tensor_specs(self.architecture))


UNSEEN = (
    Unseen(bench_shape("smol", layers=30, width=576, mlp=1536, kv_heads=3, vocab=49152), "Q4_K_M"),
    Unseen(bench_shape("square", layers=12, width=768, mlp=2048, kv_heads=4), "Q4_K_M"),
    Unseen(bench_shape("tall", layers=20, width=640, mlp=1792, kv_heads=5), "Q8_0"),
    Unseen(bench_shape("broad", layers=6, width=1280, mlp=3584, kv_heads=4), "Q5_K_M"),
    Unseen(bench_shape("narrow", layers=36, width=384, mlp=1024, kv_heads=2), "Q4_0"),
    Unseen(bench_shape("ternary", layers=12, width=768, mlp=2048, kv_heads=4), "TQ1_0"),
    # below two megabytes
    Unseen(bench_shape("speck", layers=4, width=128, mlp=384, kv_heads=1, vocab=1024), "Q8_0"),
    Unseen(bench_shape("grain", layers=3, width=256, mlp=768, kv_heads=2, vocab=1024), "Q4_K_M"),
    Unseen(bench_shape("thread", layers=8, width=64, mlp=192, kv_heads=1, vocab=512), "Q8_0"),
)


def main() -> None:
    """Time, fit, predict, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--max-time", default="4m")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--timings", type=Path)
    parser.add_argument("--without-elements", action="store_true")
    options = parser.parse_args()
    if options.without_elements:
        STEP_ELEMENT_SHARE.clear()
    with tempfile.TemporaryDirectory(prefix="sizer-calibration-") as name:
        folder = Path(name)
        if options.timings:
            found = recorded(options.timings)
        else:
            found = measured(folder, parse_seconds(options.max_time), check_threads(options.threads))
        file = fitted(found)
        rows = predicted(found, file, folder)
    print_found(file, found.timed, rows)
    if options.json:
        taken = {task.model.name: [t._asdict() for t in of_one] for task, of_one in found.timed}
        document = {"source": found.source, "models": rows, "timings": taken}
        options.json.write_text(json.dumps(document, indent=1), encoding="utf-8")


class Timed(NamedTuple):
    """Timings of the bench models, then of the unseen ones, and the bytes of the latter's files."""

    source: str
    timed: list[tuple[TimingTask, list[Timing]]]
    file_bytes: Mapping[str, int]


def measured(folder: Path, budget_s: float, threads: int) -> Timed:
    """Write all models to a folder and time them."""
    runtime_version = require_runtime()
    for model in bench_models():
        write_bench_model(folder / model.file_name, model)
    bench = [bench_task(folder, model) for model in bench_models()]
    unseen = [_task(folder, one) for one in UNSEEN]
    for one, task in zip(UNSEEN, unseen, strict=True):
        write_random_model(task.path, one.architecture, one.stored)
    timed = time_models(
        [*bench, *unseen],
        threads=threads,
        budget_s=budget_s,
        rounds=12,
        measure=measure_in_process,
        report=reporter(),
    )
    source = f"xllamacpp {runtime_version}, {threads} threads, {len(timed[0][1])} rounds"
    return Timed(source, timed, {t.model.name: t.path.stat().st_size for t in unseen})


def recorded(path: Path) -> Timed:
    """Read the timings of an earlier run from the file that --json wrote."""
    document = json.loads(path.read_text(encoding="utf-8"))
    tasks = [bench_task(path.parent, model) for model in bench_models()]
    tasks += [_task(path.parent, one) for one in UNSEEN]
    timed = [(task, [_timing(t) for t in document["timings"][task.model.name]]) for task in tasks]
    sizes = {row["model"].split()[0]: row["file_bytes"] for row in document["models"]}
    return Timed(document["source"], timed, sizes)


def _timing(fields: dict[str, Any]) -> Timing:
    return Timing(**fields)._replace(prefill_s=tuple(fields["prefill_s"]), decode_s=tuple(fields["decode_s"]))


def fitted(found: Timed) -> DeviceFile:
    """Fit a device file to the bench models' timings."""
    host = measure_host()
    bench = found.timed[: len(bench_models())]
    return DeviceFile(
        name="here",
        title=host.title,
        kind=DeviceKind.DESKTOP,
        runtime="llama.cpp",
        backend="cpu",
        source=found.source,
        date="today",
        facts=host.facts,
        fit=fit_speed([sample_of(task, timings) for task, timings in bench]),
    )


def predicted(found: Timed, file: DeviceFile, folder: Path) -> list[dict[str, Any]]:
    """Return a row for each unseen model: measured, and as `estimate` predicts it with the device file."""
    path = folder / "here.toml"
    path.write_text(file.text(), encoding="utf-8")
    here = device(str(path))
    rows = []
    for one, (task, timings) in zip(UNSEEN, found.timed[len(bench_models()) :], strict=True):
        load = Workload(
            context_tokens=task.context_tokens,
            prompt_tokens=task.prompt_tokens,
            generated_tokens=task.generated_tokens,
        )
        sized = estimate(architecture=one.architecture, format=one.format, device=here, workload=load)
        rows.append(_row(one, task, timings, sized, found.file_bytes[one.architecture.name]))
    return rows


def reporter() -> Callable[[TimingProgress], None]:
    """Prints a line on stderr now and then."""
    said: list[tuple[str, int]] = []

    def report(progress: TimingProgress) -> None:
        at = (progress.what, progress.done)
        if at in said or (progress.what == "timings" and progress.done % 16 and progress.left_s):
            return
        said.append(at)
        eta = format_seconds(progress.left_s)
        print(
            f"{progress.done}/{progress.total} {progress.what}  eta {eta}  {progress.model}", file=sys.stderr
        )

    return report


def _task(folder: Path, one: Unseen) -> TimingTask:
    size = random_file_bytes(one.architecture, one.stored)
    path = folder / f"{one.architecture.name}-{one.format}.gguf"
    model = timed_model(one.architecture.name, one.architecture, one.stored, file_bytes=size)
    return TimingTask(path, model)


def _row(
    one: Unseen, task: TimingTask, timings: list[Timing], sized: Estimate, written: int
) -> dict[str, Any]:
    # metadata and tokenizer are these files' own; all else is the estimate's
    head = sized.file.directory_bytes + metadata_bytes(one.architecture)
    file = head + -head % ALIGNMENT + sized.file.tensor_bytes + sized.file.padding_bytes
    held = resident_bytes(one.architecture, one.stored, sized.workload)
    name = f"{one.architecture.name} {one.format}"
    return row_of(name, task, timings, sized, written=written, file=file, held=held)


def row_of(
    name: str,
    task: TimingTask,
    timings: list[Timing],
    sized: Estimate,
    *,
    written: int,
    file: int,
    held: int,
) -> dict[str, Any]:
    """Return what was measured of a model and what is predicted; `file` and `held` are predicted bytes."""
    assert sized.latency is not None
    sample, speeds = sample_of(task, timings), sized.latency
    start = speeds.decode_at_start_tokens_per_s
    assert sample.decode_s is not None
    assert sample.prefill_s is not None
    decode, prefill = 1 / sample.decode_s, task.prompt_tokens / sample.prefill_s
    measured = [t.resident_bytes for t in timings if t.resident_bytes is not None]
    return {
        "model": name,
        "decode": decode,
        "decode_predicted": start.value,
        "decode_inside": start.low <= decode <= start.high,
        "prefill": prefill,
        "prefill_predicted": speeds.prefill_tokens_per_s.value,
        "prefill_inside": speeds.prefill_tokens_per_s.low <= prefill <= speeds.prefill_tokens_per_s.high,
        "file_bytes": written,
        "file_bytes_predicted": file,
        "resident_bytes": median(measured) if measured else None,
        "resident_bytes_predicted": held,
        "estimate_memory_bytes": sized.memory.total_bytes,
    }


def print_found(
    found: DeviceFile, timed: list[tuple[TimingTask, list[Timing]]], rows: list[dict[str, Any]]
) -> None:
    """How well the fit does, and a line for every unseen model."""
    fit, timings = found.fit, [t for _, of_one in timed for t in of_one]
    quiet = sum(sum(t.is_quiet for t in of_one) for _, of_one in timed)
    print(f"{found.source}; {quiet} of {len(timings)} timings undisturbed by other programs")
    for what, errors, factor in (
        ("decode", fit.decode_errors, fit.constants.decode_factor),
        ("prefill", fit.prefill_errors, fit.constants.prefill_factor),
    ):
        error = median_error(errors.values())
        print(f"{what}: fitted models, each without its shape: median error {error:.1%}, range x{factor:.2f}")
    print("model: tokens/s measured (predicted) of decode and prefill; MiB held (predicted; estimate); file")
    for row in rows:
        speeds = "   ".join(_speed(row, what) for what in ("decode", "prefill"))
        held = row["resident_bytes"]
        memory = (
            f"{held / MIB:.0f} ({row['resident_bytes_predicted'] / MIB:.0f}, "
            f"{row['estimate_memory_bytes'] / MIB:.0f})"
            if held
            else "not known"
        )
        wrong = row["file_bytes_predicted"] - row["file_bytes"]
        exact = f"off by {wrong:+,}" if wrong else "exact"
        print(f"{row['model']:16} {speeds}   {memory}   file {row['file_bytes']:,} {exact}")
    for what in ("decode", "prefill"):
        errors_found = [abs(row[f"{what}_predicted"] / row[what] - 1) for row in rows]
        print(f"{what}: median error {median(errors_found):.1%}, largest {max(errors_found):.1%}")


def _speed(row: dict[str, Any], what: str) -> str:
    measured, predicted = row[what], row[f"{what}_predicted"]
    inside = "" if row[f"{what}_inside"] else " outside its range"
    return f"{measured:8.1f} ({predicted:8.1f} {predicted / measured - 1:+6.1%}{inside})"


if __name__ == "__main__":
    main()
