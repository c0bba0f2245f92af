"""Models whose layers look back on a window, all but every Nth: Llama's blocks with sinks, as Granite's.

llama.cpp's and transformers' `granite_swa` is the one dense model that is Llama but for its windows; it has a
sink for each head as well (docs/search.md).
"""

from __future__ import annotations

from dataclasses import replace

from search.config.windows import Windows
from search.space.cycles import all_but_every, cycle_of
from sizer.architecture import Architecture


def with_windows(architecture: Architecture, windows: Windows) -> Architecture:
    """Return the model with windows and sinks; as it is where none is asked for, or no layer would slide.

    Nor has a model with convolutions or experts any: no engine's model has both.
    """
    layers = all_but_every(architecture.num_layers, windows.full_every) if windows.positions else ()
    if not layers or architecture.conv_layers or architecture.num_experts:
        return architecture
    return replace(
        architecture, sliding_window=windows.positions, sliding_layers=layers, attention_sinks=True
    )


def has_windows(architecture: Architecture, windows: Windows) -> bool:
    """Return whether a model has just these windows: of few layers several cycles may be one."""
    a = architecture
    if not windows.positions:
        return not a.sliding_layers
    layers = all_but_every(a.num_layers, windows.full_every)
    return bool(layers) and (a.sliding_window, a.sliding_layers) == (windows.positions, layers)


def windows_in(architecture: Architecture) -> Windows:
    """Return the windows of a model, with the shortest cycle that its layers may be of."""
    a = architecture
    if not a.sliding_layers or a.sliding_window is None:
        return Windows()
    return Windows(positions=a.sliding_window, full_every=cycle_of(a.sliding_layers, a.num_layers))
