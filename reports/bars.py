"""Breakdowns drawn as bars in HTML: there at once, without a script, and a table to who hears the page."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from reports.palette import GREY

if TYPE_CHECKING:
    from reports.breakdowns import BreakdownInfo
    from reports.stacks import StackInfo

# Text has the colour of the page around it, light or dark.
BARS_STYLE = """
.sizer-bars { margin: 0 0 1.4rem; min-width: 0; font-size: .875rem; line-height: 1.4; }
.sizer-bars > :is(h3, h4) { font-size: 1.08rem; font-weight: 600; line-height: 1.3; margin: 0; padding: 0; }
.sizer-bars > figcaption { font-size: .875rem; color: inherit; opacity: .8; margin: 0 0 .5rem; }
.sizer-bars table { border-collapse: collapse; width: 100%; margin: 0; font-size: inherit;
  font-variant-numeric: tabular-nums; }
.sizer-bars :is(th, td) { border: 0; padding: .17rem 0; font-weight: 400; white-space: nowrap;
  vertical-align: middle; }
.sizer-bars th[scope=row] { text-align: left; width: 1%; padding-right: .7rem; }
.sizer-bars :is(td, th[scope=col]):not(.bar) { text-align: right; width: 1%; padding-left: .7rem; }
.sizer-bars tr.total > * { font-weight: 600; }
.sizer-bars td.bar { position: relative; min-width: 3rem; }
.sizer-bars td.bar > div { display: flex; height: 1.15em; }
.sizer-bars td.bar i { display: block; flex: none; min-width: 1px; print-color-adjust: exact; }
.sizer-bars td.bar > span { position: absolute; top: 0; bottom: 0; border-left: 2px dashed currentColor; }
.sizer-bars .limit { font-size: inherit; opacity: .8; margin: .1rem 0 0; padding: 0; }
.sizer-bars .key i { display: inline-block; width: .8em; height: .8em; margin-right: .5em;
  print-color-adjust: exact; }
.sizer-bars .key { margin-top: .5rem; }
.sizer-bars .key th[scope=row] { width: auto; }
.sizer-bars .key th[scope=col] { white-space: normal; }
"""


def breakdown_html(info: BreakdownInfo, name: str, *, level: int = 3) -> str:
    """Bars of one breakdown, one a part, with sizes and shares; safe HTML, `name` sets its id apart."""
    end = max(max(bar.value for bar in info.bars), info.budget or 0) or 1
    rows = "".join(
        _row(
            bar.label,
            [(bar.value / end, GREY if bar.label == "total" else info.colour)],
            (bar.text, bar.share),
            limit=info.budget / end if info.budget is not None else None,
            total=bar.label == "total",
        )
        for bar in info.bars
    )
    limit = f"dashed: {info.budget_text}" if info.budget is not None else ""
    return _figure(name, level, info.title, info.subtitle, f"{_table(rows, name)}{_limit(limit)}")


def stack_html(info: StackInfo, name: str, *, level: int = 3) -> str:
    """Bars of stacked parts, and a key with each part's size in each bar; safe HTML."""
    totals = [sum(part.values[place] for part in info.parts) for place in range(len(info.bars))]
    end = max(*totals, info.limit or 0) or 1
    rows = "".join(
        _row(
            label,
            [(part.values[place] / end, part.colour) for part in info.parts],
            (info.totals[place],),
            limit=info.limit / end if info.limit is not None else None,
        )
        for place, label in enumerate(info.bars)
    )
    head = ""
    if len(info.bars) > 1:
        cells = "".join(f'<th scope="col">{escape(label)}</th>' for label in info.bars)
        head = f"<tr><td></td>{cells}</tr>"
    key = "".join(
        f'<tr><th scope="row"><i style="background:{part.colour}"></i>{escape(part.name)}</th>'
        f"{''.join(f'<td>{escape(text)}</td>' for text in part.texts)}</tr>"
        for part in info.parts
    )
    inside = f"{_table(rows, name)}{_limit(info.limit_text)}{_table(head + key, name, 'key')}"
    return _figure(name, level, info.title, info.subtitle, inside)


def _figure(name: str, level: int, title: str, subtitle: str, inside: str) -> str:
    return (
        f'<figure class="sizer-bars" aria-labelledby="title-{name}">'
        f'<h{level} id="title-{name}">{escape(title)}</h{level}>'
        f"<figcaption>{escape(subtitle)}</figcaption>{inside}</figure>\n"
    )


def _table(rows: str, name: str, kind: str = "bars") -> str:
    return f'<table class="{kind}" aria-labelledby="title-{name}">{rows}</table>'


def _row(
    label: str,
    parts: Iterable[tuple[float, str]],
    texts: Iterable[str],
    *,
    limit: float | None,
    total: bool = False,
) -> str:
    drawn = "".join(
        f'<i style="width:{100 * share:.2f}%;background:{colour}"></i>'
        for share, colour in parts
        if share > 0
    )
    line = f'<span style="left:calc({100 * limit:.2f}% - 2px)"></span>' if limit is not None else ""
    cells = "".join(f"<td>{escape(text)}</td>" for text in texts)
    return (
        f'<tr{" class=total" if total else ""}><th scope="row">{escape(label)}</th>'
        f'<td class="bar"><div>{drawn}</div>{line}</td>{cells}</tr>'
    )


def _limit(text: str) -> str:
    return f'<p class="limit">{escape(text)}</p>' if text else ""
