"""The device budget: what a deployed model may weigh, hold in memory, and how fast it must decode."""

from __future__ import annotations

from dataclasses import dataclass

from sizer.estimate import Estimate
from sizer.units import format_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits on a deployed model; None means no limit.

    Memory is held against the tighter of `max_memory_bytes` and what the device lets one process use.
    """

    max_size_bytes: int | None = None
    max_memory_bytes: int | None = None
    min_decode_tokens_per_s: float | None = None

    def violations(self, estimate: Estimate) -> tuple[str, ...]:
        """One text per limit that the estimate breaks, with both figures; empty if it fits."""
        found = []
        size = estimate.file.total
        if self.max_size_bytes is not None and size > self.max_size_bytes:
            found.append(f"file {format_bytes(size)} > {format_bytes(self.max_size_bytes)}")
        limits = [b for b in (self.max_memory_bytes, estimate.memory.budget_bytes) if b is not None]
        memory = estimate.memory.total_bytes
        if limits and memory > min(limits):
            found.append(f"memory {format_bytes(memory)} > {format_bytes(min(limits))}")
        if self.min_decode_tokens_per_s is not None and estimate.latency is not None:
            speed = estimate.latency.decode_tokens_per_s.value
            if speed < self.min_decode_tokens_per_s:
                found.append(f"decode {speed:.3g} tokens/s < {self.min_decode_tokens_per_s:.3g} tokens/s")
        return tuple(found)
