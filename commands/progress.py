"""Progress of long work on stderr: one bar with an ETA on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from commands.console import console
from sizer.units import format_seconds

_LINE_EVERY_S = 15.0


class Report(Protocol):
    """Show how far the work is, in any unit; `left_s` replaces the ETA from the pace so far."""

    def __call__(
        self, title: str, done: float, total: float, note: str = "", *, left_s: float | None = None
    ) -> None: ...


@contextmanager
def progress(first: str = "") -> Iterator[Report]:
    """Draw a bar named `first` until the first report; yield the function that updates it."""
    screen, eta = console(stderr=True), _Eta()
    if not screen.is_terminal:
        last_title, last_s = "", time.monotonic()

        def line(
            title: str, done: float, total: float, note: str = "", *, left_s: float | None = None
        ) -> None:
            nonlocal last_title, last_s
            text = eta.text(done, total, left_s)
            if title == last_title and time.monotonic() - last_s < _LINE_EVERY_S:
                return
            last_title, last_s = title, time.monotonic()
            screen.print(f"{title}  eta {text}  {note}", soft_wrap=True, markup=False)

        yield line
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (BarColumn(bar_width=30), TaskProgressColumn(), TimeElapsedColumn())
    remark = TextColumn("eta {task.fields[eta]}  {task.fields[note]}", markup=False)
    with Progress(TextColumn("{task.description}", markup=False), *columns, remark, console=screen) as bar:
        task = bar.add_task(first, total=None, eta="unknown", note="")

        def draw(
            title: str, done: float, total: float, note: str = "", *, left_s: float | None = None
        ) -> None:
            text = eta.text(done, total, left_s)
            bar.update(task, description=title, completed=done, total=max(total, done), eta=text, note=note)

        yield draw


class _Eta:
    """Time left at the pace since the first report: what was done before it took no time here."""

    def __init__(self) -> None:
        self._started_s, self._first_done = time.monotonic(), -1.0

    def text(self, done: float, total: float, left_s: float | None) -> str:
        if self._first_done < 0:
            self._first_done = done
        if left_s is None:
            if done <= self._first_done:
                return "unknown"
            left_s = (time.monotonic() - self._started_s) / (done - self._first_done) * (total - done)
        return format_seconds(max(0.0, left_s))
