"""`sizer generate`: text that a GGUF file writes after a prompt, in llama.cpp itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.console import JSON, out_json


def generate_command(
    path: Annotated[str, typer.Argument(metavar="FILE.gguf", show_default=False)],
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", show_default=False)],
    tokens: Annotated[int, typer.Option(help="Most tokens to write.")] = 200,
    temperature: Annotated[float, typer.Option(help="0 writes the likeliest token each time.")] = 0.8,
    seed: Annotated[int, typer.Option(help="Of the random numbers.", min=0)] = 0,
    threads: Annotated[int, typer.Option(help="Threads of llama.cpp.", min=1, max=512)] = 1,
    json_output: Annotated[bool, JSON] = False,
) -> None:
    """Print what a GGUF file's model writes after a prompt, in llama.cpp itself.

    Of a prompt longer than the context that the file names, its end is read.

    \b
    Examples:
      sizer generate runs/search-1/export/7-Q4_0.gguf "def "
      sizer generate model.gguf "Once upon a time" --tokens 100 --temperature 0
    """
    from commands.progress import progress
    from search.export.generate import generate

    with progress("generate") as report:
        found = generate(
            Path(path),
            prompt,
            tokens=tokens,
            temperature=temperature,
            seed=seed,
            threads=threads,
            on_progress=lambda done, total: report("generate", done, total),
        )
    if json_output:
        out_json(found.to_dict())
    else:
        print(f"{found.prompt}{found.text}")
