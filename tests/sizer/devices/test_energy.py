"""Joules per token: power over speed, checked by hand and against measured rows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sizer.architecture import Architecture
from sizer.devices.catalogue import device, load_devices
from sizer.devices.constants import profiles
from sizer.devices.energy import arithmetic_joules, battery_share, energy, weight_pj
from sizer.devices.latency import Latency
from sizer.devices.speed_model import model_costs
from sizer.formats.llamacpp import mix
from sizer.formats.stored import StoredTensor
from sizer.prediction import Basis, Prediction
from sizer.tensors import tensor_specs


def at(tokens_per_s: Prediction) -> Latency:
    one = Prediction(value=1, low=1, high=1, basis=Basis.SPECIFICATION)
    return Latency(
        decode_at_start_tokens_per_s=tokens_per_s,
        load_s=one,
        prefill_tokens_per_s=one,
        time_to_first_token_s=one,
        decode_tokens_per_s=tokens_per_s,
    )


def test_joules_are_watts_over_tokens_per_second() -> None:
    # Raspberry Pi 5: 6.37 W into the board
    speed = Prediction(value=10, low=5, high=20, basis=Basis.FITTED)
    found = energy(device=device("raspberry-pi-5"), latency=at(speed), architecture=SMALL[0], stored=SMALL[1])
    factor = profiles().energy.power_factor
    assert found.value == pytest.approx(0.637)
    assert found.low == pytest.approx(6.37 / 20 / factor)
    assert found.high == pytest.approx(6.37 / 5 * factor)
    assert found.basis is Basis.FITTED


def test_an_unknown_power_is_counted_from_operations_and_bytes() -> None:
    # 1e9 weights of 8 bits: 0.1 J to read (MobileLLM), 0.077 pJ each to use (BitNet table 2, INT8 at 7 nm)
    one = _model(1_000_000_000)
    found = energy(device=device("pixel-8"), latency=None, architecture=one[0], stored=one[1])
    assert found.value == pytest.approx(0.1 * (34 / 32) + 0.077e-3, rel=0.01)
    assert found.basis is Basis.SPECIFICATION
    assert found.low < found.value < found.high


def _model(weights: int) -> tuple[Architecture, tuple[StoredTensor, ...]]:
    """One layer whose 8-bit weights come to about so many."""
    width = 4096
    architecture = Architecture(
        vocab_size=32,
        num_layers=1,
        hidden_size=width,
        intermediate_size=round((weights - 4 * width * width) / (3 * width) / 32) * 32,
        num_heads=32,
        num_kv_heads=32,
        head_dim=128,
    )
    return architecture, mix("Q8_0").assign(architecture, tensor_specs(architecture))


def test_mobilellms_tenth_of_a_joule_for_each_billion_of_8_bit_weights() -> None:
    # arXiv 2402.14905 section 1: 7B 0.7 J per token, 350M at 8 bits 0.035 J
    for weights, joules in ((7_000_000_000, 0.7), (350_000_000, 0.035)):
        architecture, stored = _model(weights)
        found = energy(device=device("iphone-15-pro"), latency=None, architecture=architecture, stored=stored)
        assert found.value == pytest.approx(joules, rel=0.08)  # 8.5 bits: a scale for each 32 weights
        share = battery_share(device("iphone-15-pro"), found)
        assert share is not None
        assert share.value == pytest.approx(1000 * found.value / 50_000)
    assert battery_share(device("raspberry-pi-5"), found) is None


def test_bitnets_ratio_of_arithmetic_energy() -> None:
    # BitNet b1.58, arXiv 2402.17764 section 3: 71.4 times less than 16-bit LLaMA at 7 nm
    assert weight_pj("F16") / weight_pj("TQ2_0") == pytest.approx(71.4, rel=1e-3)
    assert weight_pj("F16", 45) == pytest.approx(1.5)
    wide = replace(_model(1_000_000_000)[0], vocab_size=256)
    specs = tensor_specs(wide)
    f16, ternary = (model_costs(wide, [(s, s.num_elements, t) for s in specs]) for t in ("F16", "TQ2_0"))
    assert arithmetic_joules(f16) / arithmetic_joules(ternary) == pytest.approx(71.4, rel=1e-3)


def test_where_a_power_was_measured_is_always_said() -> None:
    powered = [d for d in load_devices().values() if d.load_power_watts is not None]
    assert powered
    assert all(d.load_power_scope is not None for d in powered)


SMALL = _model(100_000_000)


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
    found = energy(device=device("raspberry-pi-5"), latency=at(speed), architecture=SMALL[0], stored=SMALL[1])
    assert found.low <= joules <= found.high
    assert found.value == pytest.approx(joules, rel=0.1)
