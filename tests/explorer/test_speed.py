"""A moved slider shows its figures at once, and a new visitor sees the page soon: script and browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.explorer.browser import move_ms, open_page, visit
from benchmarks.explorer.pages import design_ms, evidence_ms
from benchmarks.explorer.script import VIEWS, script_seconds
from benchmarks.explorer.served import explorer, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Of the 250 ms from a slider to its figures, what the script may take; the rest is the browser's.
SCRIPT_S = 0.15
FIGURES_MS = 250
FIRST_PAINT_MS = 2000
DESIGN_MS, PROGRESS_MS = 1500, 500
EVIDENCE_MS = 3000


@pytest.mark.timing
@pytest.mark.parametrize("view", VIEWS)
def test_the_size_page_is_made_at_once(view: str) -> None:
    # of the processor: other work on the machine is not the page's
    assert script_seconds(view, moves=5)[1] <= SCRIPT_S


@pytest.mark.timing
@pytest.mark.browser
def test_the_size_page_in_a_browser(browser: Browser) -> None:
    """The best of several: what the page takes, not what else the machine does meanwhile."""
    with served(explorer(), "--port") as address:
        visits = [visit(browser, address) for _ in range(5)]
        assert min(seen.paint_ms for seen in visits) <= FIRST_PAINT_MS
        page = open_page(browser, address)
        assert min(move_ms(page, 12)) <= FIGURES_MS
        page.close()


@pytest.mark.timing
@pytest.mark.browser
def test_design_and_evidence_in_a_browser(browser: Browser) -> None:
    with served(explorer(), "--port") as address:
        assert evidence_ms(browser, address) <= EVIDENCE_MS  # the server's first visit
        changes = list(design_ms(browser, address))
    assert min(drawn for drawn, _ in changes) <= DESIGN_MS
    assert 0 < min(progress for _, progress in changes) <= PROGRESS_MS
