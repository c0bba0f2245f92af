"""Speeds that can be: over devices, models, engines and formats, none is faster than the memory reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import product

import pytest

from sizer.devices.backend import backends_of
from sizer.devices.catalogue import load_devices
from sizer.devices.device import Device
from sizer.devices.latency import bandwidth_on
from sizer.devices.profile import kind_of
from sizer.devices.speed_model import stored_costs
from sizer.errors import InvalidQuantity
from sizer.model_estimate import Estimate, estimate
from sizer.registry import model
from sizer.runtimes import RUNTIME_NAMES, runtime
from sizer.workload import Workload

MODELS = ("SmolLM2-135M", "Qwen3-0.6B", "Llama-3.2-3B", "Qwen3-14B", "Qwen3-30B-A3B")
WIDTHS = (2, 4, 8, 16)


def formats_of(name: str) -> tuple[str, ...]:
    """Return a runtime's customary formats for 2 to 16 bits, those that it has."""
    found = []
    for width in WIDTHS:
        with suppress(InvalidQuantity):
            found.append(runtime(name).format_for_bits(width))
    return tuple(dict.fromkeys(found))


def sized(one: Device, name: str, format_name: str, shape: str, prompt: int, kind: str) -> Estimate:
    """Return the estimate of a model with a context of 4,096."""
    engine = runtime(name)
    return estimate(
        architecture=model(shape).architecture,
        format=format_name,
        runtime=name,
        device=one,
        backend=kind,
        workload=Workload(prompt_tokens=prompt, context_tokens=4096, cache_type=engine.cache_types[0]),
    )


def grid(every: int) -> Iterator[tuple[Device, str, str, str, str]]:
    """Yield one of `every` combinations of device, engine, format, model and kind of backend."""
    engines = [(name, f) for name in RUNTIME_NAMES for f in formats_of(name)]
    cases = product(load_devices().values(), engines, MODELS)
    for place, (one, (name, format_name), shape) in enumerate(cases):
        if place % every == 0:
            for kind in dict.fromkeys(map(kind_of, backends_of(one, runtime(name)))):
                yield one, name, format_name, shape, kind


def check(found: Estimate) -> None:
    """Compare an estimate's speeds with what its memory holds and reads, and with their ranges."""
    figures = [] if found.beyond_memory is None else [found.beyond_memory.decode_tokens_per_s]
    if found.fits is False:
        assert found.latency is None
        # "needs 17.8 GiB of 11.9", or the engine does not run the model at all
        assert found.unsupported["latency"]
    if found.latency is not None:
        assert found.fits is not False
        s = found.latency
        figures += [s.decode_tokens_per_s, s.decode_at_start_tokens_per_s, s.prefill_tokens_per_s]
        figures += [s.time_to_first_token_s, s.load_s]
        assert s.decode_tokens_per_s.value <= s.decode_at_start_tokens_per_s.value
        assert found.device is not None
        assert found.backend is not None
        sheet = found.device.bandwidth_theoretical_bytes_per_s
        # not of a card's machine, whose RAM is another memory; what an NPU reads was measured by others
        if bandwidth_on(found.device, found.backend) and sheet is not None and found.backend != "ane":
            stored = runtime(found.runtime).store(found.architecture, found.format)
            read = stored_costs(found.architecture, stored).step_bytes
            assert s.decode_at_start_tokens_per_s.value * read <= sheet.value
    for figure in figures:
        assert 0 < figure.low <= figure.value <= figure.high


# all of them (40,000 estimates) take two minutes, one in eight a quarter of one
@pytest.mark.parametrize("every", [37, pytest.param(8, marks=pytest.mark.slow)])
def test_no_speed_that_cannot_be(every: int) -> None:
    cases = with_speed = too_large = 0
    for case in grid(every):
        one, name, format_name, shape, kind = case
        short, long = (sized(one, name, format_name, shape, prompt, kind) for prompt in (128, 2048))
        check(short)
        check(long)
        if short.latency is not None and long.latency is not None:
            first, later = (s.time_to_first_token_s.value for s in (short.latency, long.latency))
            assert later > first, case
            with_speed += 1
        too_large += short.fits is False
        cases += 1
    assert cases > 10_000 / every
    assert with_speed > cases / 4
    assert too_large > cases / 50
