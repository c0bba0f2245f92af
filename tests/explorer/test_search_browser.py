"""The search page in a real browser, with real searches: begun, watched, stopped, resumed, clicked in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from search.run.curves import read_curves
from search.run.launch import activity, launched_studies, log_tail, read_launch
from search.run.live import State
from search.store.owner import is_alive
from sizer.units import format_bytes, format_count
from tests.explorer.test_browser import browser, click_trial, metric, page, served  # noqa: F401
from tests.search.run.test_launch import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

STORAGE = "sqlite:///runs/sizer.db"
_PATIENCE_S = 600.0
_PATIENCE_MS = 1000 * _PATIENCE_S


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory of the explorer; searches that are left in it are ended."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIZER_STORAGE", raising=False)
    yield tmp_path
    for name in launched_studies(STORAGE):
        begun = read_launch(name, STORAGE)
        if begun is not None and is_alive(dict(begun.owner)):
            os.kill(begun.owner["pid"], signal.SIGKILL)


def begin(page: Page, address: str, *, models: int, steps: int, name: str) -> None:  # noqa: F811
    """Fill in the form that a link opened, and begin."""
    page.set_default_timeout(_PATIENCE_MS)  # a search takes all the cores there are
    page.goto(f"{address}/search?max_size=100kB")
    page.get_by_role("heading", name="Search", exact=True).wait_for()
    for label, value in (("Models to train", str(models)), ("Steps", str(steps)), ("Name", name)):
        field = page.get_by_label(label, exact=True)
        field.fill(value)
        field.press("Enter")
    page.get_by_text(f"--study={name}").wait_for()
    command = page.get_by_test_id("stCode").first.inner_text()
    assert command.strip() == (
        f"sizer search run --max-size=100KB --steps={steps} --trials={models} --study={name}"
    )
    page.get_by_role("button", name="Start the search").click()


def says(page: Page, text: str) -> None:  # noqa: F811
    page.get_by_text(text).first.wait_for(timeout=_PATIENCE_MS)


def wait(done: Callable[[], Any]) -> None:
    wait_until(done, _PATIENCE_S)


def test_a_search_from_the_form_to_its_frontier(
    page: Page,  # noqa: F811
    root: Path,
    folder: Path,
) -> None:
    with served(root / "app.py", folder, folder / "server.log") as address:
        begin(page, address, models=3, steps=60, name="tiny")
        says(page, "Starting")
        says(page, "Running")
        says(page, "of 180 steps")
        says(page, "Done: all models that were asked for are trained.")
        shown = subprocess.run(
            [sys.executable, str(root / "cli.py"), "search", "frontier", "tiny", "--json"],
            capture_output=True,
            text=True,
            check=True,
        )
        points = json.loads(shown.stdout)["points"]
        assert metric(page, "Trained") == "3 of 3"
        assert metric(page, "Best bits per byte") == f"{points[-1]['val_bits_per_byte']:.4f}"
        for point in points:
            click_trial(page, point["trial"], patience_s=_PATIENCE_S)
            assert metric(page, "Parameters") == format_count(point["num_parameters"])
            assert metric(page, "File") == format_bytes(point["file_bytes"])
            decode = float(metric(page, "Decode, tokens/s").replace(",", ""))
            assert decode == pytest.approx(point["decode_tokens_per_s"], rel=0.005)
            page.get_by_text(f"{point['val_bits_per_byte']:.4f}").first.wait_for()
        # its learning curve, and the way to the size page
        curves = page.locator(".st-key-search_curves .js-plotly-plot")
        assert curves.evaluate("f => f.data.map(t => t.x.at(-1))") == [60, 60, 60]
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="Open in Size a model").click()
        size = opened.value
        size.get_by_role("heading", name="Size a model").wait_for()
        size.locator(".sizer-tiles").first.wait_for()
        assert metric(size, "Parameters") == format_count(points[-1]["num_parameters"])
        size.close()
        # a model more: typed and clicked, without leaving the field first
        page.get_by_label("Models to train in all", exact=True).fill("4")
        page.get_by_role("button", name="Go on with more").click()
        # one model may be trained before the page is next drawn: it need never say that it runs
        page.locator(".sizer-tiles").get_by_text("4 of 4").wait_for()
        says(page, "Done: all models that were asked for are trained.")
        assert page.get_by_label("Models to train in all", exact=True).input_value() == "4"
    again = read_launch("tiny", STORAGE)
    assert again is not None
    assert again.arguments == ("search", "resume", "--trials=4", "tiny")


def test_a_search_outlives_the_page_and_stops_and_goes_on(
    page: Page,  # noqa: F811
    root: Path,
    folder: Path,
) -> None:
    """More steps than the test waits for: it is always stopped before its end."""

    def steps() -> int:
        now = activity("long", STORAGE)
        assert now.owner is not None, log_tail("long", STORAGE)
        return now.live.in_training[0].step if now.live and now.live.in_training else 0

    def last_point() -> int:
        return read_curves("long", STORAGE)[0].points[-1].step

    with served(root / "app.py", folder, folder / "server.log") as address:
        begin(page, address, models=2, steps=90_000, name="long")
        says(page, "Running")
        page.goto("about:blank")
        wait(steps)
    # the server is gone
    seen = steps()
    wait(lambda: steps() > seen)
    begun = read_launch("long", STORAGE)
    assert begun is not None
    with served(root / "app.py", folder, folder / "server.log") as address:
        page.goto(f"{address}/search?study=long")
        says(page, "Running")
        page.get_by_role("button", name="Stop").click()
        says(page, "Stopped. Resume goes on from where it was.")
        assert activity("long", STORAGE).state is State.STOPPED
        assert not is_alive(dict(begun.owner))
        before = last_point()
        page.get_by_role("button", name="Resume").click()
        says(page, "Running")
        wait(lambda: last_point() > before)
        again = read_launch("long", STORAGE)
        assert again is not None
        assert again.arguments == ("search", "resume", "long")
        page.get_by_role("button", name="Stop").click()
        says(page, "Stopped. Resume goes on from where it was.")
    log = (folder / "runs" / "logs" / "long.log").read_text(encoding="utf-8")
    assert log.count("stopped; go on with: sizer search resume long") == 2


def test_a_search_of_a_text_that_is_too_short_says_why_and_is_forgotten(
    page: Page,  # noqa: F811
    root: Path,
    folder: Path,
) -> None:
    (folder / "short.txt").write_text("<b>", encoding="utf-8")
    with served(root / "app.py", folder, folder / "server.log") as address:
        page.set_default_timeout(_PATIENCE_MS)
        page.goto(f"{address}/search")
        field = page.get_by_label("Text to train on", exact=True)
        field.fill("short.txt")
        field.press("Enter")
        page.get_by_text("--corpus=short.txt").wait_for()
        page.get_by_role("button", name="Start the search").click()
        says(page, "its 3 bytes of text are too few")
        assert page.get_by_test_id("stCode").inner_text().strip() == (
            "sizer search run --corpus=short.txt --study=search-1"
        )
        page.get_by_role("button", name="Forget", exact=True).click()
        page.get_by_role("button", name="Forget it").click()
        says(page, "There is no study yet")
        assert launched_studies(STORAGE) == ()
        assert sorted(path.name for path in folder.iterdir()) == ["runs", "server.log", "short.txt"]
