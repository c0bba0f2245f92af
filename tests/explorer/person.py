"""A person at the explorer: clicks and fields are counted, and no value is typed twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.explorer.in_browser import PATIENCE_MS, choose, wait_until_at_rest

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


class Person:
    """Somebody who walks from page to page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.actions = 0  # clicks, and fields filled in
        self.typed: list[str] = []  # and chosen

    def arrive(self, address: str, heading: str) -> None:
        """Open an address, as the first thing or after having been away."""
        self.page.goto(address)
        self._see(heading)

    def choose(self, label: str, option: str) -> None:
        """Open a menu and click an option."""
        self._says(option)
        choose(self.page, label, option)
        wait_until_at_rest(self.page)
        self.actions += 2

    def fill(self, label: str, text: str) -> None:
        """Type into the visible field of that label, and leave it."""
        self._says(text)
        field = self.page.get_by_label(label, exact=True).first
        field.fill(text)
        field.press("Enter")
        wait_until_at_rest(self.page)
        self.actions += 1

    def follow(self, label: str, heading: str) -> None:
        """Click a link within the page, which opens in the same tab."""
        self.page.get_by_test_id("stMain").get_by_role("link", name=label).first.click()
        self._see(heading)
        self.actions += 1

    def go_to(self, page_name: str, heading: str) -> None:
        """Click a page's name in the navigation."""
        self.page.get_by_test_id("stHeader").get_by_role("link", name=page_name, exact=True).click()
        self._see(heading)
        self.actions += 1

    def press(self, button: str) -> None:
        """Click a button of the page itself: Streamlit's header has others while a slow script runs."""
        self._button(button).click()
        self.actions += 1

    def download(self, button: str) -> Any:
        """Click a download button; return what is downloaded."""
        with self.page.expect_download() as saved:
            self._button(button).click()
        self.actions += 1
        return saved.value

    def query(self) -> dict[str, str]:
        """Return the parameters of the page's address."""
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.page.url).query).items()}

    def _button(self, name: str) -> Locator:
        main = self.page.get_by_test_id("stMainBlockContainer")
        return main.get_by_role("button", name=name, exact=True).first

    def _says(self, value: str) -> None:
        assert value not in self.typed, f"{value!r} is said a second time"
        self.typed.append(value)

    def _see(self, heading: str) -> None:
        self.page.get_by_role("heading", name=heading, exact=True).wait_for(timeout=PATIENCE_MS)
        wait_until_at_rest(self.page)
