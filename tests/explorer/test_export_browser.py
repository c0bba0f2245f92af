"""A finalist's weights in a real browser: exported, verified, talked to; a shape's config.json taken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from search.export.generate import generate
from tests.explorer.in_browser import open_results, served, wait_until_at_rest
from tests.search.export.conftest import MakeStudy, make_study, storage, tiny  # noqa: F401

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
pytest.importorskip("xllamacpp")


@pytest.fixture
def address(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.delenv("SIZER_STORAGE", raising=False)
    with served(root / "app.py", tmp_path, tmp_path / "server.log") as found:
        yield found


def test_a_finalist_is_exported_verified_and_talked_to(
    page: Page,
    address: str,
    make_study: MakeStudy,  # noqa: F811
    tmp_path: Path,
) -> None:
    make_study(tiny(), learning_rate=1.5e-3)
    open_results(page, address)
    page.get_by_role("button", name="Export", exact=True).click()
    path = tmp_path / "runs" / "s" / "export" / "0-Q4_0.gguf"
    page.get_by_text("recomputed").wait_for()
    size = path.stat().st_size
    page.get_by_text(f"{size:,} bytes").wait_for()
    wait_until_at_rest(page)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download", exact=True).click()
    saved.value.save_as(tmp_path / "taken.gguf")
    assert (tmp_path / "taken.gguf").read_bytes() == path.read_bytes()

    page.get_by_role("button", name="Verify", exact=True).click()
    drawn = page.get_by_role("table").filter(has=page.get_by_role("rowheader", name="bits per byte"))
    rows = drawn.get_by_role("row").filter(has=page.get_by_role("rowheader"))
    rows.first.wait_for()
    table = {
        row.get_by_role("rowheader").inner_text(): [c.inner_text() for c in row.get_by_role("cell").all()]
        for row in rows.all()
    }
    assert table["file"] == [f"{size:,} B", "", f"{size:,} B", "yes"]
    assert {name: cells[-1] for name, cells in table.items()} == {
        **dict.fromkeys(("file", "weights", "bits per byte", "memory"), "yes"),
        **dict.fromkeys(("load", "prefill, tokens/s", "decode, tokens/s"), "not compared"),
    }
    assert all(cells[2] not in ("", "-") for cells in table.values())  # measured, also where not compared

    talk = page.get_by_test_id("stExpander").filter(has_text="Talk to it")
    talk.get_by_text("Talk to it", exact=True).click()
    wait_until_at_rest(page)  # a click while it opens can be lost
    talk.get_by_role("textbox", name="Prompt").fill("def function")
    talk.get_by_role("button", name="Generate", exact=True).click()
    page.get_by_text(re.compile(r"tokens written by llama\.cpp.* Trained on")).wait_for()
    answer = talk.get_by_test_id("stCode").inner_text()
    written = generate(path, "def function", tokens=200, temperature=0.8, seed=0)
    page.get_by_text(f"{written.tokens} tokens written by llama.cpp").wait_for()
    assert answer.startswith("def function")
    assert "".join(answer.split()) == "".join((written.prompt + written.text).split())
