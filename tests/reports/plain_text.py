"""Print rich tables to text, as golden texts hold them."""

from __future__ import annotations

from io import StringIO

from rich.console import Console, RenderableType


def plain_text(renderable: RenderableType, width: int) -> str:
    """A rich renderable as text without colours or trailing blanks, ending in a newline."""
    out = StringIO()
    Console(file=out, width=width, color_system=None, legacy_windows=False).print(renderable)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
