"""`sizer calibrate`: write a device file from timings on this machine or llama-bench output of another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from commands.console import notice, out, out_json
from commands.progress import progress
from sizer.calibration import executorch_bench
from sizer.calibration.bench_runs import ONLY
from sizer.calibration.calibrate import (
    RUNTIMES,
    calibrate_executorch,
    calibrate_from_bench,
    calibrate_this_machine,
    check_runtime,
)
from sizer.calibration.device_file import (
    DeviceFile,
    check_device_kind,
    check_device_name,
    check_out,
    write_device_file,
)
from sizer.calibration.llama_bench import read_llama_bench
from sizer.calibration.llamacpp_bench import measure_in_process, require_runtime
from sizer.calibration.quiet import busy_note, load_now
from sizer.calibration.samples import median_error
from sizer.calibration.timings import TimingProgress, check_threads
from sizer.devices.device import DeviceKind
from sizer.errors import InvalidQuantity, shown
from sizer.units import format_seconds, parse_seconds

SCHEMA = "sizer.calibration/1"
_NAME = "my-device"
_PICK: Any = {"show_default": False, "rich_help_panel": "Of several set-ups in a llama-bench file"}
_SHOWN_SHARE = 0.01  # norms and rows of an embedding are too few bytes to measure their cost


def calibrate_command(
    runtime: Annotated[
        str, typer.Option("--runtime", help=f"Runtime to measure: {', '.join(RUNTIMES)}.")
    ] = "llama.cpp",
    from_llama_bench: Annotated[
        Path | None,
        typer.Option(
            "--from-llama-bench",
            metavar="FILE",
            help="Output of llama-bench: its table, or -o json, jsonl, csv or sql.",
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the device.")] = _NAME,
    out_path: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="File to write; NAME.toml by default.")
    ] = None,
    kind: Annotated[
        str, typer.Option("--kind", help=f"Kind of device: {', '.join(k.value for k in DeviceKind)}.")
    ] = "board",
    threads: Annotated[
        int | None,
        typer.Option("--threads", help="CPU threads; one per physical core by default.", show_default=False),
    ] = None,
    max_time: Annotated[
        str, typer.Option("--max-time", help="Time limit; llama.cpp always runs one round.")
    ] = "4m",
    backend: Annotated[
        str | None,
        typer.Option("--backend", help="Of several in the llama-bench file: cpu, cuda, metal ...", **_PICK),
    ] = None,
    gpu_layers: Annotated[
        str | None, typer.Option("--gpu-layers", metavar="N|all", help="Runs with that many.", **_PICK)
    ] = None,
    flash_attention: Annotated[
        bool | None,
        typer.Option("--flash-attention/--no-flash-attention", help="Runs with or without it.", **_PICK),
    ] = None,
    cache_type: Annotated[
        str | None,
        typer.Option(
            "--cache-type", metavar="TYPE", help="Runs with that KV cache: q8_0, or q8_0/f16.", **_PICK
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", help="Runs with that batch size.", **_PICK)
    ] = None,
    ubatch_size: Annotated[
        int | None, typer.Option("--ubatch-size", help="Runs with that micro-batch size.", **_PICK)
    ] = None,
    split_mode: Annotated[
        str | None, typer.Option("--split-mode", help="Runs split between GPUs like that.", **_PICK)
    ] = None,
    cpu_moe: Annotated[
        int | None,
        typer.Option("--cpu-moe", help="Runs with the experts of that many layers on the CPU.", **_PICK),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="NAME=VALUE", help="Runs with another setting, by its field.", **_PICK
        ),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Measure a device's speed and write a file for --device.

    Without --from-llama-bench: runs models with random weights on this machine's CPU, up to five minutes:
    in llama.cpp (package xllamacpp, extra `calibrate`) with 1.8 GB of temporary files, or in ExecuTorch
    (extra `calibrate-executorch`), which exports them first, with 1.0 GB. Close other programs. A file of the
    same device keeps the profiles of other runtimes.

    \b
    Examples:
      sizer calibrate --runtime llama.cpp --name my-board
      sizer calibrate --runtime executorch --name my-board
      sizer calibrate --from-llama-bench results.jsonl --name my-phone --kind phone
      sizer calibrate --from-llama-bench results.md --flash-attention --cache-type q8_0
      sizer estimate --params 125M --device my-board.toml
    """
    begin = time.monotonic()
    engine = check_runtime(runtime)
    check_device_name(name)
    device_kind = check_device_kind(kind)
    path = check_out(out_path or Path(f"{name}.toml"))
    flash = None if flash_attention is None else ("on" if flash_attention else "off")
    wanted = _wanted(
        {
            "backend": backend,
            "gpu_layers": gpu_layers,
            "cpu_moe": cpu_moe,
            "flash_attention": flash,
            "cache_type": cache_type,
            "batch_size": batch_size,
            "ubatch_size": ubatch_size,
            "split_mode": split_mode,
        },
        only or [],
    )
    if from_llama_bench is not None:
        if engine != "llama.cpp":
            raise InvalidQuantity(
                f"runtime: llama-bench measures llama.cpp, got {engine!r}; accepted: llama.cpp"
            )
        if threads is not None:
            wanted["threads"] = str(check_threads(threads))
        found = _of_file(from_llama_bench, name, device_kind, wanted)
    elif wanted:
        raise InvalidQuantity(
            f"{next(iter(wanted)).replace('_', '-')}: picks runs of a llama-bench file; accepted: together "
            "with --from-llama-bench"
        )
    else:
        found = _of_this_machine(engine, name, device_kind, threads, max_time)
    kept = write_device_file(path, found)
    if found.doubts:
        notice(f"not to be trusted: {'; '.join(found.doubts)}")
    if json_output:
        out_json(_document(found, path))
    else:
        _print(found, path, time.monotonic() - begin)
        if kept:
            out(f"kept in the file: {', '.join(kept)}")


def _of_file(path: Path, name: str, kind: DeviceKind, wanted: Mapping[str, str]) -> DeviceFile:
    """Return the device of a llama-bench file; a notice names models that are left out or not known."""
    results = read_llama_bench(path, wanted=wanted)
    if results.unknown:
        notice(f"left out, no known model: {', '.join(results.unknown)}")
    if results.similar:
        notice(
            "shape not known, so that of a similar model is used, with these bytes and weights: "
            + ", ".join(results.similar)
        )
    return calibrate_from_bench(results, name=name, kind=kind)


def _of_this_machine(
    engine: str, name: str, kind: DeviceKind, threads: int | None, max_time: str
) -> DeviceFile:
    """Return this machine, measured; a notice before it if other programs are running."""
    budget_s = parse_seconds(max_time, "max-time")
    if budget_s > 86_400:
        raise InvalidQuantity(f"max-time: must be at most 24h, got {max_time!r}")
    asked: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "threads": check_threads(threads),
        "budget_s": budget_s,
    }
    busy = busy_note(load_now())
    if engine == "executorch":
        executorch_bench.require_executorch()
        if busy:
            notice(busy)
        with _progress("exporting models with random weights ...") as report:
            return calibrate_executorch(**asked, report=report)
    require_runtime()
    if busy:
        notice(busy)
    with _progress("writing models with random weights ...") as report:
        return calibrate_this_machine(**asked, measure=measure_in_process, report=report)


def _wanted(options: Mapping[str, str | int | None], only: Sequence[str]) -> dict[str, str]:
    """Return the settings that runs of a llama-bench file are picked by."""
    wanted = {name: str(value) for name, value in options.items() if value is not None}
    for text in only:
        name, equals, value = text.partition("=")
        if name not in ONLY or not equals:
            raise InvalidQuantity(
                f"only: must be NAME=VALUE, got {shown(text)}; accepted names: {', '.join(ONLY)}"
            )
        wanted[name] = value
    return wanted


def _document(found: DeviceFile, path: Path) -> dict[str, Any]:
    fit, c = found.fit, found.fit.constants
    return {
        "schema": SCHEMA,
        "device": found.name,
        "file": str(path),
        "runtime": found.runtime,
        "backend": found.backend,
        "source": found.source,
        "seconds_fixed": c.seconds_fixed,
        "seconds_per_layer": c.seconds_per_layer,
        "bytes_per_s": {name: c.bytes_per_s / cost for name, cost in c.byte_cost},
        "prefill_ops_per_s": {name: c.ops_per_s / cost for name, cost in c.op_cost},
        "shapes": fit.shapes,
        "held_out": {
            name: {"models": len(errors), "median_error": median_error(errors.values())}
            for name, errors in (("decode", fit.decode_errors), ("prefill", fit.prefill_errors))
        },
        "decode_factor": c.decode_factor,
        "prefill_factor": c.prefill_factor or None,
        "doubts": list(found.doubts),
    }


def _print(found: DeviceFile, path: Path, seconds: float) -> None:
    from rich.table import Table

    fit, c = found.fit, found.fit.constants
    title = f"{found.name}: {found.source}"
    table = Table("stored type", "decode reads", "prefill computes", title=title)
    op_cost = dict(c.op_cost)
    for name, cost in c.byte_cost:
        if all(
            s.model.step_bytes.get(name, 0.0) < _SHOWN_SHARE * s.model.costs.step_bytes for s in fit.samples
        ):
            continue
        table.add_row(
            name,
            f"{1e-9 * c.bytes_per_s / cost:.1f} GB/s",
            f"{1e-9 * c.ops_per_s / op_cost[name]:.0f} Gop/s" if name in op_cost else "not measured",
        )
    out(table)
    out(
        f"overhead: {c.seconds_per_layer * 1e6:.0f} us per layer and {c.seconds_fixed * 1e6:.0f} us per token"
    )
    out(_held_out("decode", fit.decode_errors, c.decode_factor))
    if c.ops_per_s:
        out(_held_out("prefill", fit.prefill_errors, c.prefill_factor))
    out(f"written in {format_seconds(seconds)}: {path}; use it as --device {path}")


def _held_out(what: str, errors: Any, factor: float) -> str:
    error = median_error(errors.values())
    if error is None:
        return f"{what}: too few shapes to leave one out; range x{factor:.2f}, as for devices with few rows"
    return (
        f"{what}: median error {error:.1%} over {len(errors)} models, each predicted without its shape; "
        f"80 % range x{factor:.2f}"
    )


@contextmanager
def _progress(first: str) -> Iterator[Callable[[TimingProgress], None]]:
    """Yield a hook for timings that draws them as progress, after the line `first`."""
    notice(first)
    with progress(first) as report:

        def hook(found: TimingProgress) -> None:
            title = f"{found.done}/{found.total} {found.what}"
            report(title, found.done, found.total, found.model, left_s=found.left_s)

        yield hook
