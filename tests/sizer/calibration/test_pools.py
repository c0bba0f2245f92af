"""A device's few rows against its pool."""

from __future__ import annotations

from math import exp

import pytest

from sizer.calibration.choice import EngineClass, few_prompts_factor, pool_without
from sizer.calibration.measurement_file import read_rows
from sizer.calibration.pools import bandwidth, drawn_layers
from sizer.calibration.regression import decode_rows
from sizer.devices.catalogue import load_devices


def test_formats_of_one_model_tell_layers_from_bytes() -> None:
    """An AGX Orin's 3B model in 16, 8 and 4 bits: layers as of the Orin NX's Ollama would leave no time."""
    rows, devices = read_rows(), load_devices()
    own = [r for r in decode_rows(rows) if r.runtime == "tensorrt-edge-llm" and r.model == "Qwen2.5-3B"]
    pool, known = pool_without(rows, devices, own[0]), bandwidth(devices, own[0].device, own)
    assert known is not None
    rate, layer_s = drawn_layers(own, pool, known)
    assert rate < known
    assert layer_s < pool.seconds_per_layer / 3


def test_prompts_of_engines_with_few_devices_have_a_range_of_their_own() -> None:
    known, new = EngineClass("gpu", True), EngineClass("gpu", False)
    errors = [(known, [0.1])] * 9 + [(new, [0.5])] * 3
    assert few_prompts_factor(errors, known) == pytest.approx(exp(0.1))
    assert few_prompts_factor(errors, new) == pytest.approx(exp(0.5))
    # two devices are too few for a class: all of the kind
    assert few_prompts_factor(errors[:-1], new) == pytest.approx(exp(0.5))
    assert few_prompts_factor(errors, EngineClass("npu", True)) is None
