"""How long a person waits for the explorer, measured in the system's Chromium.

    python benchmarks/explorer/browser.py [--markdown docs/explorer.md] [--visits 5] [--moves 10]

First paint is the browser's own first-contentful-paint; a figure is on the page when its bars or its drawing
are. After a move of a slider by its key it is the last change of any of them that counts. Beside it stands
the smallest page Streamlit can serve, a slider and its value: what nobody can go below without leaving it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from os import getloadavg
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.explorer.pages import design_ms, evidence_ms, report_bytes, size_page_bytes
from benchmarks.explorer.script import VIEWS
from benchmarks.explorer.served import chromium, explorer, served, visitor

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_PATIENCE_MS = 90_000
# A page is done when nothing on it has changed for so long.
_QUIET_MS = 700
_SMALLEST = """import streamlit as st
st.metric("Layers", st.slider("Layers", 1, 80, 30))
"""

# Notes when the headline figure and the figures below it are first there.
_ARRIVALS = """
window.arrived = {};
const look = () => {
  const now = performance.now(), seen = window.arrived;
  if (!seen.value && document.querySelector('.sizer-tiles, [data-testid=stMetricValue]')) seen.value = now;
  if (!seen.figures && document.querySelectorAll('.sizer-bars').length >= 5) seen.figures = now;
  requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""
# Notes when a key was pressed, and each change of a headline value, of bars or of a drawing.
_CHANGES = """
() => {
  window.pressed = 0; window.changed = 0;
  addEventListener('keydown', () => { window.pressed = window.changed = performance.now(); }, true);
  const drawn = '[data-testid=stMetricValue], .sizer-bars, .js-plotly-plot .main-svg, [data-testid=stHtml]';
  new MutationObserver(changes => {
    const places = changes.map(c => c.target.nodeType == 1 ? c.target : c.target.parentElement);
    if (places.some(place => place && place.closest(drawn))) window.changed = performance.now();
  }).observe(document.body, {subtree: true, childList: true, characterData: true, attributes: true});
}
"""
_HEAD = """# How long the explorer takes

Made by `python benchmarks/explorer/browser.py --markdown docs/explorer.md`: milliseconds of the page *Size a model* in a
headless Chromium, on the machine and at the time it was run{load}. The aims: first paint within 1,500 ms, figures within
250 ms of a slider's move, a change of Design's budget within 1,500 ms with progress after 500 ms, Evidence within 3,000 ms.
The smallest page is a slider and its value, served by Streamlit alone.
"""  # noqa: E501
_WEIGHTS = """
A new visitor of *Size a model* downloads {page_mb:.2f} MB in {requests} requests (aim: 3 MB); the report
of the example study is one file of {report_mb:.2f} MB (aim: 1 MB).
"""
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


class Visit(NamedTuple):
    """Milliseconds from asking for the page to its first paint, headline value and last figure."""

    paint_ms: float
    value_ms: float
    figures_ms: float


def visit(browser: Browser, address: str, *, figures: bool = True) -> Visit:
    """Open the page as somebody who was never there."""
    context = visitor(browser, address, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.add_init_script(_ARRIVALS)
    page.goto(f"{address}/size")
    wanted = ("value", "figures") if figures else ("value",)
    there = " && ".join([f"{_PAINT} > 0", *(f"window.arrived.{what} > 0" for what in wanted)])
    page.wait_for_function(there, timeout=_PATIENCE_MS)
    seen = page.evaluate("window.arrived")
    found = Visit(page.evaluate(_PAINT), seen["value"], seen.get("figures", seen["value"]))
    context.close()
    return found


def open_page(browser: Browser, address: str) -> Page:
    """A page that is drawn and at rest, and notes its changes."""
    page = visitor(browser, address, viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(_PATIENCE_MS)
    page.goto(f"{address}/size")
    page.locator(".sizer-tiles, [data-testid=stMetricValue]").first.wait_for()
    page.wait_for_timeout(3 * _QUIET_MS)
    page.evaluate(_CHANGES)
    return page


def move_ms(page: Page, moves: int) -> list[float]:
    """Milliseconds from each press of an arrow key on the slider of layers to the last change it caused."""
    slider = page.get_by_test_id("stSlider").filter(has_text="Layers").get_by_role("slider")
    slider.focus()
    found = []
    for move in range(moves):
        slider.press("ArrowLeft" if move % 2 else "ArrowRight")
        page.wait_for_function(
            f"window.changed > window.pressed && performance.now() - window.changed > {_QUIET_MS}"
        )
        found.append(page.evaluate("window.changed - window.pressed"))
    return found


def _cells(values: list[float]) -> str:
    return f"{median(values):.0f} | {min(values):.0f} | {max(values):.0f}"


def measure(visits: int, moves: int) -> str:
    """The page of measurements, as Markdown."""
    lines = ["| what | median, ms | least | most |", "|---|---:|---:|---:|"]
    with chromium() as browser, tempfile.TemporaryDirectory() as temporary:
        small = Path(temporary) / "smallest.py"
        small.write_text(_SMALLEST, encoding="utf-8")
        run = (
            "-m",
            "streamlit",
            "run",
            str(small),
            "--server.headless=true",
            "--server.fileWatcherType=none",
        )
        with served(explorer(), "--port") as address, served(run, "--server.port") as smallest:
            evidence = [evidence_ms(browser, address) for _ in range(visits)]
            cold = visit(browser, address)
            lines.append(f"| first visit of Size: first paint | {cold.paint_ms:.0f} | | |")
            lines.append(f"| first visit of Size: all figures | {cold.figures_ms:.0f} | | |")
            visit(browser, smallest, figures=False)
            warm = [visit(browser, address) for _ in range(visits)]
            least = [visit(browser, smallest, figures=False) for _ in range(visits)]
            lines.append(f"| a new visitor: first paint | {_cells([v.paint_ms for v in warm])} |")
            lines.append(f"| a new visitor: headline figures | {_cells([v.value_ms for v in warm])} |")
            lines.append(f"| a new visitor: all figures | {_cells([v.figures_ms for v in warm])} |")
            lines.append(f"| smallest page: first paint | {_cells([v.paint_ms for v in least])} |")
            lines.append(f"| smallest page: its value | {_cells([v.value_ms for v in least])} |")
            page = open_page(browser, address)
            for view in VIEWS:
                page.get_by_role("tab", name=view).click()
                page.wait_for_timeout(3 * _QUIET_MS)
                lines.append(f"| slider moved, view *{view}* | {_cells(move_ms(page, moves))} |")
            page.close()
            changes = list(design_ms(browser, address))
            lines.append(f"| Design: a new budget, until drawn | {_cells([c[0] for c in changes])} |")
            lines.append(f"| Design: a new budget, until progress | {_cells([c[1] for c in changes])} |")
            lines.append(f"| Evidence: first visit of a new server | {evidence[0]:.0f} | | |")
            lines.append(f"| Evidence: later visitors | {_cells(evidence[1:])} |")
            page_bytes, requests = size_page_bytes(browser, address)
            page = open_page(browser, smallest)
            lines.append(f"| slider moved, smallest page | {_cells(move_ms(page, moves))} |")
            page.close()
    weights = _WEIGHTS.format(page_mb=page_bytes / 1e6, requests=requests, report_mb=report_bytes() / 1e6)
    return "\n".join(lines) + "\n" + weights.rstrip()


def main() -> None:
    """Measure and print, or write the page."""
    arguments = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    arguments.add_argument("--markdown", type=Path, help="write docs/explorer.md instead of printing")
    arguments.add_argument("--visits", type=int, default=5)
    arguments.add_argument("--moves", type=int, default=10)
    given = arguments.parse_args()
    load = f" (load before it {getloadavg()[0]:.1f})"
    table = measure(given.visits, given.moves)
    if given.markdown is None:
        print(table)
    else:
        given.markdown.write_text(f"{_HEAD.format(load=load)}\n{table}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
