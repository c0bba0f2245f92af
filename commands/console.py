"""What every command shares: printing tables and JSON, notices on stderr."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def out(renderable: RenderableType) -> None:
    """Print something for people on stdout."""
    console().print(renderable)


def console(*, stderr: bool = False) -> Console:
    """A rich console; as wide as the terminal, 120 columns where there is none."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else 120, highlight=False)


def out_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on stdout and nothing else."""
    import json

    print(json.dumps(document, indent=2, allow_nan=False))


def notice(text: str) -> None:
    """One line on stderr."""
    print(text, file=sys.stderr)
