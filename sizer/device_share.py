"""Bytes of one of several devices that a model lies on."""

from __future__ import annotations

from typing import NamedTuple


class DeviceShare(NamedTuple):
    """Bytes of one device where a model lies on several; the compute buffer has a range."""

    device: str  # "cpu" or "gpu"
    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    compute_bytes_low: int
    compute_bytes_high: int

    @property
    def total_bytes(self) -> int:
        """Bytes of all parts."""
        return self.weights_bytes + self.kv_cache_bytes + self.compute_bytes
