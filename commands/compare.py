"""`sizer compare`: several models on several devices side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from commands.console import console, out_json
from commands.sizing import chosen_format
from sizer.comparison import compare
from sizer.device import device


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
    any_fits: Annotated[
        bool, typer.Option("--any", help="Exit with 0 as soon as one model fits one device.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Compare models on devices: a matrix of what fits, how fast, and how sure that is.

    Exits with 1 unless every model asked for fits every device asked for (with --any: unless one fits one),
    so that `sizer compare MODEL --device D && deploy` does what it says. A device whose memory is not known
    refuses nothing.

    \b
    Examples:
      sizer compare SmolLM2-135M Qwen3-0.6B Llama-3.2-1B --device raspberry-pi-5 --device iphone-15-pro
      sizer compare SmolLM2-1.7B Llama-3.2-1B --device raspberry-pi-4 --any
      sizer compare MobileLLM-125M MobileLLM-350M --bits 8 --json
    """
    from sizer.readers import read_model

    format_name, _ = chosen_format(runtime_name, bits, format)
    found = compare(
        [read_model(name) for name in model_names],
        [device(name) for name in device_names or []],
        format=format_name,
        runtime=runtime_name,
        context_tokens=context,
    )
    if json_output:
        out_json(found.to_dict())
    else:
        from reports.compare_text import compare_tables

        screen = console()
        screen.print(compare_tables(found.rows, screen.width))
    refused = [cell is False for row in found.fits for cell in row]
    if all(refused) if any_fits else any(refused):
        raise typer.Exit(1)
