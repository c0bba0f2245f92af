"""The search page in a real browser, with real searches: started, watched, stopped, resumed, clicked in."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from search.run.launch import activity, launched_studies, log_tail, read_launch
from search.run.learning_curves import read_curves
from search.run.live import State
from search.store.process import is_alive
from sizer.units import format_bytes, format_count
from tests.explorer.in_browser import (
    PATIENCE_S,
    click_trial,
    fresh_page,
    metric,
    served,
    wait_until_at_rest,
)
from tests.explorer.person import Person
from tests.search.run.test_launch import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

STORAGE = "sqlite:///runs/sizer.db"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory of the explorer; searches that are left in it are ended."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIZER_STORAGE", raising=False)
    yield tmp_path
    for name in launched_studies(STORAGE):
        started = read_launch(name, STORAGE)
        if started is not None and is_alive(dict(started.owner)):
            os.kill(started.owner["pid"], signal.SIGKILL)


def begin(page: Page, address: str, *, models: int, steps: int, name: str) -> None:
    """Fill in the form that a link opened, and begin."""
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
    press(page, "Start the search")


def wait_for(page: Page, text: str) -> None:
    # of the page itself: Streamlit's header has a "Running" and a "Stop" while a slow script runs
    main(page).get_by_text(text).first.wait_for()


def main(page: Page) -> Locator:
    return page.get_by_test_id("stMainBlockContainer")


def press(page: Page, button: str) -> None:
    main(page).get_by_role("button", name=button, exact=True).click()


# Notes the places of the button Resume on the screen, frame by frame.
_PLACES = """
() => {
  window.places = [];
  const look = () => {
    const main = document.querySelector('[data-testid=stMainBlockContainer]');
    const button = [...main.querySelectorAll('button')].find(b => b.innerText === 'Resume');
    const box = button && button.offsetParent && button.getBoundingClientRect();  // none of a hidden one
    const place = box && `${box.x} ${box.y + scrollY}`;
    if (place && !window.places.includes(place)) window.places.push(place);
    requestAnimationFrame(look);
  };
  look();
}
"""


def wait(done: Callable[[], Any]) -> None:
    wait_until(done, PATIENCE_S)


def test_a_whole_search(page: Page, browser: Browser, root: Path, folder: Path) -> None:
    """Started, watched, closed, found again, stopped, resumed; decisions read, the best model exported."""
    models, steps = 4, 250
    with served(root / "app.py", folder, folder / "server.log") as address:
        person = Person(page)
        person.arrive(address, "Which small model for this device?")
        person.go_to("Search", "Search")
        person.fill("Max file size", "100kB")
        person.fill("Models to train", str(models))
        person.fill("Steps", str(steps))
        person.fill("Name", "tiny")
        command = page.get_by_test_id("stCode").first.inner_text()
        assert command.strip() == (
            f"sizer search run --max-size=100KB --steps={steps} --trials={models} --study=tiny"
        )
        person.press("Start the search")
        wait_for(page, "Running")
        main(page).get_by_text(re.compile(r"^[\d,]+ of [\d,]+ steps")).first.wait_for()
        page.close()

        with fresh_page(browser) as back:
            again, page = Person(back), back
            again.typed, again.actions = person.typed, person.actions
            again.arrive(address, "Which small model for this device?")
            again.go_to("Search", "Search")  # which opens the search that runs
            wait_for(page, "Running")
            again.press("Stop")
            wait_for(page, "Stopped. Resume continues")
            again.press("Resume")  # while the rest of the page is still being drawn
            wait_for(page, "Done: all requested models are trained.")
            assert metric(page, "Trained") == f"{models} of {models}"
            points = frontier_points(root)
            assert metric(page, "Best bits per byte") == f"{points[-1]['val_bits_per_byte']:.4f}"
            # a learning curve for each run: each model's, and of the pair and the finalists from more seeds
            runs = len(list((folder / "runs" / "tiny" / "curves").iterdir()))
            assert runs >= models + 2  # audit_pairs
            curves = page.locator(".st-key-search_curves .js-plotly-plot")
            assert curves.evaluate("f => f.data.map(t => t.x.at(-1))") == [steps] * runs
            wait_until_at_rest(page)
            again.follow("All results and export", "Results")
            page.get_by_role("heading", name="Decisions", exact=True).wait_for()
            settled = [d for d in decisions(root) if d["settled"]]
            main(page).get_by_text(f"{len(settled)} of {len(decisions(root))} decisions settled").wait_for()
            config = json.loads(again.download("Configuration (JSON)").path().read_text(encoding="utf-8"))
            assert config["hidden_size"] == points[-1]["architecture"]["hidden_size"]
            again.press("Export")
            page.get_by_text("recomputed").wait_for()
            files = sorted(path.name for path in (folder / "runs" / "tiny" / "export").glob("*.gguf"))
            assert [name.partition("-")[0] for name in files] == [str(points[-1]["trial"])]
            # start, search, four fields, start; back, search, stop, resume; results, two exports
            assert again.actions == 12
            check_points(page, points)
            extend(page, models + 1, address)
            wait_until_at_rest(page)
    started = read_launch("tiny", STORAGE)
    assert started is not None
    assert started.arguments == ("search", "resume", f"--trials={models + 1}", "tiny")


def frontier_points(root: Path) -> list[dict[str, Any]]:
    """Return the points of the frontier as the command line prints them."""
    found: list[dict[str, Any]] = command_line(root, "frontier")["points"]
    return found


def decisions(root: Path) -> list[dict[str, Any]]:
    """Return the decisions as the command line prints them."""
    found: list[dict[str, Any]] = command_line(root, "decisions")["decisions"]
    return found


@cache
def command_line(root: Path, command: str) -> Any:
    shown = subprocess.run(
        [sys.executable, str(root / "cli.py"), "search", command, "tiny", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(shown.stdout)


def check_points(page: Page, points: list[dict[str, Any]]) -> None:
    """Click each point of the frontier: the page says what the command line says."""
    for point in points:
        click_trial(page, point["trial"])
        assert metric(page, "Parameters") == format_count(point["num_parameters"])
        assert metric(page, "File") == format_bytes(point["file_bytes"])
        decode = float(metric(page, "Decode, tokens/s").replace(",", ""))
        assert decode == pytest.approx(point["decode_tokens_per_s"], rel=0.005)
        page.get_by_text(f"{point['val_bits_per_byte']:.4f}").first.wait_for()


def extend(page: Page, models: int, address: str) -> None:
    """Train a model more: typed and clicked, without leaving the field first."""
    page.goto(f"{address}/search?study=tiny")
    page.get_by_label("Total models to train", exact=True).fill(str(models))
    press(page, "Extend")
    # one model may be trained before the page is next drawn: it need never say that it runs
    page.locator(".sizer-tiles").get_by_text(f"{models} of {models}").wait_for()
    wait_for(page, "Done: all requested models are trained.")
    assert page.get_by_label("Total models to train", exact=True).input_value() == str(models)


def test_a_search_outlives_the_page_and_stops_and_goes_on(
    page: Page,
    root: Path,
    folder: Path,
) -> None:
    """More steps than the test waits for: it is always stopped before its end."""

    def steps() -> int:
        now = activity("long", STORAGE)
        assert now.owner is not None, log_tail("long", STORAGE)
        return now.live.in_training[0].step if now.live and now.live.in_training else 0

    def last_point() -> int:
        curves = read_curves("long", STORAGE)  # none until the first point is written
        return curves[0].points[-1].step if curves and curves[0].points else 0

    with served(root / "app.py", folder, folder / "server.log") as address:
        begin(page, address, models=2, steps=900_000, name="long")
        wait_for(page, "Running")
        main(page).get_by_text(re.compile(r"^[\d,]+ of [\d,]+ steps")).first.wait_for()
        page.goto("about:blank")
        wait(steps)
    # the server is gone
    seen = steps()
    wait(lambda: steps() > seen)
    started = read_launch("long", STORAGE)
    assert started is not None
    with served(root / "app.py", folder, folder / "server.log") as address:
        page.goto(f"{address}/search?study=long")
        wait_for(page, "Running")
        page.evaluate(_PLACES)
        press(page, "Stop")
        wait_for(page, "Stopped. Resume continues")
        assert activity("long", STORAGE).state is State.STOPPED
        assert not is_alive(dict(started.owner))
        before = last_point()
        press(page, "Resume")  # once: the button does not move while the rest of the page is drawn
        wait(lambda: last_point() > before)
        again = read_launch("long", STORAGE)
        assert again is not None
        assert again.arguments == ("search", "resume", "long")
        press(page, "Stop")
        wait_for(page, "Stopped. Resume continues")
        wait_until_at_rest(page)
        assert len(page.evaluate("window.places")) == 1
    log = (folder / "runs" / "logs" / "long.log").read_text(encoding="utf-8")
    assert log.count("stopped; continue with: sizer search resume long") == 2


def forecasts(folder: Path) -> list[int]:
    """Return the processes that forecast a search in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"--dry-run" in (process / "cmdline").read_bytes() and (process / "cwd").resolve() == folder:
                found.append(int(process.name))
        except OSError:  # it has just ended
            continue
    return found


def test_a_forecast_shows_its_progress_is_cancelled_and_ends_with_its_page(
    page: Page, root: Path, folder: Path
) -> None:
    """The line is the command's, of another moment: the same models and steps."""
    with served(root / "app.py", folder, folder / "server.log") as address:
        page.goto(f"{address}/search?max_size=100kB")
        press(page, "Estimate time")
        main(page).get_by_text(re.compile(r"^Timing model \d of \d of the space")).wait_for()
        press(page, "Cancel")
        wait_for(page, "forecast: cancelled")
        wait(lambda: not forecasts(folder))
        press(page, "Estimate time")
        wait_for(page, "Estimated time: ")
        shown = main(page).get_by_text("Estimated time: ").inner_text()
        press(page, "Estimate time")
        wait(lambda: len(forecasts(folder)) == 1)
        page.goto("about:blank")
        wait(lambda: not forecasts(folder))
    ran = subprocess.run(
        [sys.executable, str(root / "cli.py"), "search", "run", "--max-size=100kB", "--dry-run"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("forecast: ")]
    models = line.removeprefix("forecast: ").split(", about ")[0]
    assert shown.startswith(f"Estimated time: {models}, about ")


def test_a_search_of_a_text_that_is_too_short_says_why_and_is_forgotten(
    page: Page,
    root: Path,
    folder: Path,
) -> None:
    (folder / "short.txt").write_text("<b>", encoding="utf-8")
    with served(root / "app.py", folder, folder / "server.log") as address:
        page.goto(f"{address}/search")
        field = page.get_by_label("Text to train on", exact=True)
        field.fill("short.txt")
        field.press("Enter")
        page.get_by_text("--corpus=short.txt").wait_for()
        press(page, "Start the search")
        wait_for(page, "its 3 bytes of text are too few")
        assert page.get_by_test_id("stCode").inner_text().strip() == (
            "sizer search run --corpus=short.txt --study=search-1"
        )
        page.get_by_role("button", name="Remove", exact=True).click()
        page.get_by_role("button", name="Remove it").click()
        wait_for(page, "There is no study yet")
        assert launched_studies(STORAGE) == ()
        assert sorted(path.name for path in folder.iterdir()) == ["runs", "server.log", "short.txt"]
