"""Pieces of a page: the page around them, figures with their captions, tables, tiles, lists; all escaped."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from html import escape

import plotly.graph_objects as go
import plotly.io
from plotly.offline import get_plotlyjs

from reports.figures.style import FIGURE_CONFIG, words_apart
from reports.page_assets import CONTENT_SECURITY_POLICY, SCRIPT, STYLE
from sizer.html_table import html_table


def whole_page(title: str, body: str) -> str:
    """A page that needs nothing but itself; `body` is safe HTML, `title` is text."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n"
        f"<script>{get_plotlyjs()}</script>\n</head>\n<body>\n<main>\n{body}</main>\n"
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def section(heading: str, *parts: str) -> str:
    """A heading of the second level that can be linked to, and what stands under it."""
    name, inside = _slug(heading), "".join(parts)
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(heading)}</h2>\n{inside}</section>\n'


def contents(headings: Sequence[str]) -> str:
    """Links to sections of the page."""
    links = "".join(f'<li><a href="#{_slug(heading)}">{escape(heading)}</a></li>' for heading in headings)
    return f'<nav aria-label="Contents"><ul>{links}</ul></nav>\n'


def _slug(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def figure_part(figure: go.Figure, name: str, *, level: int = 3, wide: bool = False) -> str:
    """A figure whose title is a heading and whose subtitle is its caption: text wraps, a drawing does not.

    A wide one is not squeezed into a narrow screen but scrolls sideways.
    """
    title, subtitle, drawn = words_apart(figure)
    html: str = plotly.io.to_html(
        drawn,
        config=FIGURE_CONFIG,
        include_plotlyjs=False,
        full_html=False,
        default_height=f"{drawn.layout.height}px",
        div_id=f"figure-{name}",
    )
    if wide:
        label = f'aria-labelledby="title-{name}"'
        html = f'<div class="scroll wide" role="region" tabindex="0" {label}>{html}</div>'
    return (
        f'<figure aria-labelledby="title-{name}"><h{level} id="title-{name}">{escape(title)}</h{level}>\n'
        f"<figcaption>{escape(subtitle)}</figcaption>\n{html}</figure>\n"
    )


def side_by_side(parts: Sequence[str]) -> str:
    """Small figures in columns, as many as fit."""
    return f'<div class="parts">{"".join(f"<div>{part}</div>" for part in parts)}</div>\n'


def notice(text: str) -> str:
    """A paragraph that says why something is not there, or is not to be trusted."""
    return f'<p class="notice">{escape(text)}</p>\n'


def quiet(text: str) -> str:
    """A paragraph of remarks."""
    return f'<p class="quiet">{escape(text)}</p>\n'


def bullets(texts: Sequence[str]) -> str:
    """A list."""
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>\n"


def tiles(figures: Mapping[str, str]) -> str:
    """Headline figures by what they are."""
    cells = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in figures.items()
    )
    return f'<div class="tiles">{cells}</div>\n'


def definitions(items: Mapping[str, str]) -> str:
    """Names and values."""
    rows = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in items.items()
    )
    return f"<dl>{rows}</dl>\n"


def code(text: str, label: str) -> str:
    """Text to be copied as it stands."""
    return f'<pre tabindex="0" role="region" aria-label="{escape(label)}">{escape(text)}</pre>\n'


def folded(summary: str, inside: str) -> str:
    """Safe HTML behind a line that opens it."""
    return f"<details><summary>{escape(summary)}</summary>\n{inside}</details>\n"


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str,
    text_columns: Collection[str] = (),
    wide_columns: Collection[str] = (),
    marked: Sequence[bool] | None = None,
) -> str:
    """A table that scrolls sideways where it is wider than the page, by keyboard too."""
    inside = html_table(
        columns,
        rows,
        caption=caption,
        text_columns=text_columns,
        wide_columns=wide_columns,
        marked=marked,
    )
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}">{inside}</div>\n'
