"""Points in HTML: places worked out by hand, lines of text under the pointer, what is escaped."""

from __future__ import annotations

import re
from urllib.parse import unquote

from reports.figures.evidence import EvidenceInfo, JudgedPoint
from reports.html.scatter import evidence_html

# One to ten thousand: four powers of ten over the whole of both axes.
INFO = EvidenceInfo(
    title="<speed>",
    subtitle="1 of 2",
    points=(
        JudgedPoint(10.0, 100.0, 10.0, 1000.0, "specification", 'two\nlines "quoted"'),
        JudgedPoint(1000.0, 1000.0, 100.0, 10_000.0, "fitted", "<script>alert(1)</script>"),
    ),
    span=(1.0, 10_000.0),
    ticks=((1.0, "1"), (100.0, "100")),
    what="decode",
)
_POINT = re.compile(
    r'<i(?: class="(\w*)")? style="left:([\d.]+)%;bottom:([\d.]+)%" data-text="(.*?)">', re.DOTALL
)


def test_points_lie_where_they_belong_by_basis() -> None:
    html = evidence_html(INFO, "e", alt="two points")
    assert _POINT.findall(html) == [
        ("right", "75.00", "75.00", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("", "25.00", "50.00", "two\nlines &#34;quoted&#34;"),
    ]
    assert re.findall(r'<div class="(\w+)" style="--mark', html) == ["circle", "square"]
    assert "fitted to few benchmarks" not in html  # no such point


def test_lines_behind_the_points() -> None:
    (found,) = re.findall(r'src="data:image/svg\+xml,([^"]*)"', evidence_html(INFO, "e", alt=""))
    drawing = unquote(found)
    assert 'd="M0.00 0V100M0 100.00H100M50.00 0V100M0 50.00H100"' in drawing  # the grid
    assert 'd="M0 100L100 0"' in drawing  # predicted as measured
    assert 'd="M75.00 50.00V0.00M25.00 75.00V25.00"' in drawing  # ranges


def test_labels_and_what_a_screen_reader_reads() -> None:
    html = evidence_html(INFO, "e", alt="two & more", level=4)
    assert re.findall(r'<span style="left:([\d.]+)%">(.*?)</span>', html) == [("0.00", "1"), ("50.00", "100")]
    assert re.findall(r'<span style="top:([\d.]+)%">(.*?)</span>', html) == [
        ("100.00", "1"),
        ("50.00", "100"),
    ]
    assert '<h4 id="title-e">&lt;speed&gt;</h4>' in html
    assert 'role="img" aria-label="two &amp; more"' in html
    assert "measured decode (tokens/s)" in html
