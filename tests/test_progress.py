"""Progress of long commands: lines without a terminal, a bar with the same ETA on one."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from commands import progress as module
from commands.progress import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Seconds that only the test lets pass."""
    now = SimpleNamespace(s=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now.s))
    return now


def _screen(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> io.StringIO:
    text = io.StringIO()
    screen = Console(file=text, force_terminal=terminal, width=120, highlight=False)
    monkeypatch.setattr(module, "console", lambda stderr: screen)
    return text


def test_lines_come_with_a_new_title_or_every_quarter_minute(
    monkeypatch: pytest.MonkeyPatch, clock: SimpleNamespace
) -> None:
    text = _screen(monkeypatch, terminal=False)
    with progress("starting") as report:
        for seconds, title, done in ((0, "[a] 1/2", 10), (5, "[a] 1/2", 20), (11, "[a] 1/2", 30)):
            clock.s += seconds
            report(title, done, 50, "note")
        report("[a] 2/2", 40, 50, left_s=90.0)
    # 20 done in 16 s since the first report, another 20 to go
    assert text.getvalue().splitlines() == [
        "[a] 1/2  eta unknown  note",
        "[a] 1/2  eta 16 s  note",
        "[a] 2/2  eta 1m 30s  ",
    ]


def test_a_terminal_gets_a_bar_with_the_time_left(
    monkeypatch: pytest.MonkeyPatch, clock: SimpleNamespace
) -> None:
    text = _screen(monkeypatch, terminal=True)
    with progress("starting") as report:
        report("[a] 1/2", 0, 40)
        clock.s += 10
        report("[a] 1/2", 10, 40, "q8_0")
    last = text.getvalue().rsplit("[a] 1/2", 1)[1]
    assert "25%" in last
    assert "eta 30 s  q8_0" in last
