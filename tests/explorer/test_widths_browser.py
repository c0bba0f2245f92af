"""Every page at the widths that people have, light and dark: no text is cut, covered or off the page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.explorer.in_browser import PATIENCE_MS, wait_until_at_rest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
SETTLED_S = 15
WIDTHS = (390, 640, 768, 1024, 1152, 1280, 1440, 1920)
# The theme changes no place of a text by itself: every other width is enough, and one beyond the others.
DARK_WIDTHS = (390, 768, 1280, 1920)

# Parts of the main column: texts that end outside of what shows them, texts that lie on one another, and
# headline figures that do not say all of their text.
FAULTS = """
() => {
  const main = document.querySelector('[data-testid=stMain]');
  const scrolls = '.sizer-scroll, [class*=st-key-scroll_], [role=tablist], [data-testid=stDataFrame],' +
    ' [data-testid=stCode], pre, [data-testid=stTabs] > div:first-child, [data-testid=stSidebar],' +
    ' .hoverlayer';
  const words = [];
  const walker = document.createTreeWalker(main, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const owner = node.parentElement;
    if (!node.data.trim() || owner.closest('style, script, option, title, [aria-hidden=true] svg')) continue;
    if (owner.closest(scrolls) || !owner.checkVisibility({opacityProperty: true, visibilityProperty: true}))
      continue;
    if (owner.closest('.sizer-curve li')) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects())
      if (box.width > 1 && box.height > 1) words.push({text: node.data.trim().slice(0, 40), box, owner});
  }
  const found = [];
  const right = Math.min(innerWidth, main.getBoundingClientRect().right) + 1;
  for (const {text, box} of words)
    if (box.right > right || box.left < -1) found.push(`off the page: ${text}`);
  for (const value of document.querySelectorAll('.sizer-tiles dd, .sizer-tiles dt, .sizer-bars, h1, h2, h3'))
    if (value.scrollWidth > value.clientWidth + 1) found.push(`cut: ${value.innerText.slice(0, 60)}`);
  for (let i = 0; i < words.length; i++)
    for (let j = i + 1; j < words.length; j++) {
      const [a, b] = [words[i], words[j]];
      if (a.owner === b.owner || a.owner.contains(b.owner) || b.owner.contains(a.owner)) continue;
      const width = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
      const height = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
      if (width > 2 && height > 4) found.push(`on one another: ${a.text} | ${b.text}`);
    }
  // a table may be wider than a phone, and is then moved sideways; on wider screens it is whole
  for (const table of document.querySelectorAll('.sizer-scroll'))
    if (innerWidth >= 768 && table.scrollWidth > table.clientWidth + 1)
      found.push(`table cut: ${table.innerText.slice(0, 40)}`);
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) found.push('page too wide');
  return [...new Set(found)].slice(0, 8);
}
"""

# Texts of the main column and of figures whose colour is near that of the page: below 3 to 1, which large
# text must have at least. axe-core looks at no text of a drawing.
FAINT = """
() => {
  const channels = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const linear = value => (value /= 255) <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const found = channels(getComputedStyle(e).backgroundColor);
      if (found.length >= 3 && (found[3] ?? 1) > .5) return found;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const drawn of document.querySelectorAll('.js-plotly-plot svg text, .sizer-curve svg text,' +
      ' .sizer-tiles :is(dt, dd), .sizer-table :is(td, th), .sizer-bars, .sizer-words *,' +
      ' [data-testid=stMarkdown] :is(p, li), [data-testid=stHeading] *')) {
    if (!drawn.textContent.trim()) continue;
    if (!drawn.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    const style = getComputedStyle(drawn), isDrawing = drawn.closest('svg') !== null;
    const back = behind(drawn.closest('.js-plotly-plot') || drawn);
    const ink = channels(isDrawing ? style.fill : style.color);
    const share = (ink[3] ?? 1) * Number(style.opacity);
    const seen = ink.slice(0, 3).map((value, i) => share * value + (1 - share) * back[i]);
    const [high, low] = [luminance(seen), luminance(back)].sort((a, b) => b - a);
    const contrast = (high + .05) / (low + .05);
    if (contrast < 3 && !drawn.closest('.points, .textpoint'))
      found.push(`${contrast.toFixed(1)} to 1: ${drawn.textContent.trim().slice(0, 40)}`);
  }
  return [...new Set(found)].slice(0, 8);
}
"""

PAGES = {
    "start": "",
    "users": "users?start=a+parameter+count&count=350M",
    "size": "size?start=a+parameter+count&count=350M&device=galaxy-s24&context=4096",
    "design": "design?device=galaxy-s24&max_size=20MB&min_decode=100&context=1024&formats=Q4_K_M",
    "compare": "compare",
    "search": "search",
    "results": "study?storage=sqlite:///studies.db",
    "evidence": "evidence",
}


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_cut_or_covered(page: Page, address: str, name: str) -> None:
    page.set_viewport_size({"width": WIDTHS[-1], "height": 1000})
    page.goto(f"{address}/{PAGES[name]}", wait_until="commit")
    page.get_by_test_id("stMainBlockContainer").get_by_role("heading").first.wait_for(timeout=PATIENCE_MS)
    wait_until_at_rest(page)
    faults = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        for width in WIDTHS if scheme == "light" else DARK_WIDTHS:
            page.set_viewport_size({"width": width, "height": 1000})
            if found := faults_at_rest(page):
                faults[f"{width} {scheme}"] = found
        if found := page.evaluate(FAINT):
            faults[f"contrast {scheme}"] = found
    assert faults == {}


def faults_at_rest(page: Page) -> list[str]:
    """Faults that stay: figures follow the window's width a moment after it."""
    end = time.monotonic() + SETTLED_S
    while found := page.evaluate(FAULTS):
        if time.monotonic() > end:
            return list(found)
        page.wait_for_timeout(200)
    return []
