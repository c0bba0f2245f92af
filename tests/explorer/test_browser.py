"""The explorer and the report in a real browser: what a person would see, click and read."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from reports.export.documents import frontier_document
from reports.figures.study import study_figures
from reports.html.estimate_page import write_estimate
from reports.html.study_page import write_report
from search.store.results import SearchResult
from sizer.devices.catalogue import device
from sizer.model_estimate import estimate
from sizer.registry import model
from tests.explorer.in_browser import (
    DRAWN_POINTS,
    choose,
    metric,
    wait_for_metric,
    wait_until_at_rest,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page


pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(result: SearchResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a study."""
    return write_report(result, tmp_path_factory.mktemp("report")).html


def test_sizing_a_model(page: Page, address: str, tmp_path: Path) -> None:
    page.goto(f"{address}/size")
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


_INSIDE = """
() => [...document.querySelectorAll('.js-plotly-plot')].every(figure =>
  [...figure.querySelectorAll('.main-svg, .legend')].every(part =>
    part.getBoundingClientRect().bottom <= figure.getBoundingClientRect().bottom + 1))
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_opens_from_a_file(
    page: Page, report: Path, tmp_path: Path, result: SearchResult, scheme: str
) -> None:
    console: list[str] = []
    page.on("console", lambda message: console.append(message.text))
    page.set_viewport_size({"width": 1440, "height": 900})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(report.as_uri())
    drawn = len(study_figures(result))
    page.locator(".js-plotly-plot .main-svg").nth(drawn - 1).wait_for(state="attached")
    assert page.locator(".js-plotly-plot").count() == drawn
    assert page.locator(".sizer-bars").count() == 6  # three for each of two models
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    text = page.evaluate("document.querySelector('.js-plotly-plot')._fullLayout.font.color")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    assert (text == "#1d2129") == (scheme == "light")
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        # nothing runs off the page to the right, once the figures have followed the window
        end = time.monotonic() + 10
        while page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            assert time.monotonic() < end, f"wider than {width} px"
            page.wait_for_timeout(100)
        page.screenshot(path=tmp_path / f"report-{width}.png", full_page=True)
        # a legend of many lines stays inside its figure, off the text that follows
        page.wait_for_function(_INSIDE)
    assert console == []


def test_the_reports_numbers_are_those_of_the_frontier_document(
    page: Page, report: Path, result: SearchResult
) -> None:
    page.goto(report.as_uri())
    page.locator(".js-plotly-plot .main-svg").first.wait_for(state="attached")
    points = frontier_document(result)["points"]
    drawn = page.evaluate(DRAWN_POINTS)
    for point in points:
        x, y = drawn[str(point["trial"])]
        assert (x, y) == (point["file_bytes"], point["val_bits_per_byte"])
    table = page.locator("section[aria-labelledby=frontier] table")
    assert table.locator("tbody th").all_inner_texts() == [str(point["trial"]) for point in points]
    for row, point in zip(table.locator("tbody tr").all(), points, strict=True):
        assert f"{point['val_bits_per_byte']:.4f}" in row.inner_text()


def test_the_report_on_paper_is_dark_on_white(page: Page, report: Path, tmp_path: Path) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(report.as_uri())
    page.locator(".js-plotly-plot .main-svg").first.wait_for(state="attached")
    assert page.pdf(path=tmp_path / "report.pdf").startswith(b"%PDF-")
    page.emulate_media(media="print")
    rows = page.evaluate("[...document.querySelectorAll('tr')].map(r => getComputedStyle(r).breakInside)")
    assert set(rows) == {"avoid"}
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


def test_comparing_and_downloading(page: Page, address: str, tmp_path: Path) -> None:
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
    row = page.get_by_role("row").filter(has_text="≠ hidden_size")
    assert row.inner_text().split() == ["≠", "hidden_size", "576", "1,024", "+448", "+77.8", "%"]
    page.screenshot(path=tmp_path / "compare.png")


def test_designing_under_a_budget(page: Page, address: str, tmp_path: Path) -> None:
    budget = "max_size=20MB&vocabulary=8192&formats=Q4_K_M"
    page.goto(f"{address}/design?{budget}")
    page.get_by_role("heading", name="Depth vs width").wait_for()
    page.locator(".js-plotly-plot").nth(1).wait_for()
    # the third of the best, by a click on its mark
    place = page.evaluate(_MARK, "3")
    page.mouse.click(place["x"], place["y"])
    page.wait_for_url("**pick=**")
    picked = parse_qs(urlsplit(page.url).query)["pick"][0].split("x")
    page.get_by_role("heading", name=f"{picked[1]} x {picked[2]}, ").wait_for()
    page.screenshot(path=tmp_path / "design.png")
    file = metric(page, "File")
    page.get_by_role("link", name="Open on Size").click()
    page.get_by_role("heading", name="Size a model", exact=True).wait_for()
    page.locator(".sizer-tiles").first.wait_for()
    assert metric(page, "File") == file
    wait_until_at_rest(page)


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
