"""fill(): every shape is within the budget, none of its width is deeper, and what fits nothing says why."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.budget import Limits
from sizer.devices.catalogue import device
from sizer.errors import InvalidQuantity, NoFit
from sizer.model_estimate import estimate
from sizer.shapes.within_budget import fill

PI = device("raspberry-pi-5")


@settings(max_examples=8)
@given(st.integers(20_000_000, 400_000_000), st.sampled_from(["Q4_K_M", "Q8_0", "TQ1_0"]))
def test_each_is_within_the_budget_and_one_layer_more_is_not(size: int, format: str) -> None:
    budget = Limits(max_size_bytes=size, min_decode_tokens_per_s=20.0)
    for found in fill(budget, format=format, device=PI):
        assert budget.violations(found) == ()
        a = found.architecture
        if a.num_layers < int(a.hidden_size / 8):
            deeper = replace(a, num_layers=a.num_layers + 1)
            assert budget.violations(estimate(architecture=deeper, format=format, device=PI))


def test_most_parameters_come_first_and_widths_differ() -> None:
    found = fill(Limits(max_size_bytes=60_000_000), format="Q4_K_M")
    counts = [e.parameters.total for e in found]
    assert counts == sorted(counts, reverse=True)
    assert len({e.architecture.hidden_size for e in found}) == len(found) >= 8


def test_widths_that_k_quants_divide_hold_more_in_the_same_file() -> None:
    # 512 and 768 are multiples of 256; 576 and 640 fall back to wider types
    by_width = {
        e.architecture.hidden_size: e for e in fill(Limits(max_size_bytes=60_000_000), format="Q4_K_M")
    }
    for aligned in (512, 768):
        for other in (576, 640):
            assert by_width[aligned].parameters.total > 1.1 * by_width[other].parameters.total


def test_each_limit_alone_holds() -> None:
    free = fill(Limits(max_size_bytes=100_000_000), format="Q8_0", device=PI)
    tight = fill(Limits(max_size_bytes=100_000_000, max_memory_bytes=130_000_000), format="Q8_0", device=PI)
    fast = fill(Limits(max_size_bytes=100_000_000, min_decode_tokens_per_s=150.0), format="Q8_0", device=PI)
    assert max(e.memory.total_bytes for e in tight) <= 130_000_000 < max(e.memory.total_bytes for e in free)
    assert all(e.latency and e.latency.decode_tokens_per_s.value >= 150 for e in fast)
    assert tight[0].parameters.total < free[0].parameters.total > fast[0].parameters.total


def test_nothing_fits_says_what_the_smallest_breaks() -> None:
    with pytest.raises(NoFit, match=r"budget: no shape fits; the smallest breaks it: file 3\.\d+ MB > 1 MB"):
        fill(Limits(max_size_bytes=1_000_000), format="Q4_K_M")


def test_no_limit_is_refused() -> None:
    with pytest.raises(InvalidQuantity, match="budget: give --max-size, --max-memory or a --device"):
        fill(Limits(), format="Q4_K_M")


def test_a_device_alone_is_a_limit() -> None:
    found = fill(Limits(), format="Q4_K_M", device=device("iphone-15-pro"))
    assert all(e.memory.fits for e in found)
