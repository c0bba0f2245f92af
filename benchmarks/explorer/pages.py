"""Waiting for Design and Evidence, bytes of the page Size and of a report: parts of browser.py's table."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.explorer.served import ROOT, visitor

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_PATIENCE_MS = 120_000
# Notes when the script first ran and when it last ended or changed what is drawn.
_WATCH = """
() => {
  window.asked = performance.now(); window.progress = 0; window.ended = 0;
  const look = () => {
    const app = document.querySelector('[data-testid=stApp]'), now = performance.now();
    const state = app && app.dataset.testScriptState;
    const signs = '[role=progressbar], [data-testid=stSpinner], [data-testid=stStatusWidget]';
    const shows = document.querySelector(signs);
    if (!window.progress && shows) window.progress = now;
    if (state === 'running') window.ended = 0;
    if (state === 'notRunning' && window.sawRunning && !window.ended) window.ended = now;
    window.sawRunning = window.sawRunning || state === 'running';
    requestAnimationFrame(look);
  };
  window.sawRunning = false;
  requestAnimationFrame(look);
}
"""
_ENDED = "window.ended > 0 && performance.now() - window.ended > 700"
_BUDGETS = ("40MB", "80MB", "50MB", "90MB", "45MB")


def _asked(page: Page) -> tuple[float, float]:
    """Milliseconds from _WATCH to the end of the script, and to the first sign of progress (0: none)."""
    page.wait_for_function(_ENDED, timeout=_PATIENCE_MS)
    whole, progress = page.evaluate("[window.ended, window.progress].map(t => Math.max(0, t - window.asked))")
    return float(whole), float(progress)


def design_ms(browser: Browser, address: str) -> Iterator[tuple[float, float]]:
    """Milliseconds of each change of Design's budget: until it is drawn, until progress is shown."""
    page = visitor(browser, address, viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(_PATIENCE_MS)
    page.goto(f"{address}/design")
    page.get_by_role("heading", name="Depth vs width").wait_for()
    page.wait_for_timeout(3000)
    field = page.get_by_label("Max file size", exact=True)
    for budget in _BUDGETS:
        field.fill(budget)
        page.evaluate(_WATCH)
        field.press("Enter")
        yield _asked(page)
    page.context.close()


def evidence_ms(browser: Browser, address: str) -> float:
    """Milliseconds of a visit to Evidence until its figure is drawn."""
    page = visitor(browser, address, viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(_PATIENCE_MS)
    page.goto(f"{address}/evidence", wait_until="commit")
    page.locator(".sizer-points .plot i").last.wait_for()
    found: float = page.evaluate("performance.now()")
    page.context.close()
    return found


def size_page_bytes(browser: Browser, address: str) -> tuple[int, int]:
    """Bytes that a new visitor of the page Size downloads, as sent, and the number of requests."""
    page = visitor(browser, address, viewport={"width": 1440, "height": 900}).new_page()
    session = page.context.new_cdp_session(page)
    sizes: list[int] = []

    def note(event: dict[str, Any]) -> None:
        sizes.append(int(event["encodedDataLength"]))

    session.send("Network.enable")
    session.on("Network.loadingFinished", note)
    page.goto(f"{address}/size")
    page.locator(".sizer-bars").nth(4).wait_for()
    page.wait_for_timeout(2000)
    page.context.close()
    return sum(sizes), len(sizes)


def report_bytes() -> int:
    """Bytes of the report of the committed example study."""
    from reports.html.study_page import write_report
    from search.store.study import load_result

    result = load_result("guided-0", f"sqlite:///{ROOT / 'docs' / 'studies.db'}")
    with tempfile.TemporaryDirectory() as folder:
        return write_report(result, folder).html.stat().st_size
