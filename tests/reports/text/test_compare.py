"""Models against devices: golden texts, the width that is kept, every pair in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from reports.text.compare import compare_tables
from sizer.devices.catalogue import device
from sizer.model_estimate import Estimate, estimate
from sizer.registry import model
from tests.reports.plain_text import plain_text

Golden = Callable[[str, str], None]
DEVICES = ("raspberry-pi-5", "iphone-15-pro", "galaxy-s24-ultra", "pixel-8a", "macbook-air-m1")


def other(worked_out: Estimate, name: str, budget_bytes: int | None) -> Estimate:
    """The estimate on another device, with another budget."""
    assert worked_out.device is not None
    return replace(
        worked_out,
        device=worked_out.device._replace(name=name),
        held=worked_out.memory._replace(budget_bytes=budget_bytes),
    )


def test_matrix_golden(golden: Golden, worked_out: Estimate) -> None:
    large = other(worked_out, "a-larger-board", worked_out.memory.total_bytes)
    silent = replace(other(worked_out, "of-nothing-known", None), latency=None)
    row = [worked_out, large, silent]
    again = [replace(e, shape=replace(e.architecture, name="the same again")) for e in row]
    golden("compare_matrix", plain_text(compare_tables([row, again], 80), 80))


def test_one_device_golden(golden: Golden, worked_out: Estimate) -> None:
    again = replace(worked_out, shape=replace(worked_out.architecture, name="the same again"))
    golden("compare_one_device", plain_text(compare_tables([[worked_out], [again]], 80), 80))


def test_without_a_device_golden(golden: Golden, worked_out: Estimate) -> None:
    sheet = replace(worked_out, device=None, latency=None, held=worked_out.memory._replace(budget_bytes=None))
    golden("compare_without_device", plain_text(compare_tables([[sheet], [sheet]], 80), 80))


@pytest.fixture(scope="module")
def pairs() -> list[list[Estimate]]:
    return [
        [
            estimate(architecture=model(name).architecture, format="Q4_K_M", device=device(target))
            for target in DEVICES
        ]
        for name in ("SmolLM2-135M", "Llama-2-7B", "Qwen1.5-MoE-A2.7B")
    ]


@pytest.mark.parametrize("width", range(50, 201))
def test_no_line_is_wider_and_no_pair_is_missing(pairs: list[list[Estimate]], width: int) -> None:
    text = plain_text(compare_tables(pairs, width), width)
    assert all(len(line) <= width for line in text.splitlines())
    assert text.count("\N{HORIZONTAL ELLIPSIS}") == 0
    for name in DEVICES:
        assert text.count(name) >= 1
    speeds = [cell.latency.decode_tokens_per_s for row in pairs for cell in row if cell.latency]
    fitting = [cell for row in pairs for cell in row if cell.memory.fits is not False]
    assert text.count(" tokens/s") == len(speeds) == len(fitting)
    assert text.count(" tokens/s f") == sum(speed.basis == "fitted" for speed in speeds)
    # one table where there is room for all devices, more where there is not, each with all models
    tables = text.count("\nmodel ")
    assert (tables == 1) == (width >= 111)
    assert text.count("Llama-2-7B, 6.738B") == tables


def test_a_cell_stands_under_its_device(pairs: list[list[Estimate]]) -> None:
    lines = plain_text(compare_tables(pairs, 200), 200).splitlines()
    heading = next(line for line in lines if "raspberry-pi-5" in line)
    row = next(n for n, line in enumerate(lines) if line.startswith("Llama-2-7B"))
    for cell in pairs[1]:
        assert cell.device is not None
        at = heading.index(cell.device.name)
        known = {True: "fits", False: "does not fit", None: "no limit known"}
        assert lines[row][at:].startswith(known[cell.memory.fits])
        if cell.latency is None:
            assert cell.memory.fits is False
            continue
        assert lines[row + 1][at:].startswith(f"{cell.latency.decode_tokens_per_s.value:.3g} tokens/s")


def test_pairs_that_do_not_fit_are_named(pairs: list[list[Estimate]]) -> None:
    # the last paragraph, which may take more than one line
    last = " ".join(plain_text(compare_tables(pairs, 100), 100).split("Does not fit:")[1].split())
    for row in pairs:
        for cell in row:
            assert cell.device is not None
            named = f"{cell.architecture.name} on {cell.device.name}" in last
            assert named == (cell.memory.fits is False)
