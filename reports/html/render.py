"""Fill the templates of `templates/` and read the CSS and JavaScript of `assets/`."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_ROOM = Path(__file__).parent


def render(template: str, **values: Any) -> Markup:
    """Return a filled template as safe HTML: every text among the values is escaped."""
    return Markup(_environment().get_template(template).render(**values))


@cache
def asset(name: str) -> Markup:
    """Return a file of `assets/`, to be written into a page as it is."""
    return Markup((_ROOM / "assets" / name).read_text(encoding="utf-8"))


@cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(_ROOM / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals["asset"] = asset
    found.filters["percent"] = lambda share: f"{100 * share:.2f}%"
    found.filters["slug"] = lambda heading: re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")
    return found
