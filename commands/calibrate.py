"""`sizer calibrate`: measure this machine, or read what llama-bench measured on another; a device file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from commands.console import console, notice, out, out_json
from sizer.device import DeviceKind
from sizer.errors import InvalidQuantity
from sizer.measure import executorch_bench
from sizer.measure.calibrate import (
    RUNTIMES,
    calibrate_executorch,
    calibrate_from_bench,
    calibrate_this_machine,
    check_runtime,
)
from sizer.measure.device_file import (
    DeviceFile,
    check_device_kind,
    check_device_name,
    check_out,
    write_device_file,
)
from sizer.measure.llama_bench import read_llama_bench
from sizer.measure.llamacpp_bench import measure_in_process, require_runtime
from sizer.measure.speed_fit import median_error
from sizer.measure.timings import Progress, check_threads
from sizer.units import format_seconds, parse_seconds

SCHEMA = "sizer.calibration/1"
_NAME = "my-device"
_LINE_EVERY_S = 10.0
_TOLD_SHARE = 0.01  # norms and rows of an embedding are too few bytes to tell their cost


def calibrate_command(
    runtime: Annotated[
        str, typer.Option("--runtime", help=f"Engine to measure: {', '.join(RUNTIMES)}.")
    ] = "llama.cpp",
    from_llama_bench: Annotated[
        Path | None,
        typer.Option("--from-llama-bench", metavar="FILE", help="Output of llama-bench -o json or jsonl."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the device.")] = _NAME,
    out_path: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="File to write; NAME.toml by default.")
    ] = None,
    kind: Annotated[
        str, typer.Option("--kind", help=f"What it is: {', '.join(k.value for k in DeviceKind)}.")
    ] = "board",
    threads: Annotated[
        int | None,
        typer.Option("--threads", help="CPU threads; one per physical core by default.", show_default=False),
    ] = None,
    max_time: Annotated[
        str, typer.Option("--max-time", help="Time to measure for; one round is always made.")
    ] = "4m",
    json_output: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Measure a device's speed and write it to a file that --device takes.

    Without --from-llama-bench: runs models with random weights on this machine's CPU, up to five minutes:
    in llama.cpp (package xllamacpp, extra `calibrate`) with 1.8 GB of temporary files, or in ExecuTorch
    (extra `calibrate-executorch`), which exports them first, with 1.0 GB. Close other programs. A file of the
    same device keeps the profiles of other runtimes.

    \b
    Examples:
      sizer calibrate --runtime llama.cpp --name my-board
      sizer calibrate --runtime executorch --name my-board
      sizer calibrate --from-llama-bench results.jsonl --name my-phone --kind phone
      sizer estimate --params 125M --device my-board.toml
    """
    begin = time.monotonic()
    engine = check_runtime(runtime)
    check_device_name(name)
    device_kind = check_device_kind(kind)
    path = check_out(out_path or Path(f"{name}.toml"))
    if from_llama_bench is not None:
        if engine != "llama.cpp":
            raise InvalidQuantity(
                f"runtime: llama-bench measures llama.cpp, got {engine!r}; accepted: llama.cpp"
            )
        results = read_llama_bench(from_llama_bench, threads=threads)
        if results.unknown:
            notice(f"left out, no known model: {', '.join(results.unknown)}")
        found = calibrate_from_bench(results, name=name, kind=device_kind)
    else:
        budget_s = parse_seconds(max_time, "max-time")
        if budget_s > 86_400:
            raise InvalidQuantity(f"max-time: must be at most 24h, got {max_time!r}")
        asked: dict[str, Any] = {
            "name": name,
            "kind": device_kind,
            "threads": check_threads(threads),
            "budget_s": budget_s,
        }
        if engine == "executorch":
            executorch_bench.require_executorch()
            with _progress("exporting models with random weights ...") as report:
                found = calibrate_executorch(**asked, report=report)
        else:
            require_runtime()
            with _progress("writing models with random weights ...") as report:
                found = calibrate_this_machine(**asked, measure=measure_in_process, report=report)
    beside = write_device_file(path, found)
    if json_output:
        out_json(_document(found, path))
    else:
        _print(found, path, time.monotonic() - begin)
        if beside:
            out(f"kept in the file: {', '.join(beside)}")


def _document(found: DeviceFile, path: Path) -> dict[str, Any]:
    costs, fit = found.fit.costs, found.fit
    return {
        "schema": SCHEMA,
        "device": found.name,
        "file": str(path),
        "runtime": found.runtime,
        "backend": found.backend,
        "source": found.source,
        "seconds_fixed": costs.fixed_s,
        "seconds_per_layer": costs.layer_s,
        "bytes_per_s": {name: 1 / cost for name, cost in costs.type_byte_s.items() if cost > 0},
        "prefill_ops_per_s": {name: 1 / cost for name, cost in costs.type_op_s.items() if cost > 0},
        "shapes": fit.shapes,
        "held_out": {
            name: {"models": len(errors), "median_error": median_error(errors.values())}
            for name, errors in (("decode", fit.decode_errors), ("prefill", fit.prefill_errors))
        },
        "decode_factor": fit.decode_factor,
        "prefill_factor": fit.prefill_factor if costs.op_s else None,
    }


def _print(found: DeviceFile, path: Path, seconds: float) -> None:
    from rich.table import Table

    fit, costs = found.fit, found.fit.costs
    title = f"{found.name}: {found.source}"
    table = Table("stored type", "decode reads", "prefill computes", title=title)
    for name, cost in costs.type_byte_s.items():
        if all(
            s.model.step_bytes.get(name, 0.0) < _TOLD_SHARE * s.model.work.step_bytes for s in fit.samples
        ):
            continue
        ops = costs.type_op_s.get(name, 0.0)
        table.add_row(
            name,
            f"{1e-9 / cost:.1f} GB/s" if cost > 0 else "nothing measurable",
            f"{1e-9 / ops:.0f} Gop/s" if ops > 0 else "not measured",
        )
    out(table)
    out(f"each layer takes {costs.layer_s * 1e6:.0f} us and each token {costs.fixed_s * 1e6:.0f} us besides")
    out(_held_out("decode", fit.decode_errors, fit.decode_factor))
    if costs.op_s is not None:
        out(_held_out("prefill", fit.prefill_errors, fit.prefill_factor))
    out(f"written in {format_seconds(seconds)}: {path}; use it as --device {path}")


def _held_out(what: str, errors: Any, factor: float) -> str:
    error = median_error(errors.values())
    if error is None:
        return f"{what}: too few shapes to leave one out; range x{factor:.2f}, as for data sheets"
    return (
        f"{what}: median error {error:.1%} over {len(errors)} models, each predicted without its shape; "
        f"80 % range x{factor:.2f}"
    )


@contextmanager
def _progress(first: str) -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal, a line now and then elsewhere; both on stderr."""
    screen = console(stderr=True)
    screen.print(first)
    if not screen.is_terminal:
        yield _lines(screen)
        return
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(30), TaskProgressColumn(), TimeElapsedColumn())
    with Bar(*columns, TextColumn("eta {task.fields[eta]}"), console=screen) as bar:
        task = bar.add_task(first, total=None, eta="unknown")

        def report(progress: Progress) -> None:
            eta = format_seconds(progress.left_s)
            bar.update(
                task, total=progress.total, completed=progress.done, description=progress.model, eta=eta
            )

        yield report


def _lines(screen: Any) -> Callable[[Progress], None]:
    last = ("", -_LINE_EVERY_S)

    def report(progress: Progress) -> None:
        nonlocal last
        what, at = last
        soon = what == progress.what and progress.elapsed_s - at < _LINE_EVERY_S
        if soon and progress.done < progress.total:
            return
        last = (progress.what, progress.elapsed_s)
        eta = format_seconds(progress.left_s)
        screen.print(
            f"{progress.done}/{progress.total} {progress.what}  eta {eta}  {progress.model}", soft_wrap=True
        )

    return report
