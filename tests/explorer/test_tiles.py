"""Headline figures: every text shown as it is, remarks coloured only where they are good or bad news."""

from __future__ import annotations

from explorer.tiles import Tile, tiles_html


def _body(tiles: list[Tile]) -> str:
    return tiles_html(tiles).split("</style>")[1]


def test_a_figure_with_its_name_and_remark() -> None:
    assert _body([Tile("File", "105.5 MB", "Q4_K_M")]) == (
        '<dl class="sizer-tiles" style="--tiles:1"><div><dt>File</dt><dd class="value">105.5 MB</dd>'
        '<dd class="remark">Q4_K_M</dd></div></dl>'
    )


def test_no_remark_takes_no_place() -> None:
    assert "remark" not in _body([Tile("File", "105.5 MB")])


def test_good_and_bad_news_differ() -> None:
    good, bad = (_body([Tile("Memory", "1 MiB", "fits", fits)]) for fits in (True, False))
    assert 'class="remark good"' in good
    assert 'class="remark bad"' in bad


def test_texts_are_escaped() -> None:
    shown = _body([Tile("<b>a</b>", "<script>", '"><img src=x>')])
    assert "<b>" not in shown
    assert "<script" not in shown
    assert "<img" not in shown
