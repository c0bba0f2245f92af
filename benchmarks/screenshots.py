"""Pictures of the explorer and of a report for the README, taken by the system's Chromium.

    python benchmarks/screenshots.py [--out docs/images] [--storage sqlite:///docs/studies.db] [--study NAME]

Shows the committed example study, by a path from the repository root, so that the pictures can be taken again
by anyone; what is on them is what the commands print. CHROMIUM names another browser than Debian's.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
_WIDTH, _HEIGHT = 1440, 1000
_PATIENCE_S = 90
_SETTLES_MS = 1500  # figures fade in

# file name: the page's address, and how many figures it must have drawn
PAGES = {
    "size": ("?model=SmolLM2-135M", 2),
    "compare": ("compare", 0),
    "design": ("design", 1),
    "search": ("search", 0),
    "study": ("study?study={study}", 1),
    "evidence": ("evidence", 1),
}


@contextmanager
def served(storage: str) -> Iterator[str]:
    """Address of `sizer app` over a storage, stopped afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(ROOT / "cli.py"), "app", "--port", str(port), "--headless"]
    server = subprocess.Popen(
        [*command, "--storage", storage], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + _PATIENCE_S
        while not _is_up(f"{address}/_stcore/health"):
            if time.monotonic() > end or server.poll() is not None:
                raise SystemExit("the explorer did not start")
            time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=20)


def _is_up(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except (urllib.error.URLError, ConnectionError):
        return False


def take(page: Page, address: str, figures: int, to: Path) -> None:
    """One picture of a page once nothing on it is running any more."""
    page.goto(address)
    page.get_by_role("heading").first.wait_for()
    if figures:
        page.locator(".js-plotly-plot .main-svg").nth(figures - 1).wait_for(state="attached")
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")
    page.wait_for_timeout(_SETTLES_MS)
    page.screenshot(path=to)
    print(to)


def report(study: str, storage: str, folder: Path) -> Path:
    """The study's report as a file."""
    command = [sys.executable, str(ROOT / "cli.py"), "search", "report", study, "--storage", storage]
    subprocess.run([*command, "--out", str(folder)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return folder / "report.html"


def main() -> None:
    """Take them all."""
    arguments = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    arguments.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    arguments.add_argument("--storage", default="sqlite:///docs/studies.db")
    arguments.add_argument("--study", default="guided-0")
    given = arguments.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    executable = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    with (
        sync_playwright() as playwright,
        served(given.storage) as address,
        tempfile.TemporaryDirectory() as temporary,
    ):
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
        page.set_default_timeout(1000 * _PATIENCE_S)
        for name, (path, figures) in PAGES.items():
            path = path.format(study=given.study)
            take(page, f"{address}/{path}", figures, given.out / f"{name}.png")
        html = report(given.study, given.storage, Path(temporary))
        take(page, html.as_uri(), 1, given.out / "report.png")
        browser.close()


if __name__ == "__main__":
    main()
