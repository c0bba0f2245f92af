"""`sizer verify`: compare an exported file with what was predicted of it, in the engine itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.console import JSON, OUTPUT, Form, chosen_form, out, out_rows


def verify_command(
    path: Annotated[str, typer.Argument(metavar="PATH", show_default=False)],
    device: Annotated[
        str | None, typer.Option(help="Profile of this machine, from `sizer calibrate --out`.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of the engine.", min=1, max=512)] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="Compare bytes only; run nothing.")] = False,
    json_output: Annotated[bool, JSON] = False,
    output: Annotated[Form, OUTPUT] = Form.TABLE,
) -> None:
    """Compare an exported file with what was predicted of it, in its engine: llama.cpp or ExecuTorch.

    Bytes, the score on the same text, memory, load, prompt and decoding speed. Exit code 0 if all that was
    compared agrees, 1 if something does not.

    \b
    Examples:
      sizer verify runs/search-1/export/7-Q4_0.gguf
      sizer verify model.gguf --quick --json
      sizer verify model.gguf -o csv
      sizer verify model.gguf --device my-laptop.toml --threads 4
      sizer verify runs/search-1/export/7-8da4w-g32-e8.pte
    """
    from commands.progress import progress
    from search.export.verify import verify_file

    profile = None
    if device is not None:
        from sizer.devices.catalogue import device as device_by_name

        profile = device_by_name(device)
    with progress("verify") as report:
        found = verify_file(
            Path(path),
            device=profile,
            threads=threads,
            quick=quick,
            on_progress=lambda done, total: report("score", done, total),
        )
    form, document = chosen_form(json_output, output), found.to_dict()
    if form is not Form.TABLE:
        out_rows(document, "rows", form)
    else:
        from reports.text.verification import verification_notes, verification_table

        out(verification_table(document["rows"]))
        for note in verification_notes(document["rows"]):
            print(note)
    if not found.agrees:
        raise typer.Exit(1)
