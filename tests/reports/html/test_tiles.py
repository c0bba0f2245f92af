"""Headline figures: every text shown as it is, in order; remarks on fit are marked good or bad."""

from __future__ import annotations

from dataclasses import replace

from reports.html.tiles import Tile, headline_tiles, tiles_html
from reports.text.wording import rate_text
from sizer.model_estimate import Estimate
from tests.reports.html.html_reader import HtmlReader

EVIL = "<script>alert(1)</script>"


def test_texts_are_shown_as_they_are() -> None:
    page = HtmlReader(tiles_html([Tile(EVIL, "105.5 MB", '"><img src=x>'), Tile("Load", "1 s")]))
    assert page.text == f'{EVIL} 105.5 MB "><img src=x> Load 1 s'
    assert [tag for tag, _ in page.tags if tag in ("script", "img")] == []


def test_good_and_bad_news_differ() -> None:
    good, bad, none = (tiles_html([Tile("Memory", "1 MiB", "x", is_good)]) for is_good in (True, False, None))
    assert len({good, bad, none}) == 3


def test_an_estimates_figures(worked_out: Estimate) -> None:
    tiles = {tile.label: tile for tile in headline_tiles(worked_out)}
    assert worked_out.latency is not None
    load, short = worked_out.workload, rate_text(worked_out.latency.decode_at_start_tokens_per_s.value)
    assert tiles["Memory"].is_good is False
    assert tiles["Decode, tokens/s"] == Tile(
        "Decode, tokens/s",
        "712",
        f"at {load.context_tokens:,} tokens, 80 % range 427 to 1,139, fitted to benchmarks; "
        f"{short} after the prompt",
    )
    prompt = worked_out.workload.prompt_tokens
    assert f"TTFT, {prompt:,}-token prompt" in tiles


def test_why_a_speed_is_missing(worked_out: Estimate) -> None:
    nowhere = replace(worked_out, device=None, latency=None, energy=None)
    for sized, reason in (
        (nowhere, "choose a device"),
        (
            replace(worked_out, latency=None, energy=None),
            f"no speed known with {worked_out.runtime} on this device",
        ),
    ):
        remarks = {tile.label: (tile.value, tile.remark) for tile in headline_tiles(sized)}
        assert remarks["Decode, tokens/s"] == remarks["Energy per token"] == ("-", reason)
