"""Images of figures: notes where no browser is or where it fails, its end at the limit; and real ones."""

from __future__ import annotations

import os
import re
import struct
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from reports.export import images
from reports.export.images import BrowserFailed, _wanted, draw, find_chromium, print_pdf, write_images
from reports.figures import frontier_figure, frontier_info
from reports.figures.study import study_figures
from reports.html.study_page import write_report
from search.store.results import SearchResult


def program(folder: Path, text: str) -> str:
    """A shell script that stands where a browser is looked for."""
    path = folder / "browser"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_without_a_browser_there_is_a_note(
    result: SearchResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(images.CHROMIUM_VARIABLE, "")
    monkeypatch.setattr(images, "_PLACES", ())
    assert find_chromium() is None
    assert write_images(result, (), tmp_path / "report.html") == ({}, (images.NO_BROWSER,))


def test_the_environment_names_the_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = program(tmp_path, "exit 0")
    monkeypatch.setenv(images.CHROMIUM_VARIABLE, named)
    assert find_chromium() == named
    monkeypatch.setenv(images.CHROMIUM_VARIABLE, str(tmp_path / "missing"))
    assert find_chromium() is None


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 0", "the browser ended before the figures were drawn"),
        ("exit 3", "browser ended with code 3"),
        ("echo '<pre>@images-begin@ cut'", "the browser ended before the figures were drawn"),
    ],
)
def test_a_browser_that_fails(result: SearchResult, tmp_path: Path, script: str, message: str) -> None:
    figure = frontier_figure(frontier_info(result))
    with pytest.raises(BrowserFailed, match=message):
        draw({"frontier": figure}, program(tmp_path, script))


def test_a_browser_that_prints_nothing(tmp_path: Path) -> None:
    with pytest.raises(BrowserFailed, match="printed nothing"):
        print_pdf(tmp_path / "page.html", program(tmp_path, "exit 0"))


def test_a_browser_that_cannot_be_started(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program", encoding="utf-8")
    with pytest.raises(BrowserFailed, match="text cannot be started"):
        print_pdf(tmp_path / "page.html", str(tmp_path / "text"))


def test_a_browser_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    # the child holds the output open: killing its parent alone would leave us waiting for it
    browser = program(tmp_path, f"sleep 300 & echo $! > {tmp_path}/child\nwait")
    begun = time.monotonic()
    with pytest.raises(BrowserFailed, match="took more than 1 s"):
        print_pdf(tmp_path / "page.html", browser, limit_s=1.0)
    assert time.monotonic() - begun < 60
    child = int((tmp_path / "child").read_text(encoding="utf-8"))
    for _ in range(100):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        state = Path(f"/proc/{child}/stat")
        if state.is_file() and state.read_text(encoding="utf-8").split()[2] == "Z":
            return  # dead, and not yet collected
        time.sleep(0.1)
    pytest.fail("the browser's child is still running")


def test_failures_become_notes(result: SearchResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(images.CHROMIUM_VARIABLE, program(tmp_path, "exit 3"))
    files, notes = write_images(result, (), tmp_path / "report.html")
    assert files == {}
    assert [note.partition(":")[0] for note in notes] == ["no images of the figures", "no report.pdf"]


def test_a_long_subtitle_wraps_in_an_image(result: SearchResult) -> None:
    figure = study_figures(result)["frontier-file_bytes"]
    wanted = _wanted("one", figure)
    text, lines = (
        figure.layout.title.subtitle.text,
        wanted["layout"]["title"]["subtitle"]["text"].split("<br>"),
    )
    assert " ".join(lines) == text
    assert len(lines) > 1
    assert max(map(len, lines)) <= 115
    more = wanted["height"] - figure.layout.height
    assert more > 0
    assert wanted["layout"]["margin"]["t"] == figure.layout.margin.t + more


@pytest.mark.browser
def test_figures_and_page_by_a_real_browser(result: SearchResult, tmp_path: Path) -> None:
    browser = find_chromium()
    if browser is None:
        pytest.skip("no Chromium")
    page = write_report(result, tmp_path).html
    files, notes = write_images(result, (), page)
    assert notes == ()
    assert files["report.pdf"].read_bytes().startswith(b"%PDF-")
    drawn = files["figures/frontier-file_bytes.png"].read_bytes()
    assert drawn.startswith(b"\x89PNG")
    # 960 x 540 at twice the pixels, and a second line of the subtitle
    assert struct.unpack(">II", drawn[16:24]) == (1920, 1112)
    svg = ElementTree.fromstring(files["figures/frontier-file_bytes.svg"].read_text(encoding="utf-8"))
    texts = {"".join(node.itertext()).strip() for node in svg.iter() if node.tag.endswith("text")}
    assert "Bits per byte against file size" in texts
    assert sum(bool(re.match(r"\d+ x \d+", text)) for text in texts) >= 3  # labels of the frontier's models
    assert sum(name.endswith(".svg") for name in files) == sum(name.endswith(".png") for name in files) >= 7
