"""A person's way from page to page in a real browser: what was chosen once is never asked for again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.explorer.in_browser import PATIENCE_MS, choose, metric, served, wait_until_at_rest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def fill(page: Page, label: str, text: str) -> None:
    """Type into the visible field of that label, and leave it."""
    field = page.get_by_label(label, exact=True).first
    field.fill(text)
    field.press("Enter")
    wait_until_at_rest(page)


def follow(page: Page, label: str, heading: str) -> None:
    """Click a link within the page, which opens in the same tab."""
    page.get_by_test_id("stMain").get_by_role("link", name=label).first.click()
    page.get_by_role("heading", name=heading, exact=True).wait_for(timeout=PATIENCE_MS)
    wait_until_at_rest(page)


def query(page: Page) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(page.url).query).items()}


def test_a_budget_is_said_once(page: Page, root: Path, tmp_path: Path) -> None:
    """Sizing 350M parameters for a phone, then the best shape of that budget, then its search."""
    actions = 0
    with served(root / "app.py", tmp_path, tmp_path / "server.log") as address:
        page.goto(address)
        page.get_by_role("heading", name="Which small model for this device?").wait_for()
        wait_until_at_rest(page)
        choose(page, "Device", "Samsung Galaxy S24")
        fill(page, "Context (tokens)", "4096")
        fill(page, "Model or number of parameters", "350M")
        follow(page, "Show its size and speed", "Size a model")
        actions += 5  # open the menu, choose; two fields; a link
        assert metric(page, "Parameters") == "351.8M"
        assert query(page)["device"] == "galaxy-s24"
        # a width that the format needs is the shape's already: nothing to mend
        assert page.get_by_text("does not fill the blocks").count() == 0
        fill(page, "Max file size", "300MB")
        fill(page, "Min decode speed (tok/s)", "25")
        page.get_by_text("Within the limits.").wait_for()
        follow(page, "Find the best of this size", "Design")
        actions += 3
        asked = query(page)
        assert (asked["device"], asked["context"]) == ("galaxy-s24", "4096")
        assert (asked["max_size"], asked["min_decode"]) == ("300MB", "25")
        # the line of the limit leaves the axis where the shapes are: it went to 10^25 tokens/s
        page.locator(".js-plotly-plot .main-svg").first.wait_for()
        low, high = page.evaluate("document.querySelector('.js-plotly-plot')._fullLayout.xaxis.range")
        assert 0 < low < high < 4
        follow(page, "Search this budget", "Search")
        actions += 1
        command = page.get_by_test_id("stCode").filter(has_text="sizer search run").first.inner_text()
        for word in ("--device=galaxy-s24", "--max-size=300MB", "--min-decode=25"):
            assert word in command
        assert "narrow proxies are trained" in page.get_by_test_id("stMain").inner_text()
        assert (query(page)["context"], len(page.context.pages)) == ("4096", 1)
        assert actions <= 12


def test_the_share_of_devices_is_one_click_away(page: Page, root: Path, tmp_path: Path) -> None:
    with served(root / "app.py", tmp_path, tmp_path / "server.log") as address:
        page.goto(address)
        page.get_by_role("heading", name="Which small model for this device?").wait_for()
        wait_until_at_rest(page)
        follow(page, "Show the share of devices", "Will it run for my users?")
        assert metric(page, "It fits for") == "100 %"
        assert page.get_by_role("row").filter(has_text="web-llm").count() == 1
