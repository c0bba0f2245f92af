"""Ranges of mixes that are not llama.cpp's, such as unsloth's UD-Q4_K_XL: between two of its mixes."""

from __future__ import annotations

from dataclasses import replace

from sizer.model_estimate import Estimate
from sizer.names import own_mix
from sizer.runtimes import DEFAULT_RUNTIME, runtime
from sizer.units import format_bytes


def with_mix_range(sized: Estimate, asked: str) -> Estimate:
    """Return an estimate of the nearest mix, its file with the range of the next smaller and larger.

    The types of each tensor are chosen model by model, so only a file has them. Any other name is returned as
    it is.
    """
    mix = own_mix(asked)
    if mix is None or sized.weights is None or sized.runtime != DEFAULT_RUNTIME:
        return sized
    engine = runtime(sized.runtime)
    low, high = (
        sum(tensor.num_bytes for tensor in engine.store(sized.architecture, name))
        for name in (mix.low, mix.high)
    )
    file = sized.file._replace(tensor_range=(low, high))
    note = (
        f"{asked.strip()} is a mix that its maker chooses for each model: between {mix.low} and {mix.high}, "
        f"{format_bytes(file.low)} to {format_bytes(file.high)}; memory is that of {mix.nearest} and "
        "differs as the file does (estimate the file itself for its exact bytes)"
    )
    return replace(
        sized,
        weights=sized.weights._replace(file=file),
        assumptions=(note, *sized.assumptions),
    )
