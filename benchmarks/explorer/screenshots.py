"""Pictures of the explorer and of a report for the README, taken by the system's Chromium.

    python benchmarks/explorer/screenshots.py [--out docs/images] [--storage URL] [--study NAME]

Shows the committed example study, by a path from the repository root, so that the pictures can be taken again
by anyone; what is on them is what the commands print. CHROMIUM names another browser than Debian's.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.explorer.served import ROOT, chromium, explorer, served, visitor

if TYPE_CHECKING:
    from playwright.sync_api import Page

_WIDTH, _HEIGHT = 1440, 1000
_PATIENCE_S = 90
_SETTLES_MS = 3000  # figures fade in, fields take their values
# of a page of the explorer; a report has no script
_ENDED = """
() => {
  const app = document.querySelector('[data-testid=stApp]');
  return !app || app.dataset.testScriptState === 'notRunning';
}
"""

# file name: the page's address, and how many figures it must have drawn
PAGES = {
    "size": ("size?model=SmolLM2-135M", 0),
    "compare": ("compare", 0),
    "design": ("design", 1),
    "search": ("search", 0),
    "study": ("study?study={study}", 1),
    "evidence": ("evidence", 0),
}


def take(page: Page, address: str, figures: int, to: Path) -> None:
    """One picture of a page once nothing on it is running any more."""
    page.goto(address)
    page.get_by_role("heading").first.wait_for()
    if figures:
        page.locator(".js-plotly-plot .main-svg").nth(figures - 1).wait_for(state="attached")
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")
    # on a busy machine fields and tables are grey bars for seconds after the script has ended
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')")
    page.wait_for_function(_ENDED)
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
    with (
        chromium() as browser,
        served(explorer(given.storage), "--port") as address,
        tempfile.TemporaryDirectory() as temporary,
    ):
        page = visitor(browser, address, viewport={"width": _WIDTH, "height": _HEIGHT}).new_page()
        page.set_default_timeout(1000 * _PATIENCE_S)
        for name, (path, figures) in PAGES.items():
            path = path.format(study=given.study)
            take(page, f"{address}/{path}", figures, given.out / f"{name}.png")
        html = report(given.study, given.storage, Path(temporary))
        take(page, html.as_uri(), 1, given.out / "report.png")


if __name__ == "__main__":
    main()
