"""The size page in a real browser: pasting, uploading, an address that brings everything back, copying."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from benchmarks.explorer.pages import size_page_bytes
from sizer.readers.model_bytes import MAX_UPLOAD_MB
from sizer.registry import models
from sizer.tensors import count_parameters, tensor_specs
from sizer.units import format_bytes, format_bytes_binary, format_count
from tests.explorer.in_browser import choose, metric, wait_for_metric, wait_until_at_rest
from tests.sizer.readers.handmade import write_gguf

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
CONFIG = json.dumps(dict(models()["OpenELM-450M"].config))


def open_at(page: Page, address: str) -> None:
    """Open the page and wait for its figures."""
    page.goto(address, wait_until="commit")
    page.locator(".sizer-tiles").first.wait_for()


def test_pasting_sharing_and_copying(page: Page, address: str, sizer: Callable[..., Any]) -> None:
    open_at(page, f"{address}/size")
    choose(page, "Start from", "a config or GGUF file")
    box = page.get_by_label("Paste a config.json")
    box.fill("<script>alert(1)</script>")
    box.press("Control+Enter")
    page.get_by_text("'the pasted text' is not JSON").wait_for()
    box.fill(CONFIG)
    box.press("Control+Enter")
    page.locator(".sizer-tiles").first.wait_for()
    assert metric(page, "Parameters") == "457.2M"
    before = metric(page, "File")
    choose(page, "Format", "Q8_0")
    file = wait_for_metric(page, "File", before)

    # the address alone brings it back
    page.wait_for_function("location.search.includes('shape=') && location.search.includes('Q8_0')")
    query = dict(parse_qsl(urlsplit(page.url).query))
    assert set(query) == {"start", "shape", "name", "format"}
    page.goto("about:blank")
    open_at(page, f"{address}/size?{urlencode(query)}")
    assert (metric(page, "Parameters"), metric(page, "File")) == ("457.2M", file)

    # and the copied command says the same
    page.get_by_role("tab", name="Link and code").click()
    command = page.get_by_test_id("stCode").first.inner_text().strip()
    words = shlex.split(command)
    assert words[:2] == ["sizer", "estimate"]
    document = sizer(*words[1:], "--json").json
    assert format_count(document["parameters"]["total"]) == "457.2M"
    assert format_bytes(document["weights"]["file_bytes"]) == file


def test_curves_say_what_the_command_says(page: Page, address: str, sizer: Callable[..., Any]) -> None:
    open_at(page, f"{address}/size")
    page.get_by_role("tab", name="Context").click()
    memory = page.locator(".sizer-curve").filter(has_text="Memory over context")
    now, other = memory.locator("li.now"), memory.locator("li").last
    texts = [now.locator("span").inner_text(), other.locator("span").inner_text()]
    for text, context in zip(texts, ("2048", "8192"), strict=True):
        options = ("SmolLM2-135M", "--format", "Q4_K_M", "--device", "raspberry-pi-5", "--json")
        found = sizer("estimate", *options, "--context", context).json["memory"]
        assert text == (
            f"{int(context):,} tokens: {format_bytes_binary(found['total_bytes'])}, KV cache "
            f"{format_bytes_binary(found['kv_cache_bytes'])}"
        )
    # a point says so under the pointer, and its drawing came through what the page lets through
    for point in (now, other):
        assert point.locator("span").evaluate("e => getComputedStyle(e).opacity") == "0"
        point.hover()
        assert point.locator("span").evaluate("e => getComputedStyle(e).opacity") == "1"
    line = memory.locator(".plot > img")
    assert line.evaluate("e => e.complete && e.naturalWidth > 0 && e.getBoundingClientRect().height > 200")
    page.get_by_role("tab", name="Formats").click()
    now = page.locator(".sizer-curve").filter(has_text="File over bits").locator("li.now span")
    assert now.inner_text().startswith(f"Q4_K_M: {metric(page, 'File')}, ")


def test_uploading(page: Page, address: str, tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>.json"
    (tmp_path / "pythia.json").write_text(json.dumps(dict(models()["pythia-70m"].config)), encoding="utf-8")
    tiny = replace(models()["SmolLM2-135M"].architecture, vocab_size=96, hidden_size=64, num_layers=2)
    write_gguf(tmp_path / "tiny.gguf", tiny)
    open_at(page, f"{address}/size")
    choose(page, "Start from", "a config or GGUF file")
    uploader = page.get_by_test_id("stFileUploader").locator("input[type=file]")
    uploader.wait_for(state="attached")
    content = (tmp_path / "pythia.json").read_bytes()
    uploader.set_input_files({"name": evil, "mimeType": "application/json", "buffer": content})
    page.locator(".sizer-tiles").first.wait_for()
    assert metric(page, "Parameters") == "70.43M"
    assert page.locator("img[src=x]").count() == 0
    assert page.get_by_text("<img src=x onerror=alert(1)>").first.is_visible()
    # the start of a GGUF file is enough: its header
    start = (tmp_path / "tiny.gguf").read_bytes()[:-1000]
    uploader.set_input_files({"name": "start.gguf", "mimeType": "application/octet-stream", "buffer": start})
    total = count_parameters(tensor_specs(tiny)).total
    assert wait_for_metric(page, "Parameters", "70.43M") == format_count(total)
    # and more than the server takes is said in a line
    large = tmp_path / "large.gguf"
    with large.open("wb") as stream:
        stream.truncate(MAX_UPLOAD_MB * 2**20 + 1)
    uploader.set_input_files(large)
    page.get_by_text(re.compile(rf"must be {MAX_UPLOAD_MB}\.?0? ?MB or smaller")).wait_for()


def test_the_size_page_gives_the_shapes_config(page: Page, address: str, tmp_path: Path) -> None:
    page.goto(f"{address}/size")
    page.locator(".sizer-tiles").first.wait_for()
    page.get_by_role("tab", name="Link and code").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="config.json", exact=True).click()
    saved.value.save_as(tmp_path / "config.json")
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert (config["num_hidden_layers"], config["hidden_size"]) == (30, 576)  # SmolLM2-135M
    assert page.get_by_role("button", name="Training plan (zip)", exact=True).is_visible()


def test_a_new_visitor_downloads_little(browser: Browser, address: str) -> None:
    """Streamlit's scripts alone are 2.4 MB as they lie on the disk."""
    num_bytes, requests = size_page_bytes(browser, address)
    assert requests > 50
    assert num_bytes <= 1.5e6


def test_a_moved_slider_styles_what_changed_and_not_the_whole_page(
    page: Page, browser: Browser, address: str, tmp_path: Path
) -> None:
    open_at(page, f"{address}/size")
    wait_until_at_rest(page)
    elements = page.evaluate("document.body.querySelectorAll('*').length")
    slider = page.get_by_test_id("stSlider").filter(has_text="Layers").get_by_role("slider")
    slider.focus()
    before = metric(page, "Parameters")
    browser.start_tracing(page=page, path=tmp_path / "trace.json", categories=["devtools.timeline"])
    slider.press("ArrowRight")
    wait_for_metric(page, "Parameters", before)
    wait_until_at_rest(page)
    browser.stop_tracing()
    trace = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))
    styled = [
        event["args"]["elementCount"]
        for event in trace["traceEvents"]
        if event["name"] == "UpdateLayoutTree" and "elementCount" in event.get("args", {})
    ]
    # figures and tables are about half of the page
    assert 0 < max(styled) < 0.7 * elements
