"""`sizer compare`: several models on several devices side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from commands.console import out, out_json
from commands.sizing import chosen_format
from sizer.device import Device, device
from sizer.estimate import estimate
from sizer.runtimes import runtime
from sizer.workload import Workload


def compare_command(
    model_names: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Catalogue names or config.json files.")
    ],
    device_names: Annotated[
        list[str] | None, typer.Option("--device", help="Device; give it once for each.", show_default=False)
    ] = None,
    bits: Annotated[float | None, typer.Option(help="That runtime's customary format. [4]")] = None,
    format: Annotated[str | None, typer.Option(help="Weight format by name, such as Q4_K_M.")] = None,
    runtime_name: Annotated[
        str, typer.Option("--runtime", help="Engine that runs the models.")
    ] = "llama.cpp",
    context: Annotated[int, typer.Option(help="Tokens the KV cache holds.")] = 2048,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Compare models on devices: size, memory, whether it fits, speed.

    Exits with 1 when no model fits any of the devices.

    \b
    Examples:
      sizer compare SmolLM2-135M Qwen3-0.6B Llama-3.2-1B --device raspberry-pi-5 --device iphone-15-pro
      sizer compare MobileLLM-125M MobileLLM-350M --bits 8 --json
    """
    from sizer.readers import read_model

    format_name, _ = chosen_format(runtime_name, bits, format)
    workload = Workload.within(context, runtime(runtime_name).cache_types[0])
    devices: list[Device | None] = [device(name) for name in device_names or []]
    rows = [
        [
            estimate(
                architecture=architecture,
                format=format_name,
                runtime=runtime_name,
                workload=workload,
                device=target,
            )
            for target in devices or [None]
        ]
        for architecture in map(read_model, model_names)
    ]
    if json_output:
        out_json({"schema": "sizer.compare/1", "estimates": [cell.to_dict() for row in rows for cell in row]})
    else:
        from reports.compare_text import compare_table

        out(compare_table(rows))
    if devices and all(cell.memory.fits is False for row in rows for cell in row):
        raise typer.Exit(1)
