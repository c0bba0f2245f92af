"""Costs of formats: what their instructions need, on CPUs of several kinds."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import pytest

from sizer.calibration.format_costs import format_costs, taught_without
from tests.sizer.calibration.test_fit import row


def test_formats_cost_what_their_instructions_need() -> None:
    """On x86 Q8_0 costs twice Q4_K_M, on ARM the same: each set is drawn to both by 0.3 devices."""
    rows = []
    for device, ratio in (("pixel-6a", 1.0), ("hp-pavilion-i5-1235u", 2.0)):
        for name, cost in (("Q4_K_M", 1.0), ("Q8_0", ratio), ("Q2_K", 1.0)):
            one = row(device, "a", 10, 1e9, 10.0 / cost)
            rows.append(replace(one, format=name, instructions="arm" if ratio == 1 else "x86"))
    costs = format_costs(rows)
    both = log(2.0) / 2.3
    assert costs["llama.cpp", "x86", "Q8_0"].byte_cost == pytest.approx(exp((log(2.0) + 0.3 * both) / 1.3))
    assert costs["llama.cpp", "arm", "Q8_0"].byte_cost == pytest.approx(exp(0.3 * both / 1.3))
    assert costs["llama.cpp", "arm", "Q2_K"].byte_cost == pytest.approx(1.0)


def test_blocks_of_four_bits_cost_more_under_litert_lm_than_eight_bits() -> None:
    """A byte costs twice as much on one phone: drawn as if one more device showed no difference."""
    rows = [
        replace(row("pixel-8a", "a", 10, 1e9, 10.0), runtime="litert-lm", format="8.1 bits"),
        replace(row("pixel-8a", "b", 10, 1e9, 5.0), runtime="litert-lm", format="4.5 bits"),
    ]
    rows = [replace(r, instructions="arm") for r in rows]
    costs = format_costs(rows)
    both = log(2.0) / 2
    assert costs["litert-lm", "arm", "4.5 bits"].byte_cost == pytest.approx(exp((log(2.0) + both) / 2))
    # what is left out teaches nothing
    own = taught_without(rows, rows, rows[1:])
    assert [r.costs.format_byte_cost for r in own if r.costs is not None] == [1.0, 1.0]
    own = taught_without(rows, rows, [])
    assert own[1].costs is not None
    assert own[1].costs.format_byte_cost == pytest.approx(exp((log(2.0) + both) / 2))
