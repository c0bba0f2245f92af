"""The budget: each limit alone, with the figures in the text."""

from __future__ import annotations

from sizer.budget import Limits
from sizer.devices.catalogue import device
from sizer.model_estimate import Estimate, estimate
from sizer.registry import model


def _estimate() -> Estimate:
    return estimate(
        architecture=model("MobileLLM-125M").architecture, format="Q4_K_M", device=device("raspberry-pi-5")
    )


def test_no_limit_is_broken_by_a_model_that_fits() -> None:
    fits = Limits(max_size_bytes=95_000_000, max_memory_bytes=222_000_000, min_decode_tokens_per_s=10.0)
    assert fits.violations(_estimate()) == ()


def test_each_limit_alone_names_both_figures() -> None:
    found = _estimate()
    assert Limits(max_size_bytes=94_000_000).violations(found) == ("file 94.89 MB > 94 MB",)
    heavy = Limits(max_size_bytes=10**9, max_memory_bytes=200_000_000).violations(found)
    assert heavy == ("memory 221.2 MB > 200 MB",)
    assert found.latency is not None
    speed = found.latency.decode_tokens_per_s.value
    slow = Limits(max_size_bytes=10**9, min_decode_tokens_per_s=1e6).violations(found)
    assert slow == (f"decode {speed:.3g} tokens/s < 1e+06 tokens/s",)


def test_the_devices_own_limit_holds_without_being_asked_for() -> None:
    big = estimate(
        architecture=model("Llama-2-7B").architecture, format="F16", device=device("iphone-15-pro")
    )
    (text,) = Limits(max_size_bytes=10**12).violations(big)
    assert text.startswith("memory 1")
    assert "> 3.503 GB" in text
