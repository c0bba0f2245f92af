"""Curves: every point is an estimate of its own, and the right ones are there."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from sizer.devices.catalogue import device
from sizer.errors import SizerError
from sizer.model_estimate import estimate
from sizer.registry import model
from sizer.runtimes import RUNTIME_NAMES, runtime
from sizer.sweeps import contexts_around, over_context, over_formats
from sizer.workload import Workload

SMOLLM2 = model("SmolLM2-135M").architecture
PI = device("raspberry-pi-5")


def test_contexts_are_powers_of_two_and_the_one_asked_for() -> None:
    assert contexts_around(2048) == (256, 512, 1024, 2048, 4096, 8192)
    assert contexts_around(3000) == (256, 512, 1024, 2048, 3000, 4096, 8192)
    assert contexts_around(16) == (16, 256, 512, 1024, 2048, 4096, 8192)
    assert contexts_around(2**20)[-1] == 2**20


def test_every_context_is_its_own_estimate() -> None:
    sized = estimate(architecture=SMOLLM2, format="Q4_K_M", device=PI)
    points = over_context(sized)
    for point in points:
        filled = Workload(
            context_tokens=point.context_tokens,
            prompt_tokens=point.context_tokens - 128,
            generated_tokens=128,
        )
        alone = estimate(architecture=SMOLLM2, format="Q4_K_M", device=PI, workload=filled)
        assert point.memory_bytes == alone.memory.total_bytes
        assert point.kv_cache_bytes == alone.memory.kv_cache_bytes
        assert alone.latency is not None
        assert point.decode_tokens_per_s == alone.latency.decode_tokens_per_s
    speeds = [p.decode_tokens_per_s.value for p in points if p.decode_tokens_per_s]
    assert speeds == sorted(speeds, reverse=True)
    assert len(speeds) == len(points)


def test_a_context_of_a_few_tokens() -> None:
    sized = estimate(architecture=SMOLLM2, format="Q4_K_M", workload=Workload.within(16))
    assert [p.context_tokens for p in over_context(sized)][:2] == [16, 256]
    assert over_context(sized)[0].decode_tokens_per_s is None


def test_every_format_is_its_own_estimate() -> None:
    sized = estimate(architecture=SMOLLM2, format="Q4_K_M", device=PI)
    points = over_formats(sized)
    assert {p.format for p in points} == set(runtime("llama.cpp").formats)
    for point in points:
        alone = estimate(architecture=SMOLLM2, format=point.format, device=PI)
        assert (point.file_bytes, point.bits_per_weight) == (alone.file.total, alone.bits_per_weight)
        assert point.memory_bytes == alone.memory.total_bytes
    assert [p.bits_per_weight for p in points] == sorted(p.bits_per_weight for p in points)


@pytest.mark.parametrize("engine", RUNTIME_NAMES)
def test_formats_that_cannot_hold_the_shape_are_left_out(engine: str) -> None:
    odd = replace(SMOLLM2, hidden_size=100, intermediate_size=84)
    possible = []
    for name in runtime(engine).formats:
        with suppress(SizerError):
            possible.append(estimate(architecture=odd, format=name, runtime=engine))
    possible = [sized for sized in possible if sized.weights is not None]
    if possible:
        found = over_formats(possible[0])
        assert {p.format for p in found} == {sized.format for sized in possible}
