"""One estimate again and again: over the context's length, and over the formats of its runtime."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from sizer.architecture import Architecture
from sizer.devices.device import Device
from sizer.errors import SizerError
from sizer.model_estimate import Estimate, estimate
from sizer.prediction import Prediction
from sizer.runtimes import runtime
from sizer.workload import Workload

SHORTEST_CONTEXT, LONGEST_CONTEXT = 256, 2**20


class ContextPoint(NamedTuple):
    """Memory with a context of that many tokens, and the speed of decoding its last ones."""

    context_tokens: int
    memory_bytes: int
    kv_cache_bytes: int
    decode_tokens_per_s: Prediction | None


class FormatPoint(NamedTuple):
    """A format of the same runtime: its bits per weight, its file, its memory, its speed."""

    format: str
    bits_per_weight: float
    file_bytes: int
    memory_bytes: int
    decode_tokens_per_s: Prediction | None


def contexts_around(context_tokens: int) -> tuple[int, ...]:
    """Return powers of two from 256 to four times the context (at least 8,192, at most 2**20), and itself."""
    end = min(max(4 * context_tokens, 8192), LONGEST_CONTEXT)
    powers = []
    context = SHORTEST_CONTEXT
    while context <= end:
        powers.append(context)
        context *= 2
    return tuple(sorted({*powers, context_tokens}))


def over_context(sized: Estimate, contexts: tuple[int, ...] | None = None) -> tuple[ContextPoint, ...]:
    """Estimate a model at other contexts, each filled: a prompt, then the generated tokens at its end."""
    wanted = contexts or contexts_around(sized.workload.context_tokens)
    return _over_context(
        sized.architecture, sized.named_format, sized.runtime, sized.device, sized.workload, wanted
    )


def over_formats(sized: Estimate) -> tuple[FormatPoint, ...]:
    """Estimate a model in every format of its runtime that can hold it, fewest bits per weight first."""
    return _over_formats(sized.architecture, sized.runtime, sized.device, sized.workload)


# A page draws the same curves again whenever anything else on it is clicked.
@lru_cache(maxsize=32)
def _over_context(
    architecture: Architecture,
    format_name: str,
    runtime_name: str,
    device: Device | None,
    workload: Workload,
    contexts: tuple[int, ...],
) -> tuple[ContextPoint, ...]:
    points = []
    for context in contexts:
        generated = min(workload.generated_tokens, max(1, context // 2))
        prompt = max(1, context - generated)
        filled = replace(workload, context_tokens=context, prompt_tokens=prompt, generated_tokens=generated)
        again = estimate(
            architecture=architecture,
            format=format_name,
            runtime=runtime_name,
            device=device,
            workload=filled,
        )
        points.append(
            ContextPoint(context, again.memory.total_bytes, again.memory.kv_cache_bytes, _decode(again))
        )
    return tuple(points)


@lru_cache(maxsize=32)
def _over_formats(
    architecture: Architecture, runtime_name: str, device: Device | None, workload: Workload
) -> tuple[FormatPoint, ...]:
    points = []
    for name in runtime(runtime_name).formats:
        try:
            again = estimate(
                architecture=architecture, format=name, runtime=runtime_name, device=device, workload=workload
            )
        except SizerError:
            continue
        if again.weights is None:  # a format that cannot hold this shape
            continue
        points.append(
            FormatPoint(
                name, again.bits_per_weight, again.file.total, again.memory.total_bytes, _decode(again)
            )
        )
    return tuple(sorted(points, key=lambda point: (point.bits_per_weight, point.format)))


def _decode(sized: Estimate) -> Prediction | None:
    return sized.latency.decode_tokens_per_s if sized.latency else None
