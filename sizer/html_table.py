"""The one writer of HTML tables: for notebooks, reports and the explorer's pages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape


def html_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str = "",
    text_columns: Collection[str] = (),
    wide_columns: Collection[str] = (),
    bold_rows: Collection[int] = (),
) -> str:
    """Return a table of escaped texts; the first cell of a row is its heading.

    Numbers are aligned right, `text_columns` left; `wide_columns` are text that wraps. The alignment is
    inline, because notebooks align every cell right.

    >>> html_table(["part", "bytes"], [["<b>", "1"]], caption="File", text_columns=["part"])
    '<table class="sizer-table"><caption>File</caption><thead><tr><th scope="col" style="text-align:left...
    """

    def kind(column: str) -> str:
        if column in wide_columns:
            return ' class="wide" style="text-align:left"'
        return f' style="text-align:{"left" if column in text_columns else "right"}"'

    def cell(tag: str, text: str, column: str) -> str:
        return f"<{tag}{kind(column)}>{escape(text)}</{tag.split()[0]}>"

    head = "".join(cell('th scope="col"', column, column) for column in columns)
    lines = []
    for place, row in enumerate(rows):
        cells = zip(('th scope="row"', *["td"] * (len(row) - 1)), row, columns, strict=True)
        bold = ' class="bold"' if place in bold_rows else ""
        lines.append(f"<tr{bold}>{''.join(cell(*one) for one in cells)}</tr>")
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = "".join(lines)
    return f'<table class="sizer-table">{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
