"""`sizer solve`: architectures that fill a budget, ranked."""

from __future__ import annotations

from typing import Annotated

import typer

from commands.console import out, out_json
from commands.sizing import chosen_format
from sizer.budget import Budget
from sizer.device import device
from sizer.runtimes import runtime
from sizer.units import parse_bytes
from sizer.workload import Workload


def solve_command(
    device_name: Annotated[str | None, typer.Option("--device", help="Device to fit and be fast on.")] = None,
    max_size: Annotated[str | None, typer.Option(help="Largest model file, such as 60MB.")] = None,
    max_memory: Annotated[str | None, typer.Option(help="Most memory while running, such as 300MB.")] = None,
    min_decode: Annotated[float | None, typer.Option(help="Least tokens per second generated.")] = None,
    bits: Annotated[float | None, typer.Option(help="That runtime's customary format. [4]")] = None,
    format: Annotated[str | None, typer.Option(help="Weight format by name, such as Q4_K_M.")] = None,
    runtime_name: Annotated[str, typer.Option("--runtime", help="Engine that runs the model.")] = "llama.cpp",
    context: Annotated[int, typer.Option(help="Tokens the KV cache holds.")] = 2048,
    vocab_size: Annotated[int, typer.Option(help="Rows of the embedding table.")] = 32000,
    tie_embeddings: Annotated[
        bool, typer.Option("--tie-embeddings/--no-tie-embeddings", help="Head shares the table.")
    ] = True,
    top: Annotated[int, typer.Option(help="Shapes to show.", min=1)] = 10,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Find the architectures that fill a budget, most parameters first.

    One shape for each width, as deep as file, memory and speed allow. Parameters are not quality: which of
    the shapes trains best is what `sizer search` is for.

    \b
    Examples:
      sizer solve --device raspberry-pi-5 --max-size 60MB --max-memory 300MB --min-decode 30
      sizer solve --device iphone-15-pro --max-size 200MB --bits 8 --context 4096 --json
    """
    from sizer.fill import fill

    format_name, _ = chosen_format(runtime_name, bits, format)
    found = fill(
        Budget(
            max_size_bytes=parse_bytes(max_size, "max-size") if max_size is not None else None,
            max_memory_bytes=parse_bytes(max_memory, "max-memory") if max_memory is not None else None,
            min_decode_tokens_per_s=min_decode,
        ),
        format=format_name,
        runtime=runtime_name,
        device=device(device_name) if device_name is not None else None,
        workload=Workload.within(context, runtime(runtime_name).cache_types[0]),
        vocab_size=vocab_size,
        tie_embeddings=tie_embeddings,
    )[:top]
    if json_output:
        out_json({"schema": "sizer.solve/1", "estimates": [sized.to_dict() for sized in found]})
        return
    from reports.solve_text import solve_table

    out(solve_table(found))
