"""Sections of rows, of which an estimate as text consists."""

from __future__ import annotations

import textwrap
from typing import NamedTuple

TEXT_WIDTH = 100


class Row(NamedTuple):
    """One line of a section: what it is, its value, and a remark (share, range, unit for people)."""

    label: str
    value: str
    remark: str = ""


class Section(NamedTuple):
    """Rows under one heading; `unit` is the unit of bare numbers in it."""

    title: str
    unit: str
    rows: tuple[Row, ...]


# Columns of text after a left part, however narrow the terminal.
_LEAST_ROOM = 12


def hanging(left: str, text: str, width: int) -> list[str]:
    """Return text after a left part, wrapped to the width under itself."""
    room = max(_LEAST_ROOM, width - len(left))
    first, *more = textwrap.wrap(text, room) or [""]
    return [left + first, *(" " * len(left) + line for line in more)]
