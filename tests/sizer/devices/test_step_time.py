"""A decoding step taken apart: its parts sum to the estimate's speed, and each does what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.devices.catalogue import device, load_devices
from sizer.devices.device import Fact
from sizer.devices.latency import own_profile
from sizer.devices.step_time import at_full_context, prompt_binds, step_time
from sizer.errors import SizerError
from sizer.model_estimate import estimate
from sizer.registry import model
from sizer.runtimes import RUNTIME_NAMES
from sizer.workload import Workload
from tests.strategies import architectures

SMOLLM2 = model("SmolLM2-135M").architecture


@settings(max_examples=40)
@given(architectures(), st.sampled_from(sorted(load_devices())), st.sampled_from(RUNTIME_NAMES))
def test_the_parts_sum_to_the_step(architecture, device_name: str, engine: str) -> None:  # type: ignore[no-untyped-def]
    from sizer.runtimes import runtime

    try:
        sized = estimate(
            architecture=architecture,
            format=runtime(engine).formats[0],
            runtime=engine,
            device=device(device_name),
        )
    except SizerError:
        return
    parts = step_time(sized)
    if sized.latency is None:
        assert parts is None
        return
    assert parts is not None
    assert parts.total_s == pytest.approx(1 / sized.latency.decode_at_start_tokens_per_s.value, rel=1e-9)
    full = at_full_context(sized)
    assert full is not None
    assert full.total_s == pytest.approx(1 / sized.latency.decode_tokens_per_s.value, rel=1e-9)
    assert min(parts.weights_s, parts.layers_s, parts.kv_cache_s, parts.fixed_s) >= -1e-12


def test_worked_by_hand() -> None:
    """A Raspberry Pi 5 under llama.cpp, with the constants of data/profiles.toml."""
    sized = estimate(architecture=SMOLLM2, format="Q4_0", device=device("raspberry-pi-5"))

    c = own_profile(device("raspberry-pi-5"), "llama.cpp", "cpu")
    assert c is not None
    parts = step_time(sized)
    assert parts is not None
    assert parts.layers_s == pytest.approx(30 * c.seconds_per_layer)
    assert parts.fixed_s == c.seconds_fixed
    # 30 layers, keys and values of 3 heads of 64 in F16, at 128 + 64 positions
    kv_bytes = 30 * 2 * 192 * 2 * (128 + 64)
    kv_s = c.kv_byte_cost * kv_bytes / c.bytes_per_s + c.kv_element_s * 30 * 2 * 192
    assert parts.kv_cache_s == pytest.approx(kv_s)
    # a calibrated profile: rows and columns of matrices are part of what layers take
    calibrated = device("raspberry-pi-5")._replace(profiles=(c._replace(step_element_s=1e-9),))
    found = step_time(estimate(architecture=SMOLLM2, format="Q4_0", device=calibrated))
    assert found is not None
    # q and o 2 x (576 + 576), k and v 2 x (576 + 192), gate, up and down 3 x (576 + 1536), in 30 layers
    elements = 30 * (2304 + 1536 + 6336)
    assert found.layers_s == pytest.approx(30 * c.seconds_per_layer + elements * 1e-9)
    assert found.weights_s == pytest.approx(parts.weights_s)


def test_what_binds_changes_with_shape_and_context() -> None:
    pi = device("raspberry-pi-5")._replace(ram_bytes=Fact(2**36, "with room for the cache", "2026-11"))
    large = estimate(architecture=model("Llama-3.2-1B").architecture, format="F16", device=pi)
    assert step_time(large).binds == "weights"  # type: ignore[union-attr]
    # a cache of 60 layers and all heads, 128k tokens deep, is read at every step
    deep = replace(SMOLLM2, num_layers=60, num_kv_heads=9)
    long = estimate(architecture=deep, format="Q4_0", device=pi, workload=Workload(context_tokens=131072))
    assert step_time(long).binds == "weights"  # type: ignore[union-attr]
    assert at_full_context(long).binds == "kv_cache"  # type: ignore[union-attr]
    assert at_full_context(long).to_dict()["binds"] == "kv_cache"  # type: ignore[union-attr]


def test_a_prompt_of_one_token_waits_for_the_weights() -> None:
    pi = device("raspberry-pi-5")
    one = Workload(prompt_tokens=1)
    assert prompt_binds(estimate(architecture=SMOLLM2, format="F16", device=pi, workload=one)) == "weights"
    assert prompt_binds(estimate(architecture=SMOLLM2, format="F16", device=pi)) == "arithmetic"


def test_without_a_device_there_is_no_step() -> None:
    sized = estimate(architecture=SMOLLM2, format="Q4_0")
    assert (step_time(sized), prompt_binds(sized), at_full_context(sized)) == (None, None, None)
