"""Rows of measurements: the KV cache that each engine reads."""

from __future__ import annotations

import pytest

from sizer.calibration.measurement_file import cache_type_of, read_rows
from sizer.calibration.regression import MeasurementRow
from sizer.devices.catalogue import device
from sizer.devices.latency import speed_of

# Keys and values of Qwen3-0.6B and -1.7B: 28 layers of 8 heads of 128.
_ELEMENTS = 2 * 28 * 8 * 128


def _qwen3(backend: str) -> list[MeasurementRow]:
    return [r for r in read_rows() if (r.runtime, r.backend) == ("litert-lm", backend) and "Qwen3" in r.model]


@pytest.mark.parametrize(("backend", "element_bytes"), [("opencl", 4), ("cpu", 4 * 6), ("metal", 2)])
def test_litert_lm_reads_32_bits_an_element_16_on_metal_and_slowly_on_a_cpu(
    backend: str, element_bytes: int
) -> None:
    depths = {r.kv_bytes / (_ELEMENTS * element_bytes) for r in _qwen3(backend)}
    assert depths & {1152, 1467}  # as printed: prompt and half of what was generated


def test_an_estimate_reads_the_cache_as_the_rows_do() -> None:
    """LiteRT-LM's usual cache is F32: on Metal a step reads half of its bytes."""
    shares = [
        found.constants.kv_byte_cost
        for name, backend in (("mac-studio-m4-max", "metal"), ("galaxy-s26", "opencl"))
        if (found := speed_of(device(name), "litert-lm", 4.5, backend)) is not None
    ]
    assert shares == [0.5, 1.0]


@pytest.mark.parametrize(
    ("runtime", "cache_type"),
    [("llama.cpp", "F16"), ("executorch", "F32"), ("litert", "F32"), ("genie", "F16")],
)
def test_a_row_has_the_usual_cache_of_its_engine(runtime: str, cache_type: str) -> None:
    assert cache_type_of(runtime) == cache_type
