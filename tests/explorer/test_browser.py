"""The explorer and the report in a real browser: what a person would see, click and read."""

from __future__ import annotations

import json
import os
import pickle
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from reports.documents import frontier_document
from reports.estimate_page import write_estimate
from reports.page import write_report
from reports.study_figures import study_figures
from search.store.results import SearchResult
from sizer.device import device
from sizer.estimate import estimate
from sizer.registry import model

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

pytestmark = pytest.mark.browser

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
_PATIENCE_S = 60
_PATIENCE_MS = 1000 * _PATIENCE_S
_BUSY_MS = 5 * _PATIENCE_MS  # of pages of several figures, on a machine that others use as well

# A page opened by its own address first looks for its server below that address: two answers of 404 that
# Streamlit's front end expects and that Chromium writes into the console all the same.
_LOOKED_FOR = re.compile(r"/(?:size|compare|design|search|study|evidence)/_stcore/(?:health|host-config)$")
# Tests stop their server while the page is still open: Streamlit's front end looks for the file of each
# download button as it draws it, and says so where there is no answer (an answer of 404 it words otherwise).
_SERVER_GONE = re.compile(
    r"net::ERR_(?:CONNECTION|EMPTY|SOCKET)|^WebSocket connection to "
    r"|^Client Error: Download Button fetch error - Failed to fetch$"
)

# Runs app.py with a search.store.study that holds one pickled study: a browser talks to another process,
# where a monkeypatch would not be seen.
_APP_WITH_STUDY = """
import pickle, runpy, sys
from pathlib import Path
from types import ModuleType

root, pickled = {root!r}, Path({pickled!r})
sys.path.insert(0, root)
studies = ModuleType("search.store.study")
studies.default_storage = lambda: "sqlite:///runs/sizer.db"
studies.list_studies = lambda storage: ("pi5-6mb",)
studies.load_result = lambda name, storage: pickle.loads(pickled.read_bytes())
sys.modules["search.store.study"] = studies
runpy.run_path(str(Path(root) / "app.py"), run_name="__main__")
"""

# Places of the points of the first figure by trial.
_DRAWN_POINTS = """
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, from the environment's CHROMIUM or where Debian puts it."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed")
    executable = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    if not Path(executable).is_file():
        missing(f"no browser at {executable}; set CHROMIUM to one")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=list(_FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page that notes every request that leaves this machine, and every error of its console."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(_PATIENCE_MS)
    outside: list[str] = []
    errors: list[str] = []
    local = re.compile(r"(file|data|blob|about):|https?://127\.0\.0\.1[:/]|ws://127\.0\.0\.1[:/]")
    opened.on("request", lambda request: None if local.match(request.url) else outside.append(request.url))
    opened.on("pageerror", lambda error: errors.append(str(error)))

    def told(message: ConsoleMessage) -> None:
        url = message.location["url"]
        if message.type == "error" and not (_LOOKED_FOR.search(url) or _SERVER_GONE.search(message.text)):
            errors.append(f"{message.text} ({url})")

    opened.on("console", told)
    yield opened
    opened.close()
    assert outside == []
    assert errors == []


@contextmanager
def served(app: Path, root: Path, log: Path) -> Iterator[str]:
    """Address of a Streamlit server that runs an app, stopped afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "streamlit", "run", str(app), f"--server.port={port}", *_SERVER_FLAGS]
    with log.open("wb") as out:
        server = subprocess.Popen(command, cwd=root, stdout=out, stderr=subprocess.STDOUT)
    try:
        _wait_until_up(f"{address}/_stcore/health", server, log)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=20)


def _wait_until_up(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    pytest.fail(f"the explorer did not start: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}")


def metric(page: Page, label: str) -> str:
    """Value of the headline figure with that label."""
    tile = page.locator(".sizer-tiles > div").filter(has=page.locator("dt").get_by_text(label))
    return tile.locator(".value").inner_text().strip()


def wait_for_metric(page: Page, label: str, other_than: str) -> str:
    """The figure's value once it is no longer what it was."""
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        if (value := metric(page, label)) != other_than:
            return value
        page.wait_for_timeout(100)
    raise AssertionError(f"{label} is still {other_than}")


def click_trial(page: Page, trial: int, *, patience_s: float = _PATIENCE_S) -> None:
    """Click a trial's point until its details show: the page may still be moving at the first click."""
    heading = page.get_by_role("heading", name=f"Trial {trial}", exact=True)
    end = time.monotonic() + patience_s
    while not heading.is_visible():
        assert time.monotonic() < end, f"clicking trial {trial} showed nothing"
        page.locator(".js-plotly-plot").first.scroll_into_view_if_needed()
        point = page.evaluate(_POINT_OF_TRIAL, trial)
        page.mouse.click(point["x"], point["y"])
        page.wait_for_timeout(3000)


def choose(page: Page, label: str, option: str) -> None:
    """Choose from a menu the way a person does: open it, type, press Enter."""
    menu = page.get_by_test_id("stSelectbox").filter(has_text=label).get_by_role("combobox")
    menu.click()
    menu.fill(option)
    page.get_by_role("option", name=option, exact=True).click()


def test_sizing_a_model(page: Page, root: Path, tmp_path: Path) -> None:
    with served(root / "app.py", root, tmp_path / "server.log") as address:
        page.goto(address)
        page.get_by_role("heading", name="Size a model").wait_for()
        page.locator(".sizer-tiles").first.wait_for()
        assert metric(page, "Parameters") == "134.5M"
        layers = page.get_by_test_id("stSlider").filter(has_text="Layers").get_by_role("slider")
        layers.focus()
        layers.press("ArrowLeft")
        # one block of SmolLM2-135M is 3,540,096 parameters: 134,515,008 less that
        assert wait_for_metric(page, "Parameters", "134.5M") == "131M"
        before = metric(page, "File")
        choose(page, "Format", "Q8_0")
        wait_for_metric(page, "File", before)
        page.locator(".sizer-bars").nth(4).wait_for()
        page.screenshot(path=tmp_path / "size.png")
        page.reload()
        page.locator(".sizer-tiles").first.wait_for()
        assert metric(page, "Parameters") == "131M"  # the address carries what was set


def test_opening_a_study_and_clicking_a_model(
    page: Page, root: Path, tmp_path: Path, result: SearchResult
) -> None:
    app, pickled = tmp_path / "app_with_study.py", tmp_path / "study.pickle"
    pickled.write_bytes(pickle.dumps(result))
    app.write_text(_APP_WITH_STUDY.format(root=str(root), pickled=str(pickled)), encoding="utf-8")
    with served(app, root, tmp_path / "server.log") as address:
        page.goto(address)
        page.get_by_text("Open a study").click()
        page.get_by_role("heading", name="Trial 10").wait_for()
        page.locator(".js-plotly-plot").first.wait_for()
        page.locator(".sizer-bars").nth(2).wait_for()
        page.screenshot(path=tmp_path / "frontier.png")
        # a dominated model is clicked as easily as one on the frontier
        for trial in (1, 6):
            click_trial(page, trial)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_report_opens_from_a_file(
    page: Page, tmp_path: Path, result: SearchResult, scheme: str, width: int
) -> None:
    console: list[str] = []
    page.on("console", lambda message: console.append(message.text))
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    files = write_report(result, tmp_path)
    page.goto(files.html.as_uri())
    drawn = len(study_figures(result))
    page.locator(".js-plotly-plot .main-svg").nth(drawn - 1).wait_for(state="attached")
    assert page.locator(".js-plotly-plot").count() == drawn
    assert page.locator(".sizer-bars").count() == 6  # three for each of two models
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    text = page.evaluate("document.querySelector('.js-plotly-plot')._fullLayout.font.color")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    assert (text == "#1d2129") == (scheme == "light")
    # nothing runs off the page to the right
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.screenshot(path=tmp_path / "report.png", full_page=True)
    assert console == []


def test_the_reports_numbers_are_those_of_the_frontier_document(
    page: Page, tmp_path: Path, result: SearchResult
) -> None:
    files = write_report(result, tmp_path)
    page.goto(files.html.as_uri())
    page.locator(".js-plotly-plot .main-svg").first.wait_for(state="attached")
    points = frontier_document(result)["points"]
    drawn = page.evaluate(_DRAWN_POINTS)
    for point in points:
        x, y = drawn[str(point["trial"])]
        assert (x, y) == (point["file_bytes"], point["val_bits_per_byte"])
    table = page.locator("section[aria-labelledby=frontier] table")
    assert table.locator("tbody th").all_inner_texts() == [str(point["trial"]) for point in points]
    for row, point in zip(table.locator("tbody tr").all(), points, strict=True):
        assert f"{point['val_bits_per_byte']:.4f}" in row.inner_text()


def test_the_report_on_paper_is_dark_on_white(page: Page, tmp_path: Path, result: SearchResult) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(write_report(result, tmp_path).html.as_uri())
    page.locator(".js-plotly-plot .main-svg").first.wait_for(state="attached")
    assert page.pdf(path=tmp_path / "report.pdf").startswith(b"%PDF-")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.querySelector('.js-plotly-plot')._fullLayout.font.color") == "#1d2129"
    assert page.evaluate("document.querySelectorAll('details:not([open])').length") == 0
    page.emulate_media(media="screen", color_scheme="dark")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.querySelector('.js-plotly-plot')._fullLayout.font.color") == "#e6e8ec"
    assert page.evaluate("document.querySelectorAll('details[open]').length") == 0


def test_an_estimates_page_opens_from_a_file(page: Page, tmp_path: Path) -> None:
    console: list[str] = []
    page.on("console", lambda message: console.append(message.text))
    sized = estimate(
        architecture=model("SmolLM2-135M").architecture, format="Q4_K_M", device=device("raspberry-pi-5")
    )
    write_estimate(sized, tmp_path / "estimate.html")
    page.goto((tmp_path / "estimate.html").as_uri())
    page.locator(".js-plotly-plot .main-svg").first.wait_for(state="attached")
    assert page.locator(".js-plotly-plot").count() == 1
    assert page.locator(".sizer-bars").count() == 5
    assert page.get_by_role("heading", level=1).inner_text() == "SmolLM2-135M"
    assert page.get_by_text(f"{sized.file.total:,}", exact=True).count() == 1
    assert console == []


def test_comparing_and_downloading(page: Page, root: Path, tmp_path: Path) -> None:
    page.set_default_timeout(_BUSY_MS)
    with served(root / "app.py", root, tmp_path / "server.log") as address:
        page.goto(f"{address}/compare?models=SmolLM2-135M,Qwen3-0.6B&devices=raspberry-pi-5,iphone-15-pro")
        page.get_by_role("heading", name="Side by side").wait_for()
        page.locator(".js-plotly-plot").nth(2).wait_for()
        with page.expect_download() as saved:
            page.get_by_role("button", name="JSON", exact=True).click()
        document = json.loads(saved.value.path().read_text(encoding="utf-8"))
        assert document["schema"] == "sizer.compare/1"
        assert document["models"] == ["SmolLM2-135M", "Qwen3-0.6B"]
        with page.expect_download() as saved:
            page.get_by_role("button", name="CSV", exact=True).click()
        lines = saved.value.path().read_text(encoding="utf-8").splitlines()
        assert len(lines) == 5
        assert lines[1].startswith("SmolLM2-135M,raspberry-pi-5,Q4_K_M,llama.cpp,2048,134515008,")
        rows = page.locator("table.sizer-beside tr.differs")
        assert rows.filter(has_text="hidden_size").inner_text().split() == [
            "hidden_size",
            "576",
            "1,024",
            "+448",
            "+77.8",
            "%",
        ]
        page.screenshot(path=tmp_path / "compare.png")


def test_designing_under_a_budget(page: Page, root: Path, tmp_path: Path) -> None:
    page.set_default_timeout(_BUSY_MS)
    budget = "max_size=20MB&vocabulary=8192&formats=Q4_K_M"
    with served(root / "app.py", root, tmp_path / "server.log") as address:
        page.goto(f"{address}/design?{budget}")
        page.get_by_role("heading", name="Deep or wide").wait_for()
        page.locator(".js-plotly-plot").nth(1).wait_for()
        # the third of the best, by a click on its mark
        place = page.evaluate(_MARK, "3")
        page.mouse.click(place["x"], place["y"])
        page.wait_for_url("**pick=**")
        picked = parse_qs(urlsplit(page.url).query)["pick"][0].split("x")
        page.get_by_role("heading", name=f"{picked[1]} x {picked[2]}, ").wait_for()
        page.screenshot(path=tmp_path / "design.png")
        file = metric(page, "File")
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="Open on Size").click()
        size = opened.value
        size.set_default_timeout(_BUSY_MS)
        size.locator(".sizer-tiles").first.wait_for()
        assert metric(size, "File") == file
        size.close()


# Where a numbered mark of the first figure is on the screen.
_MARK = """
number => {
  const figure = document.querySelector('.js-plotly-plot'), box = figure.getBoundingClientRect();
  const trace = figure.data.find(t => t.name === 'the best'), place = [...trace.text].indexOf(number);
  const {xaxis, yaxis} = figure._fullLayout;
  return {x: box.left + xaxis._offset + xaxis.d2p(trace.x[place]),
          y: box.top + yaxis._offset + yaxis.d2p(trace.y[place])};
}
"""
