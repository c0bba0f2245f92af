"""Users as devices with shares: sums by hand over estimates that the calculator gives one by one."""

from __future__ import annotations

import pytest

from sizer.audience import IN_APPLICATION, IN_BROWSER, reach
from sizer.devices.catalogue import devices_named, load_devices
from sizer.errors import InvalidQuantity
from sizer.model_estimate import estimate
from sizer.registry import model
from sizer.runtimes import runtime
from sizer.workload import Workload

MODEL = model("Qwen2.5-0.5B").architecture
USERS = tuple((one, 10.0) for one in devices_named("mid-range"))


@pytest.mark.parametrize("name", [*IN_BROWSER, *IN_APPLICATION])
def test_shares_are_those_of_estimates_made_one_by_one(name: str) -> None:
    weighted = tuple((one, float(place)) for place, (one, _) in enumerate(USERS, 1))
    found = reach(MODEL, weighted, runtime=name, context_tokens=1024)
    assert sum(found.shares) == pytest.approx(1)
    if not found.estimates:
        assert found.reason
        assert found.load_s() is None
        return
    fits = fast = surely = 0.0
    for device, share in weighted:
        sized = estimate(
            architecture=MODEL,
            format=runtime(name).format_for_bits(4),
            runtime=name,
            device=device,
            workload=Workload.within(1024, runtime(name).cache_types[0]),
        )
        fits += share * bool(sized.fits)
        if sized.latency is not None:
            fast += share * (sized.latency.decode_tokens_per_s.value >= 40)
            surely += share * (sized.latency.decode_tokens_per_s.low >= 40)
    assert (found.fits() or 0) == pytest.approx(fits / 55)
    assert (found.is_fast(40) or 0) == pytest.approx(fast / 55)
    assert (found.is_fast(40, surely=True) or 0) == pytest.approx(surely / 55)


def test_a_model_too_large_for_some_runs_for_the_others_only() -> None:
    large = model("Llama-3.2-3B").architecture
    found = reach(large, USERS, runtime="llama.cpp", format="F16")
    share = found.fits()
    assert share is not None
    assert 0 < share < 1
    assert share == pytest.approx(sum(bool(sized.fits) for sized in found.estimates) / 10)
    assert (found.is_fast(0.01) or 0) <= share


def test_the_download_has_weights_tokenizer_and_runtime() -> None:
    found = reach(MODEL, USERS, runtime="web-llm")
    parts = found.estimates[0].first_download
    assert parts is not None
    assert parts.weights > 200e6
    assert parts.tokenizer > 1e6
    assert parts.runtime > 5e6
    assert found.download_bytes() == parts.weights + parts.tokenizer + parts.runtime
    assert found.download_s(50) == pytest.approx(parts.num_bytes * 8 / 50e6)
    load = found.load_s()
    assert load is not None
    assert load.low <= load.value <= load.high


def test_where_nothing_is_known_nothing_is_claimed() -> None:
    nowhere = [one for one in load_devices().values() if one.name == "browser-wasm32"]
    found = reach(MODEL, [(nowhere[0], 1.0)], runtime="executorch")
    if found.estimates:
        assert found.is_fast(1) in (None, 0)
        assert found.speed_unknown() in (0, 1)


@pytest.mark.parametrize("shares", [(), (0.0, 0.0), (-1.0, 2.0)])
def test_shares_that_are_none_are_refused(shares: tuple[float, ...]) -> None:
    users = [(one, share) for (one, _), share in zip(USERS, shares, strict=False)]
    with pytest.raises(InvalidQuantity, match="shares: must be"):
        reach(MODEL, users, runtime="llama.cpp")
