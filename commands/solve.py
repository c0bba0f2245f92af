"""`sizer solve`: architectures that fill a budget, ranked."""

from __future__ import annotations

from typing import Annotated

import typer

from commands.console import out, out_json
from commands.sizing import chosen_format
from sizer.budget import Budget
from sizer.device import device
from sizer.errors import UnknownName
from sizer.runtimes import runtime
from sizer.units import parse_bytes
from sizer.workload import Workload

_RANKS = ("parameters", "law")


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
    rank: Annotated[
        str, typer.Option(help="parameters, or law: by the loss expected from published models.")
    ] = "parameters",
    top: Annotated[int, typer.Option(help="Shapes to show.", min=1)] = 10,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Find the architectures that fill a budget, most parameters first.

    One shape for each width, as deep as file, memory and speed allow. Parameters are not quality: --rank law
    sizes tens of thousands of shapes and lists those whose loss published models let expect to be lowest,
    and which of them does train best is what `sizer search` is for.

    \b
    Examples:
      sizer solve --device raspberry-pi-5 --max-size 60MB --max-memory 300MB --min-decode 30
      sizer solve --device raspberry-pi-5 --max-size 60MB --rank law
      sizer solve --device iphone-15-pro --max-size 200MB --bits 8 --context 4096 --json
    """
    if rank not in _RANKS:
        raise UnknownName.of("rank", rank, _RANKS)
    format_name, _ = chosen_format(runtime_name, bits, format)
    budget = Budget(
        max_size_bytes=parse_bytes(max_size, "max-size") if max_size is not None else None,
        max_memory_bytes=parse_bytes(max_memory, "max-memory") if max_memory is not None else None,
        min_decode_tokens_per_s=min_decode,
    )
    if rank == "law":
        _by_law(
            budget,
            format_name,
            runtime_name,
            device_name,
            context,
            vocab_size,
            tie_embeddings,
            top,
            json_output,
        )
        return
    from sizer.fill import fill

    found = fill(
        budget,
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


def _by_law(
    budget: Budget,
    format_name: str,
    runtime_name: str,
    device_name: str | None,
    context: int,
    vocab_size: int,
    tie_embeddings: bool,
    top: int,
    json_output: bool,
) -> None:
    from search.space.design import design
    from search.space.sized_shapes import DesignQuery

    found = design(
        DesignQuery(
            budget=budget,
            formats=(format_name,),
            runtime=runtime(runtime_name).name,
            device=device_name,
            context_tokens=context,
            vocab_size=vocab_size,
            tie_embeddings=tie_embeddings,
        )
    )
    rows = found.best(top)
    if json_output:
        out_json(found.to_dict(rows))
        return
    from reports.solve_text import law_note, solve_table
    from reports.wording import above_text

    ranked = found.feasible
    law = [above_text(ranked.above[row], ranked.low[row], ranked.high[row]) for row in rows]
    out(solve_table([found.estimate(row) for row in rows], law=law))
    out(law_note(found, rows))
