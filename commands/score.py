"""`sizer score`: answer multiple-choice tasks with a GGUF file, in llama.cpp itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.console import JSON, out_json


def score_command(
    path: Annotated[str, typer.Argument(metavar="FILE.gguf", show_default=False)],
    task: Annotated[
        str, typer.Option(help="JSONL file of items, or builtin:python, builtin:words.", show_default=False)
    ],
    threads: Annotated[int, typer.Option(help="Threads of llama.cpp.", min=1, max=512)] = 1,
    json_output: Annotated[bool, JSON] = False,
) -> None:
    """Score a GGUF file on multiple choice by log-likelihood, in llama.cpp itself.

    A line of the task is an object with a context, choices and an answer, under the names that
    lm-evaluation-harness, HellaSwag, PIQA and ARC use.

    \b
    Examples:
      sizer score model.gguf --task builtin:words
      sizer score model.gguf --task mine.jsonl --json
    """
    from commands.progress import progress
    from search.export.choices import read_task, score_task

    items = read_task(task)
    with progress("score") as report:
        found = score_task(
            Path(path), items, threads=threads, on_progress=lambda done, total: report("score", done, total)
        )
    if json_output:
        out_json(found.to_dict())
        return
    error = "" if found.se is None else f" ± {100 * found.se:.1f}"
    print(f"accuracy         {100 * found.accuracy:.1f} %{error} ({found.items} items)")
    print(f"  by character   {100 * found.accuracy_norm:.1f} %")
    print(f"  by chance      {100 * found.chance:.1f} %")
