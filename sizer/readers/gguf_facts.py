"""Sizes and cache of a model by the keys of its GGUF header, whether its architecture is read or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sizer.file_model import CachedLayer
from sizer.readers.gguf_cache import cached_layers, shape_of, state_bytes
from sizer.readers.gguf_header import GgufHeader


class GgufFacts(NamedTuple):
    """Sizes and cache by the keys; `layers` is None where the keys do not state what is cached."""

    shape: Mapping[str, int | None]
    layers: tuple[CachedLayer, ...] | None
    state_bytes: int  # that recurrent layers keep for a sequence
    window_note: str

    @property
    def cached_values_per_token(self) -> int | None:
        """Keys and values that one token adds to the cache of all layers, as if none had a window."""
        if self.layers is None:
            return None
        return sum(layer.key_width + layer.value_width for layer in self.layers)

    @property
    def windows(self) -> Mapping[int, int]:
        """Number of layers by the window they have."""
        found: dict[int, int] = {}
        for layer in self.layers or ():
            if layer.window is not None:
                found[layer.window] = found.get(layer.window, 0) + 1
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            **self.shape,
            "cached_layers": None if self.layers is None else len(self.layers),
            "cached_values_per_token": self.cached_values_per_token,
            "windows": {str(window): count for window, count in self.windows.items()},
            "window_note": self.window_note,
            "state_bytes": self.state_bytes,
        }


def gguf_facts(header: GgufHeader) -> GgufFacts | None:
    """Return what the keys of a header state, None if it names no architecture."""
    if not header.architecture_name:
        return None
    layers, note = cached_layers(header)
    return GgufFacts(shape_of(header), layers, state_bytes(header), note)
