"""Tables in HTML for notebooks and reports: everything escaped, headings with their scope."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape


def html_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str,
    text_columns: Collection[str] = (),
    wide_columns: Collection[str] = (),
    marked: Sequence[bool] | None = None,
) -> str:
    """A table of texts, the first cell of a row its heading; numbers right, columns of text left.

    Wide columns may wrap; marked rows have the class "front".

    >>> html_table(["part", "bytes"], [["<b>", "1"]], caption="File", text_columns=["part"])
    '<table><caption>File</caption><thead><tr><th scope="col">part</th><th scope="col" class="number" ...
    """
    kinds = [_kind(column, text_columns, wide_columns) for column in columns]
    head = "".join(f'<th scope="col"{kind}>{escape(c)}</th>' for c, kind in zip(columns, kinds, strict=True))
    lines = []
    for row, bold in zip(rows, marked or (False,) * len(rows), strict=True):
        cells = [f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row[1:], kinds[1:], strict=True)]
        first = f'<th scope="row"{kinds[0]}>{escape(row[0])}</th>' if row else ""
        kind = ' class="front"' if bold else ""
        lines.append(f"<tr{kind}>{first}{''.join(cells)}</tr>")
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _kind(column: str, text_columns: Collection[str], wide_columns: Collection[str]) -> str:
    """Attributes of a column's cells; styles are for notebooks, whose own push every cell to the right."""
    if column in wide_columns:
        return ' class="wide" style="text-align:left"'
    if column in text_columns:
        return ' style="text-align:left"'
    return ' class="number" style="text-align:right"'
