"""`sizer compare`: several models on several devices side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from commands.console import CONTEXT, JSON, OUTPUT, Form, chosen_form, console, out_rows
from sizer.comparison import Comparison, compare
from sizer.devices.catalogue import devices_with
from sizer.errors import InvalidQuantity, UnknownName
from sizer.request import EstimateRequest

if TYPE_CHECKING:
    from sizer.quality.prediction import Quality


def compare_command(
    model_names: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Catalogue names or config.json files.")
    ],
    device_names: Annotated[
        list[str] | None,
        typer.Option("--device", help="Device, or a set (mid-range); repeatable.", show_default=False),
    ] = None,
    ram: Annotated[str | None, typer.Option(help="Variant of each device by its RAM, such as 4GB.")] = None,
    backend: Annotated[
        str | None, typer.Option(help="What the engine runs on: cpu, gpu or npu. [the engine's choice]")
    ] = None,
    bits: Annotated[float | None, typer.Option(help="Bits of the runtime's customary format. [4]")] = None,
    format: Annotated[str | None, typer.Option(help="Weight format by name, such as Q4_K_M.")] = None,
    runtime_name: Annotated[
        str, typer.Option("--runtime", help="Runtime that runs the models.")
    ] = "llama.cpp",
    context: Annotated[int, CONTEXT] = 2048,
    rank: Annotated[
        str | None, typer.Option(help="quality: order by accuracy after training, and show it.")
    ] = None,
    tokens: Annotated[
        str | None, typer.Option(help="Training tokens for --rank quality. [1T and 20 a weight]")
    ] = None,
    corpus: Annotated[str | None, typer.Option(help="What they are trained on, such as fineweb-edu.")] = None,
    any_fits: Annotated[
        bool, typer.Option("--any", help="Exit with 0 if any model fits any device.")
    ] = False,
    json_output: Annotated[bool, JSON] = False,
    output: Annotated[Form, OUTPUT] = Form.TABLE,
) -> None:
    """Compare models on devices: a table of what fits, how fast, with ranges.

    Exits with 1 unless every model fits every device (with --any: unless some model fits some device), so
    `sizer compare MODEL --device D && deploy` works. On a device of unknown memory every model fits.

    \b
    Examples:
      sizer compare SmolLM2-135M Qwen3-0.6B Llama-3.2-1B --device raspberry-pi-5 --device iphone-15-pro
      sizer compare SmolLM2-1.7B Llama-3.2-1B --device raspberry-pi-4 --any
      sizer compare SmolLM2-135M Qwen3-0.6B --device mid-range --runtime web-llm --any
      sizer compare SmolLM2-135M Qwen3-0.6B --device pixel-8a --device galaxy-s24 --backend gpu
      sizer compare MobileLLM-125M MobileLLM-350M --bits 8 --json
      sizer compare MobileLLM-125M SmolLM2-135M --rank quality --tokens 1T --corpus fineweb-edu
    """
    from sizer.readers import read_model

    if rank not in (None, "quality"):
        raise UnknownName.of("rank", rank, ("quality",))
    if rank is None and (tokens or corpus):
        name = "tokens" if tokens else "corpus"
        raise InvalidQuantity(f"{name}: is about training; accepted with --rank quality")
    request = EstimateRequest(runtime=runtime_name, bits=bits, format=format)
    format_name, _ = request.chosen_format()
    found = compare(
        [read_model(name) for name in model_names],
        devices_with(device_names or [], ram, backend),
        format=format_name,
        runtime=runtime_name,
        context_tokens=context,
    )
    reached: list[tuple[Quality, ...] | None] = []
    if rank:
        from sizer.quality.lengths import best_first, compared_qualities

        reached = compared_qualities([row[0] for row in found.rows], tokens, corpus=corpus)
        order = best_first(reached)
        found = Comparison(rows=tuple(found.rows[place] for place in order))
        reached = [reached[place] for place in order]
    form = chosen_form(json_output, output)
    if form is not Form.TABLE:
        more = [None if row is None else [quality.to_dict() for quality in row] for row in reached]
        out_rows(found.to_dict() | ({"quality": more} if rank else {}), "estimates", form)
    else:
        from reports.text.compare import compare_tables, quality_table

        screen = console()
        screen.print(compare_tables(found.rows, screen.width))
        if rank:
            screen.print(quality_table(found.models, reached))
    refused = [cell is False for row in found.fits for cell in row]
    if all(refused) if any_fits else any(refused):
        raise typer.Exit(1)
