"""Output of every command: tables and JSON on stdout, notices on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

JSON = typer.Option("--json", help="One JSON document on stdout.")

# A narrower page could not hold its own figures.
_NARROWEST = 72


def out(renderable: RenderableType) -> None:
    """Print a table or text on stdout."""
    console().print(renderable)


def console(*, stderr: bool = False) -> Console:
    """Return a rich console as wide as the terminal or COLUMNS says; 120 columns without both."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    known = stream.isatty() or _columns() is not None
    return Console(stderr=stderr, width=None if known else 120, highlight=False)


def text_width(widest: int) -> int:
    """Return the columns of text on stdout: those of COLUMNS or the terminal, at most `widest`."""
    columns = _columns()
    if columns is None:
        try:
            columns = os.get_terminal_size(sys.stdout.fileno()).columns
        except (OSError, ValueError):  # a file or a pipe, or a stream of Python without a file
            return widest
    return min(widest, max(columns, _NARROWEST))


def _columns() -> int | None:
    text = os.environ.get("COLUMNS", "")
    return int(text) if text.isdecimal() and 0 < len(text) < 6 and int(text) > 0 else None


def out_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on stdout and nothing else."""
    import json

    print(json.dumps(document, indent=2, allow_nan=False))


def notice(text: str) -> None:
    """Print one line on stderr."""
    print(text, file=sys.stderr)
