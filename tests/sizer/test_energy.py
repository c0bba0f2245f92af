"""Joules per token: power over speed, checked by hand and against measured rows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sizer.device import device, load_devices
from sizer.energy import energy
from sizer.latency import Latency, profiles
from sizer.prediction import Basis, Prediction


def at(tokens_per_s: Prediction) -> Latency:
    one = Prediction(value=1, low=1, high=1, basis=Basis.SPECIFICATION)
    return Latency(
        load_s=one, prefill_tokens_per_s=one, time_to_first_token_s=one, decode_tokens_per_s=tokens_per_s
    )


def test_joules_are_watts_over_tokens_per_second() -> None:
    # Raspberry Pi 5: 6.37 W into the board
    speed = Prediction(value=10, low=5, high=20, basis=Basis.FITTED)
    found = energy(device=device("raspberry-pi-5"), latency=at(speed))
    factor = profiles().pooled.power_factor
    assert found is not None
    assert found.value == pytest.approx(0.637)
    assert found.low == pytest.approx(6.37 / 20 / factor)
    assert found.high == pytest.approx(6.37 / 5 * factor)
    assert found.basis is Basis.FITTED


def test_an_unknown_power_gives_no_figure() -> None:
    speed = Prediction(value=10, low=5, high=20, basis=Basis.FITTED)
    assert energy(device=replace(device("raspberry-pi-5"), load_power_watts=None), latency=at(speed)) is None
    assert energy(device=device("pixel-8"), latency=at(speed)) is None


def test_where_a_power_was_measured_is_always_said() -> None:
    powered = [d for d in load_devices().values() if d.load_power_watts is not None]
    assert powered
    assert all(d.load_power_scope is not None for d in powered)


@pytest.mark.parametrize(
    ("tokens_per_s", "joules"),
    [
        # truth/latency.csv and energy.csv, llama.cpp#26484: Q2_K, Q4_K_M, Q5_K_M at measured speed
        (30.39, 0.2065),
        (25.77, 0.2585),
        (23.23, 0.2994),
    ],
)
def test_measured_energy_at_measured_speed(tokens_per_s: float, joules: float) -> None:
    speed = Prediction(value=tokens_per_s, low=tokens_per_s, high=tokens_per_s, basis=Basis.MEASURED)
    found = energy(device=device("raspberry-pi-5"), latency=at(speed))
    assert found is not None
    assert found.low <= joules <= found.high
    assert found.value == pytest.approx(joules, rel=0.1)
