"""Terminal tables: golden texts, printed parts against printed totals, names as they stand, fast import."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from reports.text.estimate import estimate_sections, estimate_table
from reports.text.frontier import frontier_cells, frontier_table
from reports.text.wording import decode_text, energy_text, fit_text, rate_text, shape_text
from search.store.results import SearchResult
from sizer.devices.catalogue import device
from sizer.model_estimate import Estimate, estimate
from sizer.prediction import Basis, Prediction
from sizer.registry import model
from tests.reports.plain_text import plain_text

Golden = Callable[[str, str], None]


def test_estimate_golden(golden: Golden, worked_out: Estimate) -> None:
    golden("estimate", estimate_table(worked_out))


def test_estimate_without_device_golden(golden: Golden, worked_out: Estimate) -> None:
    memory = worked_out.memory._replace(budget_bytes=None)
    golden(
        "estimate_without_device",
        estimate_table(replace(worked_out, device=None, latency=None, energy=None, held=memory)),
    )


def test_frontier_golden(golden: Golden, result: SearchResult) -> None:
    golden("frontier", plain_text(frontier_table(result), 110))


def test_frontier_without_device_golden(golden: Golden, result_of: Callable[..., SearchResult]) -> None:
    golden("frontier_without_device", plain_text(frontier_table(result_of(None, (0, 2, 8))), 110))


def test_frontier_of_nothing_says_so(result_of: Callable[..., SearchResult]) -> None:
    assert "no model has been trained yet" in plain_text(
        frontier_table(result_of("raspberry-pi-5", (3, 7))), 110
    )


@pytest.mark.parametrize(
    ("name", "format_name"),
    [
        ("SmolLM2-135M", "Q4_K_M"),
        ("TinyLlama-1.1B", "Q8_0"),
        ("Qwen3-0.6B", "Q2_K"),
        ("MobileLLM-LS-125M", "Q4_0"),
    ],
)
def test_printed_parts_sum_to_printed_totals(name: str, format_name: str) -> None:
    text = estimate_table(
        estimate(architecture=model(name).architecture, format=format_name, device=device("raspberry-pi-5"))
    )
    for heading in ("Parameters", "File, ", "Memory, "):
        block = text[text.index(heading) :].split("\n\n")[0]
        lines = [
            match for line in block.splitlines() if (match := re.match(r"  (\S.*?)  +([\d,]+)(?:  |$)", line))
        ]
        printed = [(match[1], int(match[2].replace(",", ""))) for match in lines]
        names = [label for label, _ in printed]
        end = names.index("total")
        assert end >= 5, block
        assert sum(value for _, value in printed[:end]) == printed[end][1], block


@pytest.mark.parametrize("width", [80, 100, 140])
def test_lines_keep_to_the_width(worked_out: Estimate, width: int) -> None:
    assert max(map(len, estimate_table(worked_out, width).splitlines())) <= width


def test_names_are_printed_not_obeyed(worked_out: Estimate, result: SearchResult) -> None:
    named = replace(worked_out, shape=replace(worked_out.architecture, name="[red]x[/red]"))
    assert "[red]x[/red]" in estimate_table(named)
    assert "[bold]study" in plain_text(frontier_table(replace(result, study="[bold]study")), 110)


def test_a_model_over_the_budget_says_by_how_much(worked_out: Estimate) -> None:
    # 2,909,984 + 6,291,456 + 3,014,656 + 4,000 + 5,338,880 = 17,558,976; less 16,000,000 is 1,558,976
    rows = {row.label: row for section in estimate_sections(worked_out) for row in section.rows}
    assert rows["fits"].value == "no"
    assert rows["fits"].remark == "1.559 MB too much for 16 MB"


def test_frontier_cells_are_the_records_figures(result: SearchResult) -> None:
    smallest = frontier_cells(result)[0]
    assert smallest[:3] == ("12", "3 x 160, 5 query / 1 KV heads", "Q4_0")
    assert smallest[6:] == ("2.5230 ± 0.0071", "1,000")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.4217, "0.422"), (12.34, "12.3"), (99.94, "99.9"), (99.96, "100"), (1240.4, "1,240")],
)
def test_rate_text(value: float, text: str) -> None:
    assert rate_text(value) == text


def test_short_texts(worked_out: Estimate) -> None:
    prediction = Prediction(value=12.34, low=9.81, high=15.1, basis=Basis.FITTED)
    assert decode_text(prediction) == "12.3 (9.81 to 15.1)"
    assert decode_text(None) == "-"
    assert shape_text(worked_out.architecture) == "6 x 192, 6 query / 2 KV heads, immediate x2"
    assert (energy_text(0.0089), energy_text(2.5)) == ("8.9 mJ", "2.5 J")
    assert fit_text(100 * 2**20, 350 * 2**20) == "fits in 350 MiB, 250 MiB to spare"
    assert fit_text(310_000_000, 300_000_000) == "10 MB too much for 300 MB"  # one unit in a sentence
