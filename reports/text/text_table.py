"""A table for the terminal that never cuts what people type elsewhere: it drops or stacks other columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions

_GAP = 2  # spaces between two columns
_BREAKS = re.compile(r" (?=\()| (?=±)|(?<=,) ")  # where a cell may be broken into lines
_INDENT = 2  # of the second and later lines of a stacked row


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: its heading, its side, and what becomes of it where the terminal is narrow."""

    name: str
    right: bool = False
    is_key: bool = False  # names the row: in the first line of a stacked row
    drop: int = 0  # 0: never left out; else 1 is left out first
    is_plain: bool = False  # its cells need no heading: a stacked row has none for them


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTable:
    """Columns and rows of text. Rows are tuples of cells in the order of the columns."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    caption: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Yield the lines for rich."""
        for line in self.lines(options.max_width):
            yield Text(line, style="bold" if line == self.title and line else "")

    def lines(self, width: int) -> list[str]:
        """Return the table as lines of at most `width` columns; only a longer single word exceeds them.

        One line a row where all columns fit; else with ranges and second parts of cells on a second line;
        else without the columns that may be left out, which the last line names; else one block a row, its
        keys first and its other cells below with their headings.
        """
        droppable = [place for _, place in sorted((c.drop, n) for n, c in enumerate(self.columns) if c.drop)]
        for is_broken in (False, True):
            for dropped in range(1 if not is_broken and self._is_breakable else len(droppable) + 1):
                left_out = droppable[:dropped]
                kept = [place for place in range(len(self.columns)) if place not in left_out]
                widths = [self._width_of(place, is_broken) for place in kept]
                if sum(widths) + _GAP * (len(kept) - 1) <= width:
                    names = ", ".join(" ".join(self.columns[place].name.split()) for place in left_out)
                    missing = f"In a wider terminal: {names}." if names else ""
                    return self._around(self._aligned(kept, widths, is_broken), missing, width)
        return self._around(self._stacked(width), "", width)

    def _around(self, body: Sequence[str], missing: str, width: int) -> list[str]:
        return [*wrap(self.title, width), *body, *wrap(self.caption, width), *wrap(missing, width)]

    @property
    def _is_breakable(self) -> bool:
        return any(len(_parts(cell, True)) > 1 for row in self.rows for cell in row)

    def _width_of(self, place: int, is_broken: bool) -> int:
        cells = [row[place] for row in self.rows]
        parts = [part for cell in cells for part in _parts(cell, is_broken)]
        return max(len(text) for text in (*self.columns[place].name.split("\n"), *parts))

    def _aligned(self, kept: Sequence[int], widths: Sequence[int], is_broken: bool) -> list[str]:
        heads = [self.columns[place].name.split("\n") for place in kept]
        tallest = max(map(len, heads))
        # the last lines of all headings are next to the rows
        padded = [[""] * (tallest - len(head)) + head for head in heads]
        lines = [[head[line] for head in padded] for line in range(tallest)]
        lines += [["─" * width for width in widths]]
        for row in self.rows:
            parts = [_parts(row[place], is_broken) for place in kept]
            lines += [
                [part[line] if line < len(part) else "" for part in parts]
                for line in range(max(map(len, parts)))
            ]
        sides = [str.rjust if self.columns[place].right else str.ljust for place in kept]
        joined = (
            (" " * _GAP).join(
                side(cell, width) for side, cell, width in zip(sides, line, widths, strict=True)
            )
            for line in lines
        )
        return [line.rstrip() for line in joined]

    def _stacked(self, width: int) -> list[str]:
        lines = []
        for row in self.rows:
            named = list(zip(self.columns, row, strict=True))
            keys = "  ".join(cell for column, cell in named if column.is_key)
            rest = "; ".join(
                cell if c.is_plain else f"{' '.join(c.name.split())} {cell}"
                for c, cell in named
                if not c.is_key and cell
            )
            lines += wrap(keys, width, break_long_words=False, break_on_hyphens=False)
            indent = " " * _INDENT
            lines += wrap(
                rest,
                width,
                initial_indent=indent,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
        return lines


def _parts(cell: str, is_broken: bool) -> list[str]:
    """Return a cell's lines: a range in brackets, an error and what follows a comma may have one each.

    >>> _parts("111 (77.6 to 160)", True), _parts("10 x 768, 12 query / 4 KV heads", True)
    (['111', '(77.6 to 160)'], ['10 x 768,', '12 query / 4 KV heads'])
    """
    return _BREAKS.split(cell) if is_broken else [cell]
