"""axe-core, the checker that browsers' audits use, on every page of the explorer; every page on a phone."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests.explorer.in_browser import missing, wait_until_at_rest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]

# What is wrong, how badly, and where: only what one of our own elements is part of. Streamlit's own widgets,
# its header and its menus are its makers' to mend.
_RUN_AXE = """
async () => {
  const found = await axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'],
                                         resultTypes: ['violations']});
  return found.violations.map(v => ({id: v.id, impact: v.impact, help: v.help,
    nodes: v.nodes.map(n => ({target: n.target.join(' '), html: n.html.slice(0, 200),
                              summary: n.failureSummary}))}));
}
"""


def pages() -> dict[str, str]:
    """Address of every page by its title, as the navigation lists them."""
    found = {}
    navigation = (ROOT / "explorer" / "served" / "navigation.py").read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(navigation)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "Page":
            words = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
            found[str(words["title"])] = "" if words.get("default") else str(words["url_path"])
    return found


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core, as the package axe-playwright-python brings it."""
    spec = find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        missing("axe-playwright-python is not installed")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def open_page(page: Page, address: str, path: str) -> None:
    """Open a page and wait until its script has run and its figures are drawn."""
    page.goto(f"{address}/{path}", wait_until="commit")
    page.get_by_test_id("stMainBlockContainer").get_by_role("heading").first.wait_for()
    wait_until_at_rest(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("title", pages())
def test_no_serious_violation(
    page: Page, address: str, axe: str, title: str, scheme: Literal["light", "dark"]
) -> None:
    page.emulate_media(color_scheme=scheme)
    open_page(page, address, pages()[title])
    page.evaluate(axe)
    page.evaluate(_MAKE_WRONG)  # so that a checker that finds nothing is not taken for a page without faults
    ours = found_by_axe(page)
    if len(ours) > 1:  # what is drawn again is faint for a moment on a busy machine: a fault stays
        page.wait_for_timeout(2000)
        wait_until_at_rest(page)
        ours = found_by_axe(page)
    assert len(ours) == 1, ours
    assert "image-alt" in ours[0]
    assert 'id="wrong"' in ours[0]


def found_by_axe(page: Page) -> list[str]:
    """Serious violations on elements of ours, one text each."""
    serious = [v for v in page.evaluate(_RUN_AXE) if v["impact"] in ("serious", "critical")]
    return [
        f"{v['id']} ({v['impact']}): {node['target']} {node['html']}"
        for v in serious
        for node in v["nodes"]
        if page.evaluate(_IS_OURS, node["target"])
    ]


_MAKE_WRONG = """
() => { const image = document.createElement('img');
        image.id = 'wrong'; image.src = 'data:image/gif;base64,R0lGODlhAQABAAAAACw=';
        document.querySelector('[data-testid=stHeading]').append(image); }
"""

# Ours: what st.html, st.markdown and st.plotly_chart draw; not a widget's own label, which Streamlit styles.
_IS_OURS = """
target => {
  const node = document.querySelector(target);
  return !!(node && node.closest('.stHtml, [data-testid=stMarkdown], [data-testid=stCaptionContainer],' +
    '[data-testid=stPlotlyChart], [data-testid=stHeading]'));
}
"""


@pytest.mark.parametrize("title", pages())
def test_nothing_runs_off_a_narrow_screen(page: Page, address: str, title: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_page(page, address, pages()[title])
    wider = page.evaluate(
        "[...document.querySelectorAll('[data-testid=stMainBlockContainer] *')].filter(e =>"
        " e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.sizer-scroll, [role=tablist],"
        " [data-testid=stDataFrame], [data-testid=stCode], svg, [data-testid=stTabs]'))"
        ".map(e => e.outerHTML.slice(0, 120))"
    )
    assert wider == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
