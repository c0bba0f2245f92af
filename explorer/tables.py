"""Tables of figures as safe HTML: the first column says what, numbers stand right."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape

_STYLE = """<style>
.sizer-wide { overflow-x: auto; }
table.sizer-table { border-collapse: collapse; font-size: .875rem; margin-bottom: .6rem; }
table.sizer-table.remarked { width: 100%; }
.sizer-table td, .sizer-table th { border: 0; border-bottom: 1px solid rgba(138, 145, 156, .3);
  padding: .2rem 1rem .2rem 0; text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.sizer-table .left, .sizer-table .remark { text-align: left; }
.sizer-table td:first-child { white-space: pre; }
.sizer-table td.remark { white-space: normal; min-width: 7rem; opacity: .7; }
.remarked th:first-child { white-space: normal; }
.sizer-table tr.bold td { font-weight: 600; }
</style>"""


def table_html(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: Collection[int] = (0,),
    remarks: Collection[int] = (),
    bold: Collection[int] = (),
) -> str:
    """A table of texts, whatever is in them; wider than the screen, it scrolls.

    `left` are columns of words, `remarks` of longer and fainter ones that wrap, `bold` rows that count most.
    """

    def kind(place: int) -> str:
        return " class=remark" if place in remarks else " class=left" if place in left else ""

    def cells(tag: str, texts: Sequence[str]) -> str:
        return "".join(f"<{tag}{kind(place)}>{escape(text)}</{tag}>" for place, text in enumerate(texts))

    body = "".join(
        f"<tr{' class=bold' if place in bold else ''}>{cells('td', row)}</tr>"
        for place, row in enumerate(rows)
    )
    return (
        f'{_STYLE}<div class="sizer-wide" tabindex="0" role="region" aria-label="table">'
        f'<table class="sizer-table{" remarked" if remarks else ""}">'
        f"<thead><tr>{cells('th', head)}</tr></thead><tbody>{body}</tbody></table></div>"
    )
