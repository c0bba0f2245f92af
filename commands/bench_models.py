"""`sizer export-bench-models`: GGUF files to time on a phone or board, and the commands that do it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from commands.console import notice, out_json
from sizer.calibration.bench_export import Export, export, remove
from sizer.units import format_bytes

SCHEMA = "sizer.bench-models/1"
_PHONE = "/data/local/tmp"


def export_bench_models_command(
    directory: Annotated[Path, typer.Argument(metavar="DIR", show_default=False)],
    remove_files: Annotated[
        bool, typer.Option("--remove", help="Delete the files this command wrote, and nothing else.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Write models with random weights for llama-bench to time on another device.

    Prints the commands to copy them to a phone (adb) or a board (ssh), to time them, and to read the results
    with `sizer calibrate --from-llama-bench`. Needs the package gguf (extra `calibrate`).

    \b
    Examples:
      sizer export-bench-models bench
      sizer export-bench-models bench --remove
    """
    if remove_files:
        removed = remove(directory)
        if json_output:
            out_json({"schema": SCHEMA, "directory": str(directory), "removed": [p.name for p in removed]})
        else:
            print(f"{len(removed)} files removed from {directory}")
            for path in removed:
                print(f"  {path.name}")
        return
    done = export(directory, report=notice)
    if json_output:
        out_json(
            {
                "schema": SCHEMA,
                "directory": str(directory),
                "total_bytes": done.total_bytes,
                "free_bytes": done.free_bytes,
                "files": [{"name": path.name, "bytes": size} for path, size in done.files],
                "commands": _commands(directory),
            }
        )
        return
    _print(directory, done)


def _print(directory: Path, done: Export) -> None:
    for path, size in done.files:
        print(f"  {path.name}  {format_bytes(size)}")
    print(
        f"{len(done.files)} files, {format_bytes(done.total_bytes)} in {directory} "
        f"({done.written} written now, {format_bytes(done.free_bytes)} left free there); "
        f"undo: sizer export-bench-models {shlex.quote(str(directory))} --remove"
    )
    for title, lines in _commands(directory).items():
        print(f"\n{title}:")
        for line in lines:
            print(f"  {line}")


def _commands(directory: Path) -> dict[str, list[str]]:
    """Return shell lines by kind of device; llama-bench is llama.cpp's, built for the device."""
    folder = shlex.quote(str(directory))
    bench = "./llama-bench -ngl 0 -p 128 -n 32 -r 5 -o jsonl"
    read = "sizer calibrate --from-llama-bench results.jsonl --name"
    return {
        "Android phone (CPU), with an Android build of llama-bench in the current folder": [
            f"adb shell mkdir -p {_PHONE}/sizer-bench",
            f"adb push {folder}/. {_PHONE}/sizer-bench/",
            f"adb push llama-bench {_PHONE}/ && adb shell chmod +x {_PHONE}/llama-bench",
            f"adb shell 'cd {_PHONE} && for f in sizer-bench/*.gguf; do {bench} -m $f; done' > results.jsonl",
            f"adb shell rm -r {_PHONE}/sizer-bench {_PHONE}/llama-bench",
            f"{read} my-phone --kind phone",
        ],
        "Board or laptop with llama.cpp, over ssh": [
            f"scp -r {folder} my-board:sizer-bench",
            f"ssh my-board 'for f in sizer-bench/*.gguf; do {bench[2:]} -m $f; done' > results.jsonl",
            "ssh my-board rm -r sizer-bench",
            f"{read} my-board --kind board",
        ],
    }
