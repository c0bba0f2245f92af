"""Tables of figures as safe HTML: the first column says what, numbers stand right."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape

_STYLE = """<style>
.sizer-rows { overflow-x: auto; }
table.sizer-rows-table { border-collapse: collapse; font-size: .875rem; margin-bottom: .6rem; }
.sizer-rows-table td, .sizer-rows-table th { border: 0; border-bottom: 1px solid rgba(138, 145, 156, .3);
  padding: .2rem 1rem .2rem 0; text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.sizer-rows-table td.left, .sizer-rows-table th.left { text-align: left; }
.sizer-rows-table td:first-child { white-space: pre; }
.sizer-rows-table tr.bold td { font-weight: 600; }
</style>"""


def table_html(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: Collection[int] = (0,),
    bold: Collection[int] = (),
) -> str:
    """A table of texts, whatever is in them; `left` are columns of words, `bold` rows that count most."""

    def cells(tag: str, texts: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=left' if place in left else ''}>{escape(text)}</{tag}>"
            for place, text in enumerate(texts)
        )

    body = "".join(
        f"<tr{' class=bold' if place in bold else ''}>{cells('td', row)}</tr>"
        for place, row in enumerate(rows)
    )
    return (
        f'{_STYLE}<div class="sizer-rows" tabindex="0" role="region" aria-label="table">'
        f'<table class="sizer-rows-table">'
        f"<thead><tr>{cells('th', head)}</tr></thead><tbody>{body}</tbody></table></div>"
    )
