"""Two walks in a real browser, counted in clicks and fields: what was said once is never asked for again.

The third, a search, is in test_search_browser.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from explorer.widgets.model_source import start_of
from reports.tables.users import share_text
from sizer.audience import reach
from sizer.devices.catalogue import devices_named
from tests.explorer.in_browser import metric
from tests.explorer.person import Person

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def test_from_a_size_and_a_device_to_a_config(page: Page, address: str, sizer: Any) -> None:
    """350M parameters for a phone, the best shape of that budget, its config.json, then its search."""
    person = Person(page)
    person.arrive(address, "Which small model for this device?")
    person.choose("Device", "Samsung Galaxy S24")
    person.fill("Context (tokens)", "4096")
    person.fill("Model or number of parameters", "350M")
    person.follow("Show its size and speed", "Size a model")
    assert metric(page, "Parameters") == "351.8M"
    assert person.query()["device"] == "galaxy-s24"
    # a width that the format needs is the shape's already: nothing to mend
    assert page.get_by_text("does not fill the blocks").count() == 0
    person.fill("Max file size", "300MB")
    person.fill("Min decode speed (tok/s)", "25")
    page.get_by_text("Within the limits.").wait_for()
    person.follow("Find the best of this size", "Design")
    asked = person.query()
    assert (asked["device"], asked["context"]) == ("galaxy-s24", "4096")
    assert (asked["max_size"], asked["min_decode"]) == ("300MB", "25")
    # the line of the limit leaves the axis where the shapes are: it went to 10^25 tokens/s
    page.locator(".js-plotly-plot .main-svg").first.wait_for()
    low, high = page.evaluate("document.querySelector('.js-plotly-plot')._fullLayout.xaxis.range")
    assert 0 < low < high < 4
    person.download("config.json").save_as("config.json")
    assert person.actions <= 12, person.actions
    shown = (metric(page, "Parameters"), metric(page, "File"))
    config = json.loads(Path("config.json").read_text(encoding="utf-8"))
    deployed = ("--device", "galaxy-s24", "--context", "4096", "--max-memory", "300MB", "--min-decode", "25")
    sized = sizer("estimate", "--config", "config.json", "--bits", "4", *deployed, "--json").json
    assert sized["architecture"]["num_layers"] == config["num_hidden_layers"]
    assert sized["weights"]["file_bytes"] <= 300_000_000
    assert sized["latency"]["decode_tokens_per_s"]["value"] >= 25
    assert shown[0] == f"{sized['parameters']['total'] / 1e6:.4g}M"

    person.follow("Search this budget", "Search")
    command = page.get_by_test_id("stCode").filter(has_text="sizer search run").first.inner_text()
    for word in ("--device=galaxy-s24", "--max-size=300MB", "--min-decode=25"):
        assert word in command
    assert "narrow proxies are trained" in page.get_by_test_id("stMain").inner_text()
    assert (person.query()["context"], len(page.context.pages)) == ("4096", 1)
    print(f"{person.actions} clicks and fields")


def test_the_share_of_devices_is_one_click_away(page: Page, address: str) -> None:
    person = Person(page)
    person.arrive(address, "Which small model for this device?")
    person.follow("Show the share of devices", "Will it run for my users?")
    assert person.actions == 1
    assert metric(page, "It fits for") == "100 %"
    assert page.get_by_role("row").filter(has_text="web-llm").count() == 1
    # a model that not all of these devices hold
    person.choose("Start from", "a parameter count")
    person.fill("Parameters to start near", "7B")
    assert person.actions == 4
    users = [(device, 10.0) for device in devices_named("mid-range")]
    reached = reach(start_of({"start": "a parameter count", "count": "7B"}), users, runtime="web-llm")
    fits = reached.fits()
    assert fits is not None
    assert 0 < fits < 0.95
    row = page.get_by_role("row").filter(has_text="web-llm")
    assert share_text(fits) in row.inner_text()
    assert metric(page, "It fits for") == share_text(fits)
    assert metric(page, "At least 10 tokens/s for") == share_text(reached.is_fast(10))
