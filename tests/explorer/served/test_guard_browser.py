"""The explorer in a real browser that also has a page of another origin open: that page starts nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from explorer.served.guard import TOKEN_VARIABLE
from tests.explorer.in_browser import PATIENCE_MS, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

TOKEN = "a-token-of-the-test"

# Opens a WebSocket as Streamlit's front end does: "open", or "refused".
_OPEN_SOCKET = """
address => new Promise(done => {
  const socket = new WebSocket(address.replace('http', 'ws') + '/_stcore/stream', ['streamlit']);
  socket.onopen = () => { socket.close(); done('open'); };
  socket.onerror = () => done('refused');
})
"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def another_page(folder: Path, address: str, host: str) -> Iterator[str]:
    """Address of a page of another local server, that frames the explorer's search page."""
    frame = f'<p>other</p><iframe src="{address}/search?max_size=100kB" width=900 height=900></iframe>'
    (folder / "index.html").write_text(frame, encoding="utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{host}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A page that may see errors and refusals, unlike the fixture `page`."""
    with browser.new_context() as context:
        opened = context.new_page()
        opened.set_default_timeout(PATIENCE_MS)
        yield opened


@pytest.mark.parametrize("token", [TOKEN, None])
def test_a_page_of_another_origin_can_start_nothing(
    tab: Page, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    folder, site = tmp_path / "folder", tmp_path / "site"
    folder.mkdir()
    site.mkdir()
    if token is None:
        monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(TOKEN_VARIABLE, token)
    with served(root / "app.py", folder, tmp_path / "server.log") as address:
        # the browser knows the token, and its own page works: the same calls from there are answered
        tab.goto(f"{address}/search?max_size=100kB" + (f"&token={token}" if token else ""))
        tab.get_by_role("button", name="Start the search", exact=True).wait_for()
        assert tab.evaluate(_OPEN_SOCKET, address) == "open"
        for host in ("127.0.0.1", "localhost"):
            with another_page(site, address, host) as other:
                tab.goto(other)
                tab.get_by_text("other", exact=True).wait_for()
                framed = tab.frames[1]
                framed.wait_for_load_state()
                assert framed.url.startswith("chrome-error://")
                assert framed.get_by_role("button").count() == 0
                assert tab.evaluate(_OPEN_SOCKET, address) == "refused"
                reading = f"fetch('{address}/_stcore/health').then(() => 'read', () => 'refused')"
                assert tab.evaluate(reading) == "refused"
    assert list(folder.iterdir()) == []


def test_a_link_works_once_the_browser_has_the_token(
    tab: Page, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    with served(root / "app.py", tmp_path, tmp_path / "server.log") as address:
        refused = tab.goto(f"{address}/size?format=Q8_0")
        assert refused is not None
        assert refused.status == 403
        assert "by the address that `sizer app` printed" in tab.locator("body").inner_text()
        tab.goto(f"{address}/?token={TOKEN}")
        tab.get_by_role("heading").first.wait_for()
        assert TOKEN not in tab.url
        tab.goto(f"{address}/size?format=Q8_0")
        tab.locator(".sizer-tiles").first.wait_for()
        assert tab.url == f"{address}/size?format=Q8_0"
        menu = tab.get_by_test_id("stSelectbox").filter(has_text="Format").get_by_role("combobox")
        assert menu.input_value() == "Q8_0"
    assert f"The explorer is at {address}/?token={TOKEN}" in (tmp_path / "server.log").read_text("utf-8")
