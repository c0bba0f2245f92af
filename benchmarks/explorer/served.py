"""The explorer on a port of this machine, and the system's Chromium to look at it with."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from explorer.served.guard import TOKEN_VARIABLE, cookie_name

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
_PATIENCE_S = 90
_TOKEN = "of-a-benchmark"


@contextmanager
def served(command: Sequence[str], port_option: str, folder: Path = ROOT) -> Iterator[str]:
    """Address of a server that `command` starts on the port it is given last; stopped afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, *command, f"{port_option}={port}"],
        cwd=folder,
        env={**os.environ, TOKEN_VARIABLE: _TOKEN},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + _PATIENCE_S
        while not _is_up(f"{address}/_stcore/health"):
            if time.monotonic() > end or server.poll() is not None:
                raise SystemExit("the explorer did not start")
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=20)


def explorer(storage: str | None = None) -> tuple[str, ...]:
    """The command that serves the explorer, to be followed by `--port`."""
    over = ("--storage", storage) if storage else ()
    return (str(ROOT / "cli.py"), "app", "--headless", *over)


def visitor(browser: Browser, address: str, **options: Any) -> BrowserContext:
    """A visitor who was never there, but has the token of the address that `sizer app` prints."""
    context = browser.new_context(**options)
    name = cookie_name(urlsplit(address).port or 0)
    context.add_cookies([{"name": name, "value": _TOKEN, "url": address}])
    return context


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def _is_up(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except (urllib.error.URLError, ConnectionError):
        return False
