"""Bars in HTML: widths are shares of the longest, limits lie where they belong, names stay text."""

from __future__ import annotations

import re
from dataclasses import replace

from reports.figures.breakdowns import Bar, BreakdownInfo, memory_info, parameters_info
from reports.figures.stacked_bars import StackInfo, StackPart
from reports.html.bars import breakdown_html, stack_html
from sizer.model_estimate import Estimate

_WIDTH = re.compile(r"width:([\d.]+)%")
_LIMIT = re.compile(r"left:calc\(([\d.]+)%")


def _rows(html: str) -> list[str]:
    return re.findall(r"<tr.*?</tr>", html)


def test_bars_are_as_long_as_their_share_of_the_longest(worked_out: Estimate) -> None:
    info = parameters_info(worked_out)
    html = breakdown_html(info, "x")
    longest = max(bar.value for bar in info.bars)
    assert len(_rows(html)) == len(info.bars)
    for row, bar in zip(_rows(html), info.bars, strict=True):
        assert f'<th scope="row">{bar.label}</th>' in row
        assert f"<td>{bar.text}</td><td>{bar.share}</td>" in row
        assert _WIDTH.findall(row) == ([f"{100 * bar.value / longest:.2f}"] if bar.value else [])
    assert not _LIMIT.search(html)


def test_the_budget_is_a_line_across_the_bars(worked_out: Estimate) -> None:
    info = memory_info(worked_out)
    html = breakdown_html(info, "x")
    total = worked_out.memory.total_bytes
    assert info.budget == 16_000_000 < total  # the total is the longest bar
    assert set(_LIMIT.findall(html)) == {f"{100 * 16_000_000 / total:.2f}"}
    assert "dashed: memory limit 16 MB" in html
    roomy = memory_info(replace(worked_out, held=worked_out.memory._replace(budget_bytes=total + total // 2)))
    html = breakdown_html(roomy, "x")
    assert set(_LIMIT.findall(html)) == {"100.00"}
    assert _WIDTH.findall(html)[-1] == "66.67"


def test_nothing_at_all_is_drawn() -> None:
    empty = BreakdownInfo("t", "s", (Bar("none", 0, "0", "0.0 %"),), "#000", "", 1.0, (), None, "")
    assert "<i" not in breakdown_html(empty, "x")


def _stack(limit: float | None) -> StackInfo:
    parts = (
        StackPart("weights", "#0072B2", (3.0, 3.0), ("3 s, 75.0 %", "3 s, 50.0 %")),
        StackPart("KV cache", "#D55E00", (1.0, 3.0), ("1 s, 25.0 %", "3 s, 50.0 %")),
    )
    return StackInfo("A step", "of two bars", ("now", "full"), ("4 s", "6 s"), parts, limit, "dashed: most")


def test_a_stack_has_its_parts_in_order_and_a_key() -> None:
    bars, key = re.findall(r"<table.*?</table>", stack_html(_stack(None), "x"), flags=re.DOTALL)
    assert [_WIDTH.findall(row) for row in _rows(bars)] == [["50.00", "16.67"], ["50.00", "50.00"]]
    assert re.findall(r"<td>(.*?)</td>", bars) == ["4 s", "6 s"]
    head, weights, cache = _rows(key)
    assert re.findall('<th scope="col">(.*?)</th>', head) == ["now", "full"]
    assert "background:#0072B2" in weights
    assert re.findall(r"<td>(.*?)</td>", cache) == ["1 s, 25.0 %", "3 s, 50.0 %"]


def test_a_stacks_limit_may_lie_beyond_its_bars() -> None:
    html = stack_html(_stack(12.0), "x")
    assert _LIMIT.findall(html) == ["100.00", "100.00"]
    assert _WIDTH.findall(html) == ["25.00", "8.33", "25.00", "25.00"]
    assert "dashed: most" in html


def test_names_stay_text() -> None:
    evil = "<script>alert(1)</script>"
    bar = BreakdownInfo(evil, evil, (Bar(evil, 1, evil, evil),), "#000", "", 1.0, (), 1, evil)
    part = StackPart(evil, "#000", (1.0,), (evil,))
    for html in (
        breakdown_html(bar, "x"),
        stack_html(StackInfo(evil, evil, (evil,), (evil,), (part,), 2.0, evil), "x"),
    ):
        assert "<script" not in html
        assert html.count("&lt;script&gt;") >= 5
