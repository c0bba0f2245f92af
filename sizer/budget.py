"""The device budget: what a deployed model may weigh, hold in memory, and how fast it must decode."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from sizer.errors import InvalidQuantity
from sizer.model_estimate import Estimate
from sizer.units import format_bytes, parse_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits on a deployed model; None means no limit.

    Memory is held against the tighter of `max_memory_bytes` and what the device lets one process use.
    """

    max_size_bytes: int | None = None
    max_memory_bytes: int | None = None
    min_decode_tokens_per_s: float | None = None

    def violations(self, estimate: Estimate) -> tuple[str, ...]:
        """Return one text per limit that the estimate exceeds, with both figures; empty if it fits."""
        found = []
        size = estimate.file.total
        if self.max_size_bytes is not None and size > self.max_size_bytes:
            found.append(f"file {format_bytes(size)} > {format_bytes(self.max_size_bytes)}")
        limits = [b for b in (self.max_memory_bytes, estimate.memory.budget_bytes) if b is not None]
        memory = estimate.memory.limited_bytes
        if limits and memory > min(limits):
            found.append(f"memory {format_bytes(memory)} > {format_bytes(min(limits))}")
        if self.min_decode_tokens_per_s is not None and estimate.latency is not None:
            speed = estimate.latency.decode_tokens_per_s.value
            if speed < self.min_decode_tokens_per_s:
                found.append(f"decode {speed:.3g} tokens/s < {self.min_decode_tokens_per_s:.3g} tokens/s")
        return tuple(found)


def asked_limits(max_memory: str | int | None, min_decode: float | None, *, on_device: bool) -> Limits:
    """Read the limits of a request; InvalidQuantity names the one that is wrong."""
    if min_decode is not None:
        if not on_device:
            raise InvalidQuantity("min_decode: needs a device to predict speed on; give device with it")
        if not 0 < min_decode < inf:
            raise InvalidQuantity(f"min_decode: must be tokens per second above 0, got {min_decode:g}")
    most = None if max_memory is None else parse_bytes(str(max_memory), "max_memory")
    return Limits(max_memory_bytes=most, min_decode_tokens_per_s=min_decode)
