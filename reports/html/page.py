"""Pages that need no other file and no network, and the plotly figures in them."""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup

from reports.figures.style import FIGURE_CONFIG, split_title
from reports.html.render import render

# plotly.js-basic-dist-min 4.1.1 (MIT), the bundle of lines, bars and pies, compressed: 0.5 MB in a page where
# the whole of plotly.js takes 4.8 MB. Of the version that the Python package has (tests compare them).
PLOTLY_BASIC = Path(__file__).parent / "assets" / "plotly-basic.min.js.gz"


def page_html(template: str, *, title: str, **values: Any) -> str:
    """Return a filled page; every text among the values is escaped."""
    return str(render(template, title=title, plotly_gz=Markup(_plotly_base64()), **values))


@cache
def _plotly_base64() -> str:
    return base64.b64encode(PLOTLY_BASIC.read_bytes()).decode()


def figure_html(figure: go.Figure, name: str, *, is_wide: bool = False) -> Markup:
    """Return a figure with its title and caption as text; page.js draws it from its JSON.

    A wide figure scrolls sideways on a narrow screen instead of being squeezed into it.
    """
    title, subtitle, drawn = split_title(figure)
    document = json.loads(drawn.to_json()) | {"config": FIGURE_CONFIG}
    # no text of a study may end the script that holds it
    text = json.dumps(document, separators=(",", ":")).replace("<", "\\u003c")
    return render(
        "figure.html",
        name=name,
        title=title,
        subtitle=subtitle,
        document=Markup(text),
        height=drawn.layout.height,
        is_wide=is_wide,
    )
