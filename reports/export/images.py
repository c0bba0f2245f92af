"""PNG and SVG of a report's figures and the page as PDF, by a Chromium that is found; a note where none is.

One browser draws all figures: a page of nothing but them asks plotly.js for each image and writes them into
itself, and the browser prints that page's text (`--dump-dom`). So no driver and no package is needed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from base64 import b64decode
from collections.abc import Mapping, Sequence
from html import unescape
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from reports.export.files import write_files
from reports.figures.study import study_figures
from search.store.results import SearchResult

if TYPE_CHECKING:
    from search.run.learning_curves import LearningCurve

CHROMIUM_VARIABLE = "CHROMIUM"
_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "msedge",
)
_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
)
NO_BROWSER = (
    "no images: no Chromium or Chrome was found; install one, or name its program in the environment "
    f"variable {CHROMIUM_VARIABLE}"
)
_FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    # scripts and timers of the page run to their end before it is printed
    "--virtual-time-budget=60000",
)
_LIMIT_S = 120.0
_WIDTH_PX, _SCALE = 960, 2
# of a subtitle of that width: letters in a line, and the height of one
_SUBTITLE_LETTERS, _LINE_PX = 115, 16
_OPEN, _CLOSE = "@images-begin@", "@images-end@"

_DRAW = """
(async function () {
  var figures = JSON.parse(document.getElementById('figures').textContent), images = [];
  for (var figure of figures) {
    var place = document.createElement('div');
    document.body.appendChild(place);
    var size = { width: figure.width, height: figure.height };
    await Plotly.newPlot(place, figure.data, Object.assign({}, figure.layout, size));
    var svg = await Plotly.toImage(place, Object.assign({ format: 'svg' }, size));
    var png = await Plotly.toImage(place, Object.assign({ format: 'png', scale: figure.scale }, size));
    images.push({ name: figure.name, svg: svg, png: png });
    Plotly.purge(place);
    place.remove();
  }
  document.getElementById('images').textContent = BEGIN + JSON.stringify(images) + END;
})();
"""


def find_chromium() -> str | None:
    """Find a Chromium or Chrome: named by the environment, on the path, or at a usual place."""
    named = os.environ.get(CHROMIUM_VARIABLE)
    if named:
        return named if Path(named).is_file() else shutil.which(named)
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    return found or next((place for place in _PLACES if Path(place).is_file()), None)


def write_images(
    result: SearchResult, curves: Sequence[LearningCurve], page: Path, *, limit_s: float = _LIMIT_S
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Write figures/*.svg and *.png and report.pdf next to a page; (files by name, notes on what failed)."""
    browser = find_chromium()
    if browser is None:
        return {}, (NO_BROWSER,)
    notes: list[str] = []
    files: dict[str, Path] = {}
    try:
        images = draw(study_figures(result, curves), browser, limit_s=limit_s)
        written = write_files(page.parent / "figures", images)
        files |= {f"figures/{name}": path for name, path in written.items()}
    except BrowserFailed as error:
        notes.append(f"no images of the figures: {error}")
    try:
        files |= write_files(page.parent, {"report.pdf": print_pdf(page, browser, limit_s=limit_s)})
    except BrowserFailed as error:
        notes.append(f"no report.pdf: {error}")
    return files, tuple(notes)


class BrowserFailed(Exception):
    """The browser did not do what it was asked; the message says why in a line."""


def draw(figures: Mapping[str, go.Figure], browser: str, *, limit_s: float = _LIMIT_S) -> dict[str, bytes]:
    """Draw figures as SVG and PNG files, by file name, on white."""
    wanted = [_wanted(name, figure) for name, figure in figures.items()]
    # cut in two, so that what is looked for in the page's text is not found in the script itself
    begin, end = (f"{json.dumps(mark[:8])} + {json.dumps(mark[8:])}" for mark in (_OPEN, _CLOSE))
    script = _DRAW.replace("BEGIN", begin).replace("END", end)
    # in a script element only "</" could end the data early
    data = json.dumps(wanted).replace("</", "<\\/")
    page = (
        '<!doctype html><html><head><meta charset="utf-8">'
        f"<script>{get_plotlyjs()}</script></head><body>"
        f'<script type="application/json" id="figures">{data}</script><pre id="images"></pre>'
        f"<script>{script}</script></body></html>"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figures.html"
        path.write_text(page, encoding="utf-8")
        text = _run(browser, ["--dump-dom", path.as_uri()], limit_s).decode("utf-8", errors="replace")
    inside = text.rpartition(_OPEN)[2]
    if _CLOSE not in inside:
        raise BrowserFailed("the browser ended before the figures were drawn")
    files = {}
    for image in json.loads(unescape(inside.partition(_CLOSE)[0])):
        files[f"{image['name']}.svg"] = unquote(image["svg"].partition(",")[2]).encode()
        files[f"{image['name']}.png"] = b64decode(image["png"].partition(",")[2])
    return files


def _wanted(name: str, figure: go.Figure) -> dict[str, Any]:
    """Return a figure as the browser draws it: on white, with a subtitle that wraps instead of being cut."""
    figure = go.Figure(figure)
    lines = wrap(figure.layout.title.subtitle.text or "", _SUBTITLE_LETTERS)
    more = max(0, len(lines) - 1) * _LINE_PX
    height = (figure.layout.height or 480) + more
    figure.update_layout(
        title={"subtitle": {"text": "<br>".join(lines)}},
        margin={"t": (figure.layout.margin.t or 0) + more},
        paper_bgcolor="#ffffff",
        plot_bgcolor="#ffffff",
    )
    document = json.loads(figure.to_json())
    return {
        "name": name,
        "data": document["data"],
        "layout": document["layout"],
        "width": _WIDTH_PX,
        "height": height,
        "scale": _SCALE,
    }


def print_pdf(page: Path, browser: str, *, limit_s: float = _LIMIT_S) -> bytes:
    """Print a page as PDF, with its print style."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.pdf"
        _run(browser, ["--no-pdf-header-footer", f"--print-to-pdf={path}", page.resolve().as_uri()], limit_s)
        if not path.is_file():
            raise BrowserFailed("the browser printed nothing")
        return path.read_bytes()


def _run(browser: str, arguments: Sequence[str], limit_s: float) -> bytes:
    """Run a browser with a new profile and return its output; all its processes end at the time limit."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # Chromium refuses its sandbox to root
        as_root = ("--no-sandbox",) if sys.platform != "win32" and os.geteuid() == 0 else ()
        command = [browser, *_FLAGS, *as_root, f"--user-data-dir={profile}", *arguments]
        try:
            running = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            raise BrowserFailed(f"{Path(browser).name} cannot be started: {error.strerror}") from None
        try:
            out, _ = running.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            _end(running)
            raise BrowserFailed(f"{Path(browser).name} took more than {limit_s:g} s") from None
        if running.returncode:
            raise BrowserFailed(f"{Path(browser).name} ended with code {running.returncode}")
        return out


def _end(running: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        running.kill()
    else:
        os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
