"""The explorer served on this machine, and what a person does in a real browser: look, click, choose."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Locator, Page


_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
)
_SERVER_FLAGS = (
    "--server.headless=true",
    "--server.address=127.0.0.1",
    "--server.fileWatcherType=none",
    "--browser.gatherUsageStats=false",
    "--client.toolbarMode=minimal",
)
# Until a test that waits for what never comes is given up, on a machine that is busy with other work too.
PATIENCE_S = 600
PATIENCE_MS = 1000 * PATIENCE_S

# A page opened by its own address first looks for its server below that address: two answers of 404 that
# Streamlit's front end expects and that Chromium writes into the console all the same.
_LOOKED_FOR = re.compile(
    r"/(?:start|size|users|compare|design|search|study|evidence)/_stcore/(?:health|host-config)$"
)
# Tests stop their server while the page is still open: Streamlit's front end then reports that the server, or
# the file of a download button, gives no answer (an answer of 404 has other words).
_SERVER_GONE = re.compile(
    r"net::ERR_(?:CONNECTION|EMPTY|SOCKET)|^WebSocket connection to "
    r"|^Client Error: Download Button fetch error - Failed to fetch$"
    r"|^(?:Streamlit server is not responding|TypeError: Failed to fetch dynamically imported module)"
    r"|^Client Error in reaching server endpoint - (?:No response received|Failed to fetch|Network Error)"
)

# Places of the points of the first figure by trial.
DRAWN_POINTS = """
() => {
  const found = {};
  for (const trace of document.getElementById('figure-frontier-file_bytes').data)
    (trace.customdata || []).forEach((trial, i) => { found[trial] = [trace.x[i], trace.y[i]]; });
  return found;
}
"""

# Where a trial's point is on the screen: markers lie under plotly.js's drag layer, a click needs coordinates.
_POINT_OF_TRIAL = """
trial => {
  const figure = document.querySelector('.js-plotly-plot'), box = figure.getBoundingClientRect();
  const trace = figure.data.find(t => (t.customdata || []).includes(trial));
  const place = trace.customdata.indexOf(trial), {xaxis, yaxis} = figure._fullLayout;
  return {x: box.left + xaxis._offset + xaxis.l2p(trace.x[place]),
          y: box.top + yaxis._offset + yaxis.l2p(trace.y[place])};
}
"""


def missing(reason: str) -> None:
    """Skip with the reason, or fail where a browser is promised."""
    if os.environ.get("CI") or os.environ.get("SIZER_REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium, from the environment's CHROMIUM or where Debian puts it."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed")
    executable = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    if not Path(executable).is_file():
        missing(f"no browser at {executable}; set CHROMIUM to one")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=list(_FLAGS))
        yield launched
        launched.close()


@contextmanager
def fresh_page(browser: Browser) -> Iterator[Page]:
    """A fresh page that notes every request that leaves this machine, and every error of its console."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(PATIENCE_MS)
    outside: list[str] = []
    errors: list[str] = []
    local = re.compile(r"(file|data|blob|about):|https?://127\.0\.0\.1[:/]|ws://127\.0\.0\.1[:/]")
    opened.on("request", lambda request: None if local.match(request.url) else outside.append(request.url))
    opened.on("pageerror", lambda error: errors.append(str(error)))

    def note(message: ConsoleMessage) -> None:
        url = message.location["url"]
        if message.type == "error" and not (_LOOKED_FOR.search(url) or _SERVER_GONE.search(message.text)):
            errors.append(f"{message.text} ({url})")

    opened.on("console", note)
    yield opened
    opened.close()
    assert outside == []
    assert errors == [], errors


@contextmanager
def served(
    app: Path, root: Path, log: Path, *, environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Address of a Streamlit server that runs an app, stopped afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "streamlit", "run", str(app), f"--server.port={port}", *_SERVER_FLAGS]
    with log.open("wb") as out:
        server = subprocess.Popen(command, cwd=root, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        _wait_until_up(f"{address}/_stcore/health", server, log)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=PATIENCE_S)


def _wait_until_up(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:  # refused, closed, or no answer in time
            time.sleep(0.2)
    pytest.fail(f"the explorer did not start: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}")


def value_of(page: Page, label: str) -> Locator:
    """The value of the headline figure with that label."""
    tile = page.locator(".sizer-tiles > div").filter(has=page.locator("dt").get_by_text(label))
    return tile.locator(".value")


def metric(page: Page, label: str) -> str:
    """The text of the headline figure with that label."""
    return value_of(page, label).inner_text().strip()


def wait_for_metric(page: Page, label: str, other_than: str) -> str:
    """The figure's text once it is no longer what it was."""
    from playwright.sync_api import expect

    expect(value_of(page, label)).not_to_have_text(other_than, timeout=PATIENCE_MS)
    return metric(page, label)


# True once the page's script has ended, its figures are drawn, and nothing on it has moved for 30 frames.
_AT_REST = """
() => {
  const app = document.querySelector('[data-testid=stApp]');
  const charts = [...document.querySelectorAll('[data-testid=stPlotlyChart]')];
  const places = [...document.querySelectorAll('h2, h3, .js-plotly-plot')].map(e => {
    const box = e.getBoundingClientRect(); return [box.left, box.top + scrollY, box.width, box.height]; });
  const now = JSON.stringify(places);
  const still = app && app.dataset.testScriptState === 'notRunning' && now === window.restPlaces
    && charts.every(chart => chart.querySelector('.main-svg'))
    && document.getAnimations().every(a => a.playState !== 'running'
                                           || a.effect?.getComputedTiming().endTime === Infinity);
  window.restPlaces = now;
  window.restFrames = still ? (window.restFrames || 0) + 1 : 0;
  return window.restFrames >= 30;
}
"""


def wait_until_at_rest(page: Page) -> None:
    """Wait until a page of the explorer is drawn and no longer moves."""
    page.evaluate("window.restFrames = 0")
    page.wait_for_function(_AT_REST, timeout=PATIENCE_MS)


def open_results(page: Page, address: str) -> None:
    """Open the explorer and click on Results, once the first page is drawn: before, the click can be lost."""
    page.goto(f"{address}/size")
    page.locator(".sizer-tiles").first.wait_for()
    wait_until_at_rest(page)
    page.get_by_role("link", name="Results").click()


def click_trial(page: Page, trial: int) -> None:
    """Click a trial's point and wait for its details; a click on a page that moved since is repeated."""
    heading = page.get_by_role("heading", name=f"Trial {trial}", exact=True)
    end = time.monotonic() + PATIENCE_S
    wait_until_at_rest(page)
    while not heading.is_visible():
        assert time.monotonic() < end, f"clicking trial {trial} showed nothing"
        page.locator(".js-plotly-plot").first.scroll_into_view_if_needed()
        point = page.evaluate(_POINT_OF_TRIAL, trial)
        page.mouse.click(point["x"], point["y"])
        wait_until_at_rest(page)


def choose(page: Page, label: str, option: str) -> None:
    """Choose from a menu the way a person does: open it, type, press Enter."""
    menu = page.get_by_test_id("stSelectbox").filter(has_text=label).get_by_role("combobox")
    menu.click()
    menu.fill(option)
    page.get_by_role("option", name=option, exact=True).click()
