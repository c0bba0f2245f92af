"""Curves in HTML: places worked out by hand, what is escaped, and what is left out."""

from __future__ import annotations

import re
from urllib.parse import unquote

from reports.figures.line_charts import LineChart
from reports.html.line_chart import curve_html

# Ten to a thousand over 92 % of the width, 4 % of the span beside; 100 up to 1 / 1.06 of the height.
LINE = LineChart(
    title="<speed>",
    subtitle="a & b",
    x=(10.0, 100.0, 1000.0),
    y=(20.0, 50.0, 100.0),
    low=(),
    high=(),
    hover=("ten", "<script>alert(1)</script>", "most"),
    marked=1,
    x_title="context",
    y_title="rate",
    x_ticks=((1.0, "1"), (10.0, "10"), (1000.0, "1K"), (10_000.0, "10K")),
    y_ticks=((0.0, "0"), (50.0, "50"), (200.0, "200")),
    joined=True,
    limit=None,
    limit_text="",
)
_POINT = re.compile(r'<li(?: class="([a-z ]*)")? style="left:([\d.]+)%;bottom:([\d.]+)%"><span>(.*?)</span>')


def _drawing(html: str) -> str:
    (found,) = re.findall(r'src="data:image/svg\+xml,([^"]*)"', html)
    return unquote(found)


def test_points_lie_where_they_belong() -> None:
    # (1 + 0.08) / 2.16 = 50 %; 0.08 / 2.16 = 3.70 %; 20 / 106 = 18.87 %
    assert _POINT.findall(curve_html(LINE, "c")) == [
        ("", "3.70", "18.87", "ten"),
        ("now", "50.00", "47.17", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("right", "96.30", "94.34", "most"),
    ]


def test_labels_outside_the_axes_are_left_out() -> None:
    html = curve_html(LINE, "c")
    assert re.findall(r'<span style="left:([\d.]+)%">(.*?)</span>', html) == [("3.70", "10"), ("96.30", "1K")]
    assert re.findall(r'<span style="top:([\d.]+)%">(.*?)</span>', html) == [("100.00", "0"), ("52.83", "50")]
    assert html.count("<b style=") == 2  # a line behind each


def test_the_line_and_its_band() -> None:
    drawing = _drawing(curve_html(LINE, "c"))
    assert '<polyline points="3.70 81.13 50.00 52.83 96.30 5.66"' in drawing
    assert "<polygon" not in drawing
    ranged = LINE._replace(low=(10.0, 40.0, 80.0), high=(30.0, 60.0, 125.0))  # 132.5 is the top now
    assert (
        '<polygon points="3.70 77.36 50.00 54.72 96.30 5.66 96.30 39.62 50.00 69.81 3.70 92.45"'
        in _drawing(curve_html(ranged, "c"))
    )


def test_points_apart_have_bars_and_no_line() -> None:
    html = curve_html(LINE._replace(low=(10.0, 40.0, 80.0), high=(30.0, 60.0, 125.0), joined=False), "c")
    assert "<img" not in html
    bars = re.findall(r'<i style="left:([\d.]+)%;bottom:([\d.]+)%;height:([\d.]+)%">', html)
    assert bars == [("3.70", "7.55", "15.09"), ("50.00", "30.19", "15.09"), ("96.30", "60.38", "33.96")]


def test_a_limit_is_a_line_with_words() -> None:
    html = curve_html(LINE._replace(limit=200.0, limit_text="usable <5>"), "c")  # 212 is the top now
    assert '<b class="limit" style="bottom:94.34%"><span>usable &lt;5&gt;</span></b>' in html
    assert _POINT.findall(html)[2][2] == "47.17"


def test_texts_are_escaped_and_a_single_point_is_in_the_middle() -> None:
    one = LINE._replace(x=(64.0,), y=(1.0,), hover=("&",), marked=None, x_ticks=((64.0, "<64>"),))
    html = curve_html(one, "c", level=4)
    assert '<h4 id="title-c">&lt;speed&gt;</h4>' in html
    assert "<figcaption>a &amp; b</figcaption>" in html
    assert _POINT.findall(html) == [("", "50.00", "94.34", "&amp;")]
    assert "&lt;64&gt;" in html
