"""Models whose layers look back on a window, all but every Nth: Llama's blocks with sinks, as Granite's.

llama.cpp's and transformers' `granite_swa` is the one dense model that is Llama but for its windows; it has a
sink for each head as well (docs/search.md).
"""

from __future__ import annotations

from dataclasses import replace

from search.config.windows import Windows
from sizer.architecture import Architecture


def sliding_layers(layers: int, full_every: int) -> tuple[int, ...]:
    """Return the layers that slide: all but the last of each cycle, counted so that the last layer is full.

    >>> sliding_layers(6, 3)
    (0, 1, 3, 4)
    >>> sliding_layers(5, 3)
    (0, 2, 3)
    """
    return tuple(layer for layer in range(layers) if (layers - 1 - layer) % full_every)


def with_windows(architecture: Architecture, windows: Windows) -> Architecture:
    """Return the model with windows and sinks; as it is where none is asked for, or no layer would slide.

    Models with experts have no windows: llama.cpp's model for these is a dense one.
    """
    layers = sliding_layers(architecture.num_layers, windows.full_every) if windows.positions else ()
    if not layers or architecture.num_experts:
        return architecture
    return replace(
        architecture, sliding_window=windows.positions, sliding_layers=layers, attention_sinks=True
    )


def has_windows(architecture: Architecture, windows: Windows) -> bool:
    """Return whether a model has just these windows: of few layers several cycles may be one."""
    a = architecture
    if not windows.positions:
        return not a.sliding_layers
    layers = sliding_layers(a.num_layers, windows.full_every)
    return bool(layers) and (a.sliding_window, a.sliding_layers) == (windows.positions, layers)


def windows_in(architecture: Architecture) -> Windows:
    """Return the windows of a model, with the shortest cycle that its layers may be of.

    The cycle of layers that slide in another order is the nearest whole number of layers to a full one.
    """
    a = architecture
    if not a.sliding_layers or a.sliding_window is None:
        return Windows()
    full = a.num_layers - len(a.sliding_layers)
    cycles = (n for n in range(2, a.num_layers + 2) if sliding_layers(a.num_layers, n) == a.sliding_layers)
    return Windows(positions=a.sliding_window, full_every=next(cycles, -(-a.num_layers // max(full, 1))))
