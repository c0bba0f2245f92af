"""The axes and settings of a search as Markdown tables, for docs/search.md."""

from __future__ import annotations

import json

from search.config.axes import AXES
from search.config.config import TABLES
from search.config.fields import accepted


def axes_table() -> str:
    """Return one row for each axis that a sampler is asked for."""
    rows = [f"| `{axis.name}` | {axis.help} |" for axis in AXES.values()]
    return "\n".join(("| axis | options |", "|---|---|", *rows))


def settings_table(table: str) -> str:
    """Return one row for each field of a table of a search's TOML file."""
    rows = []
    for name, one in TABLES[table].items():
        default = "none" if one.default is None else f"`{json.dumps(one.default)}`"
        choices = ", ".join(f"`{choice}`" for choice in accepted(one).choices or ())
        help = accepted(one).help + (f": {choices}" if choices else "")
        rows.append(f"| `{name}` | {default} | {help} |")
    return "\n".join((f"| `[{table}]` | default | |", "|---|---|---|", *rows))
