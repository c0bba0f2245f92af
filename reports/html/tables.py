"""Tables of a page: the table writer's, in a frame that scrolls where the table is wider than the page."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from markupsafe import Markup

from sizer.html_table import html_table


def table_html(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str = "",
    text_columns: Collection[str] = (),
    wide_columns: Collection[str] = (),
    bold_rows: Collection[int] = (),
) -> Markup:
    """Return a table as safe HTML that scrolls sideways, by keyboard too; its style is `table.css`."""
    table = html_table(
        columns,
        rows,
        caption=caption,
        text_columns=text_columns,
        wide_columns=wide_columns,
        bold_rows=bold_rows,
    )
    frame = Markup('<div class="sizer-scroll" role="region" tabindex="0" aria-label="{}">{}</div>\n')
    return frame.format(caption or "table", Markup(table))
