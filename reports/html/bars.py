"""Breakdowns and stacked bars as HTML: drawn at once, without a script, and a table to a screen reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from reports.html.render import render
from reports.palette import GREY

if TYPE_CHECKING:
    from reports.figures.breakdowns import BreakdownInfo
    from reports.figures.stacked_bars import StackInfo


class _BarRow(NamedTuple):
    """One bar: its parts as (share of the longest bar, colour), and the texts at its end."""

    label: str
    parts: tuple[tuple[float, str], ...]
    texts: tuple[str, ...]
    is_total: bool = False


def breakdown_html(info: BreakdownInfo, name: str, *, level: int = 3) -> Markup:
    """Return one bar a part, with sizes and shares, as safe HTML; `name` makes its id unique."""
    end = max(max(bar.value for bar in info.bars), info.budget or 0) or 1
    colours = {"total": GREY}
    return render(
        "bars.html",
        name=name,
        level=level,
        title=info.title,
        subtitle=info.subtitle,
        rows=[
            _BarRow(
                bar.label,
                ((bar.value / end, colours.get(bar.label, info.colour)),),
                (bar.text, bar.share),
                is_total=bar.label == "total",
            )
            for bar in info.bars
        ],
        limit=None if info.budget is None else info.budget / end,
        limit_text="" if info.budget is None else f"dashed: {info.budget_text}",
        key=(),
    )


def stack_html(info: StackInfo, name: str, *, level: int = 3) -> Markup:
    """Return bars of stacked parts, and a key with each part's size in each bar, as safe HTML."""
    totals = [sum(part.values[place] for part in info.parts) for place in range(len(info.bars))]
    end = max(*totals, info.limit or 0) or 1
    return render(
        "bars.html",
        name=name,
        level=level,
        title=info.title,
        subtitle=info.subtitle,
        rows=[
            _BarRow(
                label,
                tuple((part.values[place] / end, part.colour) for part in info.parts),
                (info.totals[place],),
            )
            for place, label in enumerate(info.bars)
        ],
        limit=None if info.limit is None else info.limit / end,
        limit_text=info.limit_text,
        key=info.parts,
    )
