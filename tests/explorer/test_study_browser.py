"""The committed example study in a real browser: opened, clicked in, its report taken and read offline."""

from __future__ import annotations

import csv
import json
import shutil
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reports.figures.parallel import parallel_info
from reports.figures.study import compared_cohort, study_figures
from search.store.study import load_result
from sizer.families.hf_config import config_from_architecture
from sizer.units import format_bytes, format_bytes_binary, format_count
from tests.explorer.in_browser import DRAWN_POINTS, click_trial, metric, open_results, wait_until_at_rest

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.explorer.conftest import Explorer

pytestmark = pytest.mark.browser

STUDY, STORAGE = "guided-0", "sqlite:///studies.db"


@pytest.fixture
def folder(explorer: Explorer) -> Path:
    """The working directory of the explorer, with the example's studies in it."""
    return explorer.folder


@pytest.fixture
def frontier(sizer: Any, folder: Path) -> list[dict[str, Any]]:
    """Return the study's frontier as the command line prints it in another folder with the same studies."""
    shutil.copy(folder / "studies.db", "studies.db")
    document = sizer("search", "frontier", STUDY, "--storage", STORAGE, "--json").json
    points: list[dict[str, Any]] = document["points"]
    assert len(points) > 1
    return points


def estimate_of(sizer: Any, point: dict[str, Any]) -> dict[str, Any]:
    """Return one of its models as the command line prints it."""
    records = {record.number: record for record in load_result(STUDY, STORAGE).trained}
    config = config_from_architecture(records[point["trial"]].candidate.architecture)
    Path("model.json").write_text(json.dumps(config), encoding="utf-8")
    options = ("--config", "model.json", "--format", point["format"], "--device", "raspberry-pi-5")
    found: dict[str, Any] = sizer("estimate", *options, "--json").json
    return found


def open_storage(page: Page, address: str, storage: str) -> None:
    open_results(page, address)
    page.get_by_text("there is no study file").wait_for()
    field = page.get_by_label("Storage", exact=True)
    field.fill(storage)
    field.press("Enter")


def test_dragging_over_axes_filters_the_trials(page: Page, address: str, folder: Path) -> None:
    page.goto(f"{address}/study?storage={STORAGE}&study={STUDY}")
    wait_until_at_rest(page)
    caption = page.get_by_test_id("stCaptionContainer").filter(has_text="choose a row")
    assert caption.inner_text().startswith("27 of 27 trials;")
    # the upper half of the axis of layers, then with Shift the lower half of the last axis, the score
    page.locator(".js-plotly-plot").nth(1).scroll_into_view_if_needed()
    wait_until_at_rest(page)
    result = load_result(STUDY, f"sqlite:///{folder / 'studies.db'}")
    drawn = parallel_info(result, compared_cohort(result))
    assert [axis.name for axis in (drawn.axes[0], drawn.axes[-1])] == ["layers executed", "bits per byte"]
    for place, low, high in ((0, 0.5, 1.02), (-1, -0.02, 0.5)):
        corners = page.evaluate(_ON_AXIS, {"place": place, "low": low, "high": high})
        if place:
            page.keyboard.down("Shift")
        page.mouse.move(corners["left"], corners["top"])
        page.mouse.down()
        page.mouse.move(corners["right"], corners["bottom"], steps=4)
        page.mouse.up()
        page.keyboard.up("Shift")
        caption.get_by_text("brushed").wait_for()
        wait_until_at_rest(page)
        if not place:
            deep = sum(line.heights[0] >= 0.5 for line in drawn.lines)
            assert caption.inner_text().startswith(f"{deep} of 27 trials;")
    left = sum(line.heights[0] >= 0.5 and line.heights[-1] <= 0.5 for line in drawn.lines)
    assert 0 < left < deep
    assert caption.inner_text().startswith(f"{left} of 27 trials;")


# Corners of a rectangle over one vertical axis of the parallel coordinates, between two heights.
_ON_AXIS = """
({place, low, high}) => {
  const figure = document.querySelectorAll('.js-plotly-plot')[1], box = figure.getBoundingClientRect();
  const {xaxis, yaxis} = figure._fullLayout, last = figure._fullLayout.xaxis.tickvals.length - 1;
  const x = box.left + xaxis._offset + xaxis.l2p(place < 0 ? last : place);
  const y = height => box.top + yaxis._offset + yaxis.l2p(height);
  return {left: x - 12, right: x + 12, top: y(high), bottom: y(low)};
}
"""


def totals(page: Page, section: str) -> int:
    """The total of one of the tables of all figures, without rounding."""
    table = page.get_by_role("table").filter(has=page.get_by_role("columnheader", name=section))
    row = table.get_by_role("row").filter(has=page.get_by_role("rowheader", name="total", exact=True))
    return int(row.get_by_role("cell").first.inner_text().replace(",", ""))


def download(page: Page, label: str) -> Any:
    with page.expect_download() as saved:
        page.get_by_role("button", name=label, exact=True).click()
    return saved.value


def test_the_page_says_what_the_command_line_says(
    page: Page,
    address: str,
    sizer: Any,
    frontier: list[dict[str, Any]],
) -> None:
    open_storage(page, address, STORAGE)
    page.get_by_role("heading", name=f"Trial {frontier[-1]['trial']}", exact=True).wait_for()
    assert metric(page, "On the frontier") == str(len(frontier))
    page.get_by_text("All figures and assumptions").click()  # which stays open from model to model
    for point in frontier:
        click_trial(page, point["trial"])
        sized = estimate_of(sizer, point)
        page.get_by_text(f"{point['val_bits_per_byte']:.4f} ±").first.wait_for()
        assert metric(page, "Parameters") == format_count(point["num_parameters"])
        assert metric(page, "File") == format_bytes(point["file_bytes"])
        assert metric(page, "Memory") == format_bytes_binary(sized["memory"]["total_bytes"])
        decode = float(metric(page, "Decode, tokens/s").replace(",", ""))
        assert decode == pytest.approx(sized["latency"]["decode_tokens_per_s"]["value"], rel=0.005)
        assert totals(page, "Parameters") == sized["parameters"]["total"] == point["num_parameters"]
        assert totals(page, "File, ") == sized["weights"]["file_bytes"] == point["file_bytes"]
        assert totals(page, "Memory, ") == sized["memory"]["total_bytes"]
    click_trial(page, 16)  # a dominated model is clicked as easily


def test_the_report_is_downloaded_and_read_offline(
    page: Page,
    address: str,
    sizer: Any,
    tmp_path: Path,
    frontier: list[dict[str, Any]],
) -> None:
    open_storage(page, address, STORAGE)
    saved = download(page, "Report (HTML)")
    assert saved.suggested_filename == f"{STUDY}-report.html"
    home = tmp_path / "home" / saved.suggested_filename
    saved.save_as(home)
    assert sizer("search", "report", STUDY, "--storage", STORAGE, "--out", "out").code == 0
    assert home.read_bytes() == Path("out/report.html").read_bytes()
    for name in ("Frontier (CSV)", "Trials (Parquet)", "Frontier (JSON)"):
        saved = download(page, name)
        written = Path("out", saved.suggested_filename.removeprefix(f"{STUDY}-"))
        assert saved.path().read_bytes() == written.read_bytes()
    # numbers of the table, by somebody else's reader
    rows = list(csv.DictReader(StringIO(download(page, "Frontier (CSV)").path().read_text("utf-8"))))
    for field in ("trial", "num_parameters", "file_bytes", "val_bits_per_byte", "decode_tokens_per_s"):
        assert [float(row[field]) for row in rows] == [point[field] for point in frontier]

    console: list[str] = []
    page.on("console", lambda message: console.append(message.text))
    page.context.set_offline(True)
    page.goto(home.as_uri())
    check_report(page, sizer, frontier)
    assert console == []


def check_report(page: Page, sizer: Any, frontier: list[dict[str, Any]]) -> None:
    """Figures are drawn, and say what the command line says."""
    drawn = len(study_figures(load_result(STUDY, STORAGE)))
    page.locator(".js-plotly-plot .main-svg").nth(drawn - 1).wait_for(state="attached")
    figures = page.locator(".js-plotly-plot")
    assert figures.count() == drawn
    assert all(figure.locator(".trace path").count() for figure in figures.all())
    points = page.evaluate(DRAWN_POINTS)
    for point in frontier:
        assert points[str(point["trial"])] == [point["file_bytes"], point["val_bits_per_byte"]]
    table = page.locator("section[aria-labelledby=frontier] table")
    assert table.locator("tbody th").all_inner_texts() == [str(point["trial"]) for point in frontier]
    for row, point in zip(table.locator("tbody tr").all(), frontier, strict=True):
        assert f"{point['val_bits_per_byte']:.4f}" in row.inner_text()
    sized = estimate_of(sizer, best := frontier[-1])
    for name, total in (
        ("parameters", f"Parameters: {format_count(sized['parameters']['total'])}"),
        ("file", f"File: {format_bytes(sized['weights']['file_bytes'])}"),
    ):
        assert page.locator(f"#title-trial-{best['trial']}-{name}").inner_text() == total


def test_a_storage_outside_of_the_folder_is_refused(
    page: Page,
    address: str,
    folder: Path,
) -> None:
    outside = folder.parent / "outside.db"
    shutil.copy(folder / "studies.db", outside)
    (folder / "link.db").symlink_to(outside)
    before, content = sorted(folder.parent.iterdir()), outside.read_bytes()
    addresses = ("sqlite:///../outside.db", f"sqlite:///{outside}", "sqlite:///link.db")
    try:
        open_storage(page, address, addresses[0])
        for storage in addresses:
            field = page.get_by_label("Storage", exact=True)
            field.fill(storage)
            field.press("Enter")
            page.get_by_text(f"storage: '{storage}' is not opened from a page").wait_for()
            assert page.locator(".sizer-tiles").count() == 0
            page.goto(f"{address}/study?storage={storage}&study={STUDY}")
            page.get_by_text(f"storage: '{storage}' is not opened from a page").wait_for()
            assert page.locator(".sizer-tiles").count() == 0
        assert sorted(folder.parent.iterdir()) == before
        assert outside.read_bytes() == content
    finally:
        (folder / "link.db").unlink()
        outside.unlink()
